"""A fetch gives columns where the native decoder takes it, and the same records in any case."""

from types import SimpleNamespace

import pytest
from aiokafka.errors import CorruptRecordException
from aiokafka.structs import TopicPartition
from fetched_bytes import FetchedBytes
from native_decoder import native, needs_native
from record_batches import APPEND_TIME, TRANSACTIONAL, batch, marker, record

from k2_streams.core.records.bytes_column import BytesColumn
from k2_streams.kafka import partition_faults
from k2_streams.kafka.partition_faults import drain
from k2_streams.kafka.record_columns import RecordColumns
from k2_streams.runtime.fetched import joined, offsets_of, timestamps_ms_of
from k2_streams.runtime.task.headers import lines_named, places_by_feed, redriven

pytestmark = needs_native

AT = TopicPartition("k2.trades.raw", 0)
HEADERS = [
    [],
    [(b"feed", b"kraken.v1"), (b"line", b"a")],
    [(b"feed", b"\xff")],
    [(b"feed", b"kraken.v1"), (b"feed", None), (b"k2.redrive", b"x")],
    [(b"line", b"b"), (b"line", b"c"), (b"k2.redrive", b"x"), (b"k2.redrive", None)],
    [(b"feed", b"\xfe")],
]
RECORDS = [record(n, b"k%d" % n, b"v%d" % n, HEADERS[n % 6]) for n in range(20)]
DATA = batch(*RECORDS, base=5)
ABORTED = batch(record(0), base=5, attributes=APPEND_TIME | TRANSACTIONAL) + marker(
    6, committed=False
)
#: The same records in several batches.
PARTS = b"".join(
    batch(
        *[record(n, b"k%d" % (at + n), b"v%d" % (at + n), HEADERS[(at + n) % 6]) for n in range(5)],
        base=5 + at,
    )
    for at in range(0, 20, 5)
)


def fetched(data, position=5, aborted=()):
    return FetchedBytes(AT, data, position, aborted)


def as_tuples(records):
    return [(r.offset, r.timestamp, r.timestamp_type, r.key, r.value, r.headers) for r in records]


@pytest.mark.parametrize("data", [DATA, PARTS], ids=["one batch", "several"])
@pytest.mark.parametrize("max_records", [1, 5, 7, 20, 100])
async def test_columns_move_the_reader_as_far_as_their_records_do(data, max_records):
    in_columns = fetched(data)
    given = []
    while len(given) < 20:
        found = await in_columns.drain(max_records, native())
        assert isinstance(found, RecordColumns)
        assert 0 < len(found) <= max_records
        assert in_columns.state.position == found[-1].offset + 1
        given += found
    expected = await fetched(data).drain(100, None)
    assert as_tuples(given) == as_tuples(expected)
    # Behind the last portion of columns the partition is asked for at once.
    assert AT not in in_columns.fetcher._records
    assert in_columns.state.position == 25


#: Position, bytes and aborted transactions of what holds no record for a committed reader.
NO_RECORDS = {
    "a batch whose records were compacted away": (10, batch(last=4, base=5), ()),
    "the marker of a commit": (6, marker(5), ()),
    "markers alone": (7, marker(5) + marker(6, committed=False), ()),
    "an aborted transaction": (7, ABORTED, [(-1, 5)]),
}


@pytest.mark.parametrize("decoder", [None, native()], ids=["Python", "native"])
@pytest.mark.parametrize(("end", "data", "aborted"), NO_RECORDS.values(), ids=NO_RECORDS)
async def test_an_answer_without_a_record_moves_the_reader_behind_it(end, data, aborted, decoder):
    """And is told as such: at the end of a log nothing else would come."""
    consumer = fetched(data, aborted=aborted)
    assert await consumer.drain(100, decoder) == ()
    assert (consumer.state.position, len(consumer.fetcher._records)) == (end, 0)
    assert await consumer.drain(100, decoder) is None


async def test_what_is_fetched_for_an_assignment_that_is_over_is_of_no_use():
    """A rebalance came between: the position is no longer this consumer's to be asked for."""
    consumer = fetched(marker(5))
    (result,) = consumer.fetcher._records.values()
    taken = result.getall

    def revoked_meanwhile(max_records=None):
        result._assignment.active = False
        return taken(max_records)

    result.getall = revoked_meanwhile
    assert await consumer.drain(100, None) is None


