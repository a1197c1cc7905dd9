"""Record batches give the same records through the native decoder as through the client's own."""

import gzip
import logging
import random
import struct
import time

import cramjam
import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from native_decoder import all_records, native, needs_native
from record_batches import APPEND_TIME, CONTROL, GZIP, batch, number, record

from k2_streams.kafka.header_keys import AnyKeyRecords, Batches
from k2_streams.kafka.record_columns import RecordColumns
from k2_streams.runtime.settings.tools import development_settings
from k2_streams.runtime.task.headers import FEED, LINE, last_header

pytestmark = needs_native

log = logging.getLogger(__name__)
SECONDS = development_settings().fuzz_duration_s
FUZZED_BATCHES = 1_500
AT = TopicPartition("k2.trades.raw", 0)
TRANSACTIONAL = 0x10
ABORT, COMMIT = b"\0\0\0\0", b"\0\0\0\1"
CRC_AT, CHECKED_FROM = 17, 21


def partition(data, at, aborted, committed):
    options = {"check_crcs": True, "isolation_level": int(committed)}
    return AnyKeyRecords(AT, Batches(data), aborted, at, None, None, **options)


def by_python(data, at=0, aborted=(), *, committed=True):
    """Records, and where the reader goes on; None: an error."""
    made = partition(data, at, list(aborted), committed)
    try:
        found = [(r.offset, r.timestamp, r.timestamp_type, r.key, r.value, r.headers) for r in made]
    except Exception:  # noqa: BLE001 - bytes that are no batch raise whatever they make
        return None
    return found, made.next_fetch_offset


def by_native(data, at=0, aborted=(), *, committed=True):
    """The same; None: it is left to Python."""
    found = all_records(data, at, aborted, committed=committed)
    if found is None:
        return None
    found.columns.validate(full=True)
    columns = RecordColumns(found.columns)
    for name, column in ((FEED, columns.feeds), (LINE, columns.lines)):
        assert column.to_pylist() == [last_header(one.headers, name) for one in columns]
    return [tuple(one) for one in columns], found.next_offset


def check(data, at=0, aborted=(), *, committed=True):
    """Both agree, or it is left to Python; gives whether it was taken."""
    found = by_native(data, at, aborted, committed=committed)
    if found is None:
        return False
    assert found == by_python(data, at, aborted, committed=committed)
    return True


NAMES = st.sampled_from(["feed", "line", "k2.redrive", "Feed", "", "é"])
CONTENT = st.none() | st.binary(max_size=12)
RECORDS = st.lists(
    st.tuples(
        CONTENT,
        st.none() | st.binary(max_size=300),
        st.lists(st.tuples(NAMES, CONTENT), max_size=4),
        st.integers(0, 2**40),
    ),
    min_size=1,
    max_size=8,
)


def built(records, codec, *, base=0, is_transactional=False, producer=-1):
    builder = DefaultRecordBatchBuilder(2, codec, int(is_transactional), producer, 0, 0, 1 << 20)
    for offset, (key, value, headers, timestamp) in enumerate(records):
        builder.append(offset, timestamp, key, value, headers)
    data = bytearray(builder.build())
    struct.pack_into(">q", data, 0, base)  # what a broker writes, outside the checksum
    return bytes(data)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.tuples(RECORDS, st.integers(0, 4)), min_size=1, max_size=3), st.integers(0, 20))
def test_what_every_producer_writes_is_taken(batches, at):
    data, base = b"", 0
    for records, codec in batches:
        data += built(records, codec, base=base)
        base += len(records) + 1
    assert check(data, at)
    assert check(data[:-1], at), "a batch that is cut off is for the next fetch"


@st.composite
def transactions(draw):
    """Batches of some producers, with markers, and the aborted transactions that a broker lists."""
    data, base, aborted = b"", 0, []
    first: dict[int, int] = {}
    for _ in range(draw(st.integers(1, 10))):
        producer = draw(st.integers(1, 3))
        kind = draw(st.sampled_from(["records", "records", "abort", "commit", "plain"]))
        if kind in {"abort", "commit"}:
            if kind == "abort" and producer in first:
                aborted.append((producer, first[producer]))
            first.pop(producer, None)
            marker = record(0, ABORT if kind == "abort" else COMMIT, b"\0\0\0\0\0\0")
            data += owned(batch(marker, base=base, attributes=CONTROL | TRANSACTIONAL), producer)
            base += 1
            continue
        if kind == "records":
            first.setdefault(producer, base)
        count = draw(st.integers(1, 3))
        records = [(b"k", b"%d" % (base + n), [], n) for n in range(count)]
        is_transactional = kind == "records"
        data += built(records, 0, base=base, is_transactional=is_transactional, producer=producer)
        base += count
    return data, draw(st.permutations(aborted)), base


def owned(data, producer):
    """A batch of another producer; its checksum is computed again."""
    changed = bytearray(data)
    struct.pack_into(">q", changed, 43, producer)
    return summed(changed)


def summed(changed):
    struct.pack_into(">I", changed, CRC_AT, calc_crc32c(bytes(changed[CHECKED_FROM:])))
    return bytes(changed)


@given(transactions(), st.integers(0, 12), st.booleans())
def test_records_of_aborted_transactions_and_markers_are_left_out(found, at, committed):
    data, aborted, _ = found
    assert check(data, at, aborted, committed=committed)


