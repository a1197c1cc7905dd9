"""The key of a header may be any bytes: a batch is read whatever they are, and no other changes."""

from types import SimpleNamespace

import pytest
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record import memory_records
from aiokafka.record.default_records import DefaultRecordBatchBuilder, _DefaultRecordBatchPy
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st
from record_batches import APPEND_TIME, CONTROL, GZIP, batch, number, record, sized

from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.header_keys import AnyKeyRecords, Batches, _AnyKeyBatch
from k2_streams.kafka.log_reader import Record
from k2_streams.runtime.deferral import record as deferred


def read(data, records=AnyKeyRecords, batches=Batches, at=0):
    """As a consumer does: what it is given, and where it reads on."""
    partition = TopicPartition("k2.trades.raw", 0)
    options = {"check_crcs": True, "isolation_level": 1}
    made = records(partition, batches(data), [], at, None, None, **options)
    found = [(r.offset, r.timestamp, r.key, r.value, r.headers) for r in made]
    return found, made.next_fetch_offset


CONTENT = st.none() | st.binary(max_size=8)
RECORDS = st.lists(
    st.tuples(
        CONTENT, CONTENT, st.lists(st.tuples(st.binary(max_size=4), CONTENT), max_size=3).map(tuple)
    ),
    min_size=1,
    max_size=5,
)


@given(batches=st.lists(st.tuples(RECORDS, st.booleans()), min_size=1, max_size=3))
def test_whatever_bytes_are_the_keys_every_record_is_given_once_in_order(batches):
    data, expected, base = b"", [], 0
    for records, is_packed in batches:
        made = [record(n, *fields) for n, fields in enumerate(records)]
        data += batch(*made, base=base, attributes=APPEND_TIME | (GZIP if is_packed else 0))
        for n, (key, value, headers) in enumerate(records):
            names = tuple((name.decode(errors="replace"), content) for name, content in headers)
            expected.append((base + n, 2000, key, value, names))
        base += len(records)
    assert read(data) == (expected, base)


@given(
    records=st.lists(
        st.tuples(CONTENT, CONTENT, st.lists(st.tuples(st.text(max_size=4), CONTENT), max_size=3)),
        min_size=1,
        max_size=5,
    ),
    codec=st.sampled_from([0, 1, 2, 3, 4]),
)
def test_both_decoders_agree_where_the_keys_are_text(records, codec):
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 20)
    for offset, (key, value, headers) in enumerate(records):
        builder.append(offset, 1000 + offset * offset, key, value, headers)
    data = bytes(builder.build())
    ours = [(r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in _AnyKeyBatch(data)]
    assert (ours, len(records)) == read(data, PartitionRecords, MemoryRecords) == read(data)


BROKEN_KEY = record(1, headers=[(b"\xff\xfe", b"x")])


@pytest.mark.parametrize("decoder", ["compiled", "python"])
def test_each_of_the_decoders_of_aiokafka_is_helped(monkeypatch, decoder):
    if decoder == "python":
        monkeypatch.setattr(memory_records, "DefaultRecordBatch", _DefaultRecordBatchPy)
    data = batch(record(0), BROKEN_KEY, record(2)) + batch(record(0), base=3)
    with pytest.raises((UnicodeDecodeError, CorruptRecordException)):
        read(data, PartitionRecords, _MemoryRecordsPy)
    found, following = read(data)
    assert [offset for offset, *_ in found] == [0, 1, 2, 3]
    assert found[1][-1] == (("\ufffd\ufffd", b"x"),)
    assert following == 4
    assert [offset for offset, *_ in read(data, at=2)[0]] == [2, 3]


#: What else the protocol could carry: the offsets that are given, and where the reader goes on.
VALUES = {
    "an empty key": (batch(record(0, headers=[(b"", b"x")])), [0], 1),
    "an append time, and a time before all": (batch(record(0, timestamp=-(2**62))), [0], 1),
    "an append time, and a time after all": (batch(record(0, timestamp=2**62)), [0], 1),
    "a producer's time before all": (batch(record(0, timestamp=-(2**62)), attributes=0), [0], 1),
    "no records": (batch(last=4), [], 5),
    "no records, compressed": (batch(last=4, attributes=APPEND_TIME | GZIP), [], 5),
    "a control batch": (batch(record(0, key=b"\0\0\0\1"), attributes=CONTROL), [], 1),
}


@pytest.mark.parametrize(("data", "offsets", "following"), VALUES.values(), ids=VALUES.keys())
def test_what_else_the_protocol_allows_is_read(data, offsets, following):
    found, at = read(data)
    assert ([offset for offset, *_ in found], at) == (offsets, following)


@pytest.mark.parametrize("magic", [0, 1])
def test_batches_of_old_producers_are_read(magic):
    builder = LegacyRecordBatchBuilder(magic, 0, 1 << 20)
    builder.append(0, 1000, b"k", b"v", [])
    found, at = read(bytes(builder.build()) + batch(BROKEN_KEY, base=0))
    assert [offset for offset, *_ in found] == [0, 1]
    assert at == 1


BAD = record(0, headers=[(b"\xff", b"")])
CORRUPT = {
    "a key that is null": record(1, headers=[(None, b"x")]),
    "a negative number of headers": record(1, count=-1),
    "more headers than there are": record(1, count=2**31 - 1),
    "a key beyond the end": record(1, headers=[(b"abc", b"x")]).replace(
        sized(b"abc"), number(2**31 - 1)[:4]
    ),
    "bytes behind the headers": record(1, headers=[(b"a", b"b")], count=0),
}


@pytest.mark.parametrize("behind", [True, False], ids=["behind such a key", "alone"])
@pytest.mark.parametrize("broken", CORRUPT.values(), ids=CORRUPT.keys())
def test_what_is_corrupt_stays_corrupt(broken, behind):
    """Nothing is read beyond a batch's end, and nothing is guessed."""
    with pytest.raises(CorruptRecordException):
        read(batch(BAD, broken) if behind else batch(record(0), broken))


def test_a_wrong_checksum_is_told_before_anything_is_read():
    data = bytearray(batch(BAD))
    data[-1] ^= 1
    with pytest.raises(CorruptRecordException, match="CRC"):
        read(bytes(data))


def test_such_a_key_can_be_written_again():
    """Into a deferred topic, with the encoder that every producer uses."""
    ((_, _, key, value, headers),), _ = read(batch(BAD))
    raw = SimpleNamespace(offset=7, timestamp=5, key=key, value=value, headers=headers)
    written_out = deferred.encode("k2.trades.deferred", raw, 0)
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
    builder.append(0, 1, written_out.key, written_out.value, list(written_out.headers))
    (written,), _ = read(bytes(builder.build()))
    restored = deferred.decode(Record(0, *written[2:], written[1]), 0)
    assert restored is not None
    assert (restored.offset, restored.headers) == (7, (("\ufffd", b""),))


async def test_every_consumer_reads_so(monkeypatch):
    monkeypatch.setattr(fetcher, "MemoryRecords", MemoryRecords)
    monkeypatch.setattr(fetcher, "PartitionRecords", PartitionRecords)
    consumer = KafkaConfig().consumer()
    assert (fetcher.MemoryRecords, fetcher.PartitionRecords) == (Batches, AnyKeyRecords)
    await consumer.stop()