@pytest.mark.parametrize("broken", [False, True])
async def test_what_the_native_decoder_does_not_take_is_read_one_by_one(broken):
    fallbacks = []
    odd = batch(record(0, timestamp=2**62, headers=[(None, b"")]), base=25) if broken else b"\0\0"
    decoder = native(lambda kind, count: fallbacks.append((kind, count)))
    found, errors = await drain(fetched(DATA + odd).fetcher, {AT}, 0.0, 100, decoder)
    assert fallbacks == ([("fetch", 1)] if broken else [])
    assert bool(errors) is broken
    assert bool(found) is not broken


@pytest.mark.parametrize("max_records", [1, 5, 7])
async def test_behind_the_columns_of_whole_batches_a_broken_one_raises_as_ever(max_records):
    """None of its records is given twice, by whichever path it comes, and none is passed."""
    broken = bytearray(batch(record(0), base=26))
    broken[-1] ^= 1  # so that its checksum is wrong
    consumer, given = fetched(PARTS + batch(record(0), base=25) + bytes(broken)), []
    while True:
        position = consumer.state.position
        found, errors = await drain(consumer.fetcher, {AT}, 0.0, max_records, native())
        if errors:
            break
        given += found[AT]
    assert [one.offset for one in given] == list(range(5, position))
    assert position >= 25
    assert isinstance(errors[AT], CorruptRecordException)


async def test_a_partition_whose_records_were_begun_one_by_one_goes_on_so():
    consumer = fetched(DATA)
    first = await consumer.drain(7, None)
    rest = await consumer.drain(100, native())
    assert not isinstance(rest, RecordColumns)
    assert [r.offset for r in [*first, *rest]] == list(range(5, 25))


async def columns_and_records():
    found = await fetched(DATA).drain(100, native())
    return found, list(found)


async def test_columns_say_what_their_records_say():
    columns, records = await columns_and_records()
    assert as_tuples(columns[3:9]) == as_tuples(records[3:9])
    assert as_tuples([columns[-1]]) == as_tuples(records[-1:])
    assert as_tuples(joined([columns[:9], columns[9:]])) == as_tuples(records)
    assert isinstance(joined([columns[:9], columns[9:]]), RecordColumns)
    assert as_tuples(joined([columns[:9], records[9:]])) == as_tuples(records)
    assert offsets_of(columns).tolist() == offsets_of(records).tolist() == list(range(5, 25))
    assert timestamps_ms_of(columns).tolist() == timestamps_ms_of(records).tolist()
    assert list(columns.keys) == [r.key for r in records]
    assert list(columns.values) == BytesColumn.of([r.value for r in records])[:]
    with pytest.raises(ValueError, match="in their order"):
        columns[::2]
    with pytest.raises(IndexError):
        columns[20]


async def test_feeds_and_lines_are_those_of_the_records():
    columns, records = await columns_and_records()

    def places(found):
        return {name: at.tolist() for name, at in places_by_feed(found, "canonical").items()}

    assert places(columns) == places(records)
    assert set(places(columns)) == {"canonical", "kraken.v1", "\ufffd"}
    assert list(lines_named(columns)) == list(lines_named(records))
    assert redriven(columns) == redriven(records) == [3, 9, 15]
    assert (redriven(columns[4:10]), redriven(columns[:3])) == ([5], [])
    plain = columns[3:4]
    assert places(plain) == {"canonical": [0]}
    assert list(lines_named(plain)) == []


async def test_times_of_producers_are_found_and_left_out_alike():
    dated, not_dated = batch(record(0)), batch(record(0, timestamp=7), base=1, attributes=0)
    columns = await fetched(dated + not_dated, position=0).drain(100, native())
    records = [SimpleNamespace(timestamp_type=r.timestamp_type) for r in columns]
    first, found = partition_faults.producer_timed, partition_faults.without_producer_times
    assert first(columns) == first(records) == 1
    assert first(columns[:1]) is None
    assert timestamps_ms_of(found(columns)).tolist() == [2000, 0]
