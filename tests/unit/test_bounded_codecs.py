"""A batch that would become too large is corrupt, whatever its codec; any other is as it was."""

import gzip
from collections.abc import Iterator
from typing import Any

import cramjam
import pytest
from aiokafka import codec
from aiokafka.errors import CorruptRecordException
from aiokafka.record import default_records
from aiokafka.record._crecords import default_records as compiled_records

from k2_streams.kafka import bounded_codecs
from k2_streams.kafka.bounded_codecs import MAX_UNPACKED_BYTES, decoders_of
from k2_streams.kafka.client import KafkaConfig

LIMIT = 100_000
ENCODERS = {
    "gzip_decode": codec.gzip_encode,
    "snappy_decode": codec.snappy_encode,
    "lz4_decode": codec.lz4_encode,
    "zstd_decode": codec.zstd_encode,
}
#: By Kafka's numbers.
CODECS = {1: "gzip_decode", 2: "snappy_decode", 3: "lz4_decode", 4: "zstd_decode"}


@pytest.fixture
def small_limit() -> Iterator[None]:
    bounded_codecs.install(LIMIT)
    yield
    bounded_codecs.install()


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("size", [1, 70_000, LIMIT])
def test_what_is_within_the_limit_is_as_it_was(name: str, size: int) -> None:
    text = bytes(range(251)) * (size // 251 + 1)
    packed = ENCODERS[name](text[:size])
    assert decoders_of(LIMIT)[name](packed) == getattr(codec, name)(packed) == text[:size]


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("size", [LIMIT + 1, 50 * LIMIT])
def test_what_is_above_it_is_corrupt(name: str, size: int) -> None:
    """The bytes of zeros are few, whichever the codec."""
    packed = ENCODERS[name](bytes(size))
    with pytest.raises(CorruptRecordException, match=f"become more than {LIMIT} bytes"):
        decoders_of(LIMIT)[name](packed)


def test_snappy_without_blocks_is_bounded_by_what_it_says_of_itself() -> None:
    packed = bytes(cramjam.snappy.compress_raw(bytes(LIMIT)))
    assert decoders_of(LIMIT)["snappy_decode"](packed) == bytes(LIMIT)
    says_four_gib = b"\xff\xff\xff\xff\x0f" + packed[3:]
    for wrong in (says_four_gib, b"", b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\xff\xff\xff\xfc"):
        with pytest.raises(CorruptRecordException):
            decoders_of(MAX_UNPACKED_BYTES)["snappy_decode"](wrong)


PYTHON = (default_records._DefaultRecordBatchBuilderPy, default_records._DefaultRecordBatchPy)
COMPILED = (compiled_records.DefaultRecordBatchBuilder, compiled_records.DefaultRecordBatch)


@pytest.mark.parametrize("kind", CODECS)
@pytest.mark.parametrize(("build", "read"), [PYTHON, COMPILED], ids=["python", "compiled"])
@pytest.mark.usefixtures("small_limit")
def test_consumers_decompress_within_the_limit(kind: int, build: Any, read: Any) -> None:
    """aiokafka's own classes, of either kind, by the decoders that were installed."""

    def batch(size: int) -> Any:
        made = build(
            magic=2, compression_type=kind, is_transactional=0, producer_id=-1,
            producer_epoch=-1, base_sequence=-1, batch_size=10 * size,
        )  # fmt: skip
        made.append(0, timestamp=1, key=b"k", value=bytes(size), headers=[])
        return read(bytearray(made.build()))

    (record,) = list(batch(LIMIT // 2))
    assert record.value == bytes(LIMIT // 2)
    with pytest.raises(CorruptRecordException, match="become more than"):
        list(batch(2 * LIMIT))


@pytest.mark.usefixtures("small_limit")
async def test_every_consumer_of_k2_has_the_limit() -> None:
    consumer = KafkaConfig().consumer()
    try:
        found = [compiled_records.zstd_decode, default_records.lz4_decode]
        assert [one.args[-1] for one in found] == [MAX_UNPACKED_BYTES] * 2
    finally:
        await consumer.stop()


def test_gzip_of_several_members_is_one_text() -> None:
    packed = gzip.compress(b"one") + gzip.compress(b"two")
    assert decoders_of(LIMIT)["gzip_decode"](packed) == b"onetwo"
