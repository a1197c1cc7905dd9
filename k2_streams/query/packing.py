"""Offsets per partition as few bytes: what a token of many partitions needs to fit a URL.

The lowest offset, then runs of consecutive partitions, each as (partitions skipped before it, how
many there are), then of each partition its offset less the lowest one. All are LEB128 varints:
7 bits per byte, the low ones first, the top bit says that more follow. The first two may be
negative (what an offset is does not matter here), so they are written zigzag: 0, -1, 1, -2 as 0, 1,
2, 3.
"""

from collections.abc import Iterator, Mapping

#: Of one number: 10 bytes hold 64 bits and a sign.
MAX_VARINT_BYTES = 10


def pack(offsets: Mapping[int, int]) -> bytes:
    """The bytes of partitions and offsets; 9 per partition for offsets anywhere below 2^63."""
    if not offsets:
        return b""
    lowest = min(offsets.values())
    packed = bytearray(_varint(_zigzag(lowest)))
    partitions = sorted(offsets)
    at, expected = 0, 0
    while at < len(partitions):
        end = at + 1
        while end < len(partitions) and partitions[end] == partitions[end - 1] + 1:
            end += 1
        packed += _varint(_zigzag(partitions[at] - expected)) + _varint(end - at)
        for partition in partitions[at:end]:
            packed += _varint(offsets[partition] - lowest)
        expected = partitions[end - 1] + 1
        at = end
    return bytes(packed)


def unpack(data: bytes) -> dict[int, int]:
    """The inverse of `pack`.

    Raises:
        ValueError: the bytes are not what `pack` writes.
    """
    if not data:
        return {}
    offsets: dict[int, int] = {}
    numbers = _numbers(data)
    lowest = _unzigzag(_required(numbers))
    partition = 0
    for skipped in numbers:
        partition += _unzigzag(skipped)
        count = _required(numbers)
        if not 0 < count <= len(data):
            raise ValueError(f"expected a run of 1 to {len(data)} partitions, found {count}")
        for _ in range(count):
            offsets[partition] = lowest + _required(numbers)
            partition += 1
    return offsets


def _zigzag(number: int) -> int:
    return number << 1 if number >= 0 else (-number << 1) - 1


def _unzigzag(number: int) -> int:
    return -(number + 1 >> 1) if number & 1 else number >> 1


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _numbers(data: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte & 0x80:
            if shift == 7 * MAX_VARINT_BYTES:
                raise ValueError("a number is longer than 64 bits")
            continue
        yield number
        number = shift = 0
    if shift:
        raise ValueError("the last number is cut off")


def _required(numbers: Iterator[int]) -> int:
    number = next(numbers, None)
    if number is None:
        raise ValueError("fewer numbers than it says")
    return number
