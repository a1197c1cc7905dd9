"""Decompression of record batches with a limit: a few bytes may stand for more than a machine has.

A broker bounds the compressed size of a batch alone. aiokafka (0.14) decompresses whatever comes,
so that one batch of zeros would end the process, and its successor, again and again. A batch that
becomes too large is corrupt here: its partition stands still, and the others go on.
"""

import gzip
import io
import struct
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType

import cramjam
from aiokafka.errors import CorruptRecordException
from aiokafka.record import default_records, legacy_records

#: As in the native extension: a broker's limit of 1 MiB times the best ratio of real messages.
MAX_UNPACKED_BYTES = 256 * 1024 * 1024
#: The first buffer is so many times the compressed bytes, or so large; each next one as many times.
_RATIO = 8
_LEAST_BUFFER_BYTES = 64 * 1024
_XERIAL = b"\x82SNAPPY\0"
_XERIAL_HEAD_BYTES = 16
_BLOCK = struct.Struct("!I")

Decode = Callable[[bytes], bytes]


def install(limit_bytes: int = MAX_UNPACKED_BYTES) -> None:
    """Let every consumer of this process decompress up to a limit. Idempotent."""
    decoders = decoders_of(limit_bytes)
    for module in _users():
        for name, decode in decoders.items():
            if hasattr(module, name):
                setattr(module, name, decode)


def decoders_of(limit_bytes: int) -> dict[str, Decode]:
    """A decoder per codec, by aiokafka's names of them.

    Raises of each:
        CorruptRecordException: the bytes are damaged, or become more than the limit.
    """
    return {
        "gzip_decode": partial(_gzip, limit_bytes),
        "snappy_decode": partial(_snappy, limit_bytes),
        "lz4_decode": partial(_into, cramjam.lz4.decompress_into, limit_bytes),
        "zstd_decode": partial(_into, cramjam.zstd.decompress_into, limit_bytes),
    }


def _users() -> set[ModuleType]:
    """The modules of aiokafka that name the decoders: those in Python, and those compiled."""
    classes = (default_records.DefaultRecordBatch, legacy_records.LegacyRecordBatch)
    return {default_records, legacy_records, *(sys.modules[one.__module__] for one in classes)}


def _too_large(limit_bytes: int) -> CorruptRecordException:
    return CorruptRecordException(
        f"compressed records that are damaged, or become more than {limit_bytes} bytes"
    )


def _gzip(limit_bytes: int, packed: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
        found = file.read(limit_bytes + 1)
    if len(found) > limit_bytes:
        raise _too_large(limit_bytes)
    return found


def _snappy(limit_bytes: int, packed: bytes) -> bytes:
    """Snappy's own format, or xerial's. Each block says at its beginning what it becomes."""
    is_xerial = packed.startswith(_XERIAL) and len(packed) > _XERIAL_HEAD_BYTES
    try:
        blocks = list(_xerial_blocks(packed)) if is_xerial else [packed]
        if sum(map(cramjam.snappy.decompress_raw_len, blocks)) > limit_bytes:
            raise _too_large(limit_bytes)
        return b"".join([bytes(cramjam.snappy.decompress_raw(block)) for block in blocks])
    except (cramjam.DecompressionError, struct.error) as error:
        raise _too_large(limit_bytes) from error


def _xerial_blocks(packed: bytes) -> Iterator[bytes]:
    at = _XERIAL_HEAD_BYTES
    while at < len(packed):
        (size,) = _BLOCK.unpack_from(packed, at)
        at += _BLOCK.size
        yield packed[at : at + size]
        at += size


def _into(
    decompress_into: Callable[[bytes, bytearray], int], limit_bytes: int, packed: bytes
) -> bytes:
    """What fits into a buffer, which grows up to the limit."""
    size = max(_RATIO * len(packed), _LEAST_BUFFER_BYTES)
    while True:
        buffer = bytearray(min(size, limit_bytes))
        try:
            return bytes(buffer[: decompress_into(packed, buffer)])
        except cramjam.DecompressionError as error:
            if size >= limit_bytes:
                raise _too_large(limit_bytes) from error
        size *= _RATIO
