"""Which partition a key belongs to: Kafka's murmur2, as its Java client has it.

librdkafka does the same with `partitioner=murmur2_random`; its default differs on most keys.
"""

from collections.abc import Iterable
from functools import lru_cache

_SEED = 0x9747B28C
_M = 0x5BD1E995
_R = 24
_32_BITS = 0xFFFFFFFF
#: Keys whose hash a process remembers: every symbol of a few large venues, some 30 MB.
_REMEMBERED_KEYS = 262_144


def murmur2(data: bytes) -> int:
    """MurmurHash2 of the bytes with Kafka's seed, as an unsigned 32-bit number."""
    length = len(data)
    hashed = _SEED ^ length
    whole = length & ~3
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little") * _M & _32_BITS
        word = (word ^ word >> _R) * _M & _32_BITS
        hashed = (hashed * _M & _32_BITS) ^ word
    if whole < length:
        hashed = (hashed ^ int.from_bytes(data[whole:], "little")) * _M & _32_BITS
    hashed = (hashed ^ hashed >> 13) * _M & _32_BITS
    return hashed ^ hashed >> 15


_remembered = lru_cache(maxsize=_REMEMBERED_KEYS)(murmur2)


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, of a topic with so many partitions."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def partitions_of(keys: Iterable[bytes], partitions: int) -> list[int]:
    """The partition of each key. Quick for keys seen before: give it a batch's distinct keys."""
    return [(_remembered(key) & 0x7FFFFFFF) % partitions for key in keys]
