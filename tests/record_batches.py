"""Record batches of Kafka's magic 2, made byte by byte: also such as no client of Python makes."""

import gzip
import struct
from collections.abc import Sequence

from aiokafka.record.util import calc_crc32c, encode_varint

#: Bits of a batch's attributes.
GZIP, APPEND_TIME, TRANSACTIONAL, CONTROL = 0x01, 0x08, 0x10, 0x20
#: Up to the checksum, and what it speaks of up to the records.
_HEAD = struct.Struct(">qiibI")
_REST = struct.Struct(">hiqqqhii")


def number(value: int) -> bytes:
    """A number as records hold it."""
    out = bytearray()
    encode_varint(value, out.append)
    return bytes(out)


def sized(content: bytes | None) -> bytes:
    """Bytes behind their length."""
    return number(-1) if content is None else number(len(content)) + content


def record(
    offset: int,
    key: bytes | None = b"k",
    value: bytes | None = b"v",
    headers: Sequence[tuple[bytes | None, bytes | None]] = (),
    *,
    timestamp: int = 0,
    count: int | None = None,
) -> bytes:
    """A record; `offset` and `timestamp` count from its batch's, `count` is what it says it has."""
    body = b"\0" + number(timestamp) + number(offset) + sized(key) + sized(value)
    body += number(len(headers) if count is None else count)
    body += b"".join(sized(name) + sized(content) for name, content in headers)
    return number(len(body)) + body


def batch(
    *records: bytes, base: int = 0, attributes: int = APPEND_TIME, last: int | None = None
) -> bytes:
    """A batch of these records; `last` is the last offset that it takes, from its base."""
    body = b"".join(records)
    if attributes & GZIP:
        body = gzip.compress(body)
    last = len(records) - 1 if last is None else last
    rest = _REST.pack(attributes, last, 1000, 2000, -1, -1, -1, len(records)) + body
    return _HEAD.pack(base, len(rest) + 9, 0, 2, calc_crc32c(rest)) + rest


def marker(base: int, *, committed: bool = True) -> bytes:
    """The batch that ends a transaction."""
    key, value = struct.pack(">hh", 0, int(committed)), struct.pack(">hi", 0, 0)
    attributes = APPEND_TIME | TRANSACTIONAL | CONTROL
    return batch(record(0, key, value), base=base, attributes=attributes)