def test_an_abort_ends_with_its_marker_and_takes_no_other_producer():
    """By hand, so that both decoders could not be wrong alike."""

    def of(producer, base):
        rows = [(b"k", b"%d" % base, [], 0)]
        return built(rows, 0, base=base, is_transactional=True, producer=producer)

    def marker(producer, base, key):
        marked = batch(record(0, key), base=base, attributes=CONTROL | TRANSACTIONAL)
        return owned(marked, producer)

    data = of(1, 0) + of(2, 1) + marker(1, 2, ABORT) + of(1, 3) + marker(2, 4, COMMIT)
    records, following = by_native(data, 0, [(1, 0)])
    assert ([one[0] for one in records], following) == ([1, 3], 5)
    records, _ = by_native(data, 0, [(1, 0)], committed=False)
    assert [one[0] for one in records] == [0, 1, 3]


@given(transactions(), st.integers(1, 4))
def test_portions_are_together_what_is_read_at_once(found, at_least):
    """Also where a transaction ends in another portion than it began in."""
    data, aborted, _ = found
    batches = native().batches(data, 0, aborted, committed=True)
    portions, is_last = [], False
    while not is_last:
        portion = batches.read(at_least)
        assert portion is not None
        is_last = portion.is_last
        assert portion.columns.num_rows >= at_least or is_last
        portions.append(portion)
    records = [tuple(one) for part in portions for one in RecordColumns(part.columns)]
    assert (records, portions[-1].next_offset) == by_native(data, 0, aborted)


XERIAL = b"\x82SNAPPY\0" + struct.pack(">ii", 1, 1)


@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=4))
def test_snappy_in_frames_is_read(values):
    body = b"".join(record(n, b"k", value) for n, value in enumerate(values))
    framed = XERIAL
    for start in range(0, len(body), 50):
        block = bytes(cramjam.snappy.compress_raw(body[start : start + 50]))
        framed += struct.pack(">i", len(block)) + block
    head = bytearray(batch(*[b""] * len(values), attributes=APPEND_TIME | 2))
    struct.pack_into(">i", head, 8, len(head) - 12 + len(framed))
    data = summed(head + framed)
    records, _ = by_native(data)
    assert [one[4] for one in records] == values
    assert check(data)


ODD = {
    "no records": (batch(last=4), True),
    "no records, compressed": (batch(last=4, attributes=APPEND_TIME | GZIP), True),
    "a key that is no UTF-8": (batch(record(0, headers=[(b"\xff", b"x")])), True),
    "a header that is null": (batch(record(0, headers=[(None, b"x")])), False),
    "a negative number of headers": (batch(record(0, count=-1)), False),
    "more headers than bytes": (batch(record(0, count=2**31 - 1)), False),
    "bytes behind the headers": (batch(record(0, headers=[(b"a", b"b")], count=0)), False),
    "bytes behind the records": (batch(record(0) + b"\0"), False),
    "a time beyond 64 bits": (batch(record(0, timestamp=2**63 - 1), attributes=0), False),
    "a producer's time": (batch(record(0, timestamp=-(2**62)), attributes=0), True),
    "a codec that is none": (batch(record(0), attributes=7), False),
    "an empty answer": (b"", True),
    "offsets that leave some out": (batch(record(3), record(7), base=5, last=9), True),
    "offsets that go back": (batch(record(3), record(1), record(4)), True),
    "a control batch of another kind": (batch(record(0, b"\0\0\0\7"), attributes=CONTROL), False),
    "a control batch without a record": (batch(attributes=CONTROL), False),
}


@pytest.mark.parametrize(("data", "is_taken"), ODD.values(), ids=ODD.keys())
def test_what_else_a_batch_may_be(data, is_taken):
    assert check(data) is is_taken


def spoiled(chance, data):
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        way = chance.randint(0, 3)
        at = chance.randrange(len(changed)) if changed else 0
        if way == 0 and changed:
            changed[at] ^= 1 << chance.randint(0, 7)
        elif way == 1:
            del changed[at : at + chance.randint(1, 9)]
        elif way == 2:
            changed[at:at] = chance.randbytes(chance.randint(1, 9))
        else:
            changed[at : at + 10] = number(chance.choice([-1, 2**31, 2**62, -(2**62)]))
    if chance.random() < 0.7 and len(changed) > CHECKED_FROM:
        struct.pack_into(">i", changed, 8, len(changed) - 12)
        return summed(changed)
    return bytes(changed)


@pytest.mark.parametrize("codec", range(5))
def test_damaged_batches_are_read_alike_or_left_to_python(codec, pytestconfig):
    """Lengths, checksums and compressed bytes that cannot be: an error, and never a panic.

    `K2_FUZZ_DURATION_S` is how much CPU time each codec gets (`make check-long`); else few batches.
    """
    chance = random.Random(f"{pytestconfig.getoption('hypothesis_seed')} {codec}")
    fallbacks = []
    decoder = native(lambda kind, _: fallbacks.append(kind))
    whole = built([(b"key", b"value" * 9, [("feed", b"x")], n) for n in range(5)], codec)
    ends = time.process_time() + (SECONDS or 0)
    tries = 0
    while tries < FUZZED_BATCHES or time.process_time() < ends:
        tries += 1
        data = spoiled(chance, whole)
        found = all_records(data, decoder=decoder)
        if found is None:
            continue
        records = [tuple(one) for one in RecordColumns(found.columns)]
        assert by_python(data) == (records, found.next_offset), data.hex()
    log.info("codec %d: %d batches, %d left to python", codec, tries, len(fallbacks))
    assert set(fallbacks) == {"fetch"}


def test_a_batch_that_becomes_too_large_is_left_to_python():
    """A megabyte that says it is a gigabyte takes no gigabyte here."""
    head = bytearray(batch(record(0), attributes=APPEND_TIME | GZIP))[:61]
    data = head + gzip.compress(b"\0" * (300 << 20), 1)
    struct.pack_into(">i", data, 8, len(data) - 12)
    assert all_records(summed(data)) is None
