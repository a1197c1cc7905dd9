"""Many canonical records at once: the quick ways, each taken only where it is safe.

A batch is decoded in steps, each for the records that the one before did not take:

1. All values joined by newlines.
2. The same in chunks of `CHUNK`, so that one bad record slows its chunk alone.
3. Record by record.

At each step prices may be strings, or JSON numbers kept as their text; in chunks and record by
record fields that K2 does not know are gathered into `vendor`. What no step takes is left to
`canonical.record.read`, which defines the format.

Joining is trusted only if each value begins with `{` and ends with `}` and no value holds a
newline. In JSON nothing that is still open can end with `}` and go on with `{`, so each object then
lies within one value, and as many objects as values means one each. (Without it `{"a":1} {"a":2}`,
`{"a":` and `3}` are three values and, joined, three other objects.)
"""

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Raw

from k2_streams.feeds.canonical.record import MAX_DEPTH, RecordT, Shape, is_too_deep, with_unknown
from k2_streams.feeds.decoding.decoded import MAX_VALUE_BYTES

#: Small enough that a record in a thousand leaves most chunks clean, large enough that the cost of
#: a chunk (20 µs) is little beside that of its records.
CHUNK = 128
_NEWLINE, _OPEN, _CLOSE, _OPEN_LIST = b"\n{}["

_FIELDS: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])
#: What msgspec raises for bytes that are not what was asked for.
_NOT_SO = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode_lines(
    shape: Shape[RecordT], values: Sequence[bytes | None]
) -> tuple[list[RecordT], list[int]]:
    """The records that a quick way takes, in order, and the indices of the others.

    A record's numbers are strings, or `Raw` JSON text without escapes. It is right
    in shape alone: the values of its numbers, its key and its session are not looked at here.
    """
    whole = _joined(shape, values, loosely=False)
    if whole is not None:
        return whole, []
    lines: list[RecordT | None] = []
    for first in range(0, len(values), CHUNK):
        chunk = values[first : first + CHUNK]
        together = _joined(shape, chunk, loosely=True)
        lines += [_one(shape, value) for value in chunk] if together is None else together
    left = [index for index, line in enumerate(lines) if line is None]
    return [line for line in lines if line is not None], left


def _joined(
    shape: Shape[RecordT], values: Sequence[bytes | None], *, loosely: bool
) -> list[RecordT] | None:
    """All values at once; None if they cannot be trusted together, or one of them is refused."""
    try:
        if max(map(len, values), default=0) > MAX_VALUE_BYTES:  # type: ignore[arg-type]
            return None  # not worth a copy
        joined = b"\n".join(values)  # type: ignore[arg-type]
    except TypeError:  # a null value
        return None
    data = np.frombuffer(joined, dtype=np.uint8)
    ends = np.flatnonzero(data == _NEWLINE)
    if not _is_one_object_a_value(data, ends, len(values)):
        return None
    lines = _decoded(shape.strict, joined, len(values))
    if lines is not None:
        return lines
    if not loosely and _decoded(shape.strict, joined.partition(b"\n")[0], 1):
        return None  # the first value is plain, so what failed is an exception: in its chunk
    if _is_plain_text(joined) and _is_shallow(data, ends):
        lines = _decoded(shape.strict_raw, joined, len(values))
        if lines is None and loosely:
            lines = _loose(shape, joined, len(values))
    return lines


def _is_one_object_a_value(
    data: npt.NDArray[np.uint8], ends: npt.NDArray[np.intp], count: int
) -> bool:
    """Whether as many objects as values, in these joined bytes, means one object each."""
    if ends.size != count - 1 or data.size < 2 or data[0] != _OPEN or data[-1] != _CLOSE:
        return False  # so the first and the last byte are no newlines, and have neighbours
    return bool((data[ends - 1] == _CLOSE).all() and (data[ends + 1] == _OPEN).all())


def _is_shallow(data: npt.NDArray[np.uint8], ends: npt.NDArray[np.intp]) -> bool:
    """Whether no value opens so much that it could be too deep."""
    opens = np.flatnonzero((data == _OPEN) | (data == _OPEN_LIST))
    passed = np.searchsorted(opens, ends)
    return bool(np.diff(passed, prepend=0, append=opens.size).max() <= MAX_DEPTH)


def _decoded(
    decoder: "msgspec.json.Decoder[RecordT]", joined: bytes, count: int
) -> list[RecordT] | None:
    """The objects of joined values, if all are right and they are as many as the values."""
    try:
        lines = decoder.decode_lines(joined)
    except _NOT_SO:
        return None
    return lines if len(lines) == count else None


def _loose(shape: Shape[RecordT], joined: bytes, count: int) -> list[RecordT] | None:
    """Joined values whose objects have fields that K2 does not know."""
    unknown_of: dict[tuple[str, ...], list[str]] = {}  # the records of a feed are much alike
    try:
        lines = shape.loose.decode_lines(joined)
        for line, fields in zip(lines, _FIELDS.decode_lines(joined), strict=True):
            names = tuple(fields)
            unknown = unknown_of.get(names)
            if unknown is None:
                unknown = unknown_of[names] = shape.unknown(fields)
            line.vendor = with_unknown(fields, unknown, line.vendor)
    except _NOT_SO:
        return None
    return lines if len(lines) == count else None


def _one(shape: Shape[RecordT], value: bytes | None) -> RecordT | None:
    """One value by itself; None where `read` has to look at it."""
    if value is None or len(value) > MAX_VALUE_BYTES:
        return None
    plain = _is_plain_text(value) and not is_too_deep(value)
    try:
        return (shape.strict_raw if plain else shape.strict).decode(value)
    except _NOT_SO:
        if not plain:
            return None
    try:
        line = shape.loose.decode(value)
        fields = _FIELDS.decode(value)
        line.vendor = with_unknown(fields, shape.unknown(fields), line.vendor)
    except _NOT_SO:
        return None
    return line


def _is_plain_text(data: bytes) -> bool:
    """Whether bytes are UTF-8 and without escapes, so that a number's text stands as it is."""
    if b"\\" in data:
        return False
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
