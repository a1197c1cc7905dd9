"""Arrow columns as text, a whole column at a time: the basis of the JSON and CSV formats.

A decimal is written by its value, plain, without trailing zeros ("61837.63", "0.00000001"); a
timestamp as RFC 3339 in UTC with six decimals ("2014-03-10T10:00:00.000000Z"); a date as ISO;
bytes as base64.
Nothing passes through a float, and no cell is touched by Python unless its text needs escaping.
"""

from base64 import b64encode
from collections.abc import Callable
from decimal import Decimal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from k2_streams.core.records.schema import MICROS

_DAY_S = 86_400
_DATE_WIDTH, _TIME_WIDTH = len("2014-03-10"), len("2014-03-10T10:00:00.000000Z")


def _digits(width: int) -> np.ndarray:
    """The texts of all numbers of that many digits, a row of bytes each."""
    texts = "".join(f"{number:0{width}}" for number in range(10**width))
    return np.frombuffer(texts.encode(), dtype=np.uint8).reshape(-1, width)


def _times_of_day() -> np.ndarray:
    """The text "10:00:00" of each second of a day, a row of bytes each."""
    second, two = np.arange(_DAY_S), _digits(2)
    colon = np.full((_DAY_S, 1), ord(":"), dtype=np.uint8)
    hours, minutes, seconds = two[second // 3600], two[second // 60 % 60], two[second % 60]
    return np.hstack([hours, colon, minutes, colon, seconds])


_TIMES_OF_DAY = _times_of_day()
_THREE_DIGITS = _digits(3)
_JSON_ESCAPED = bytes(range(0x20)) + b'"\\'


def plain_texts(column: pa.Array) -> pa.Array:
    """The text of each value as a person would write it; null stays null.

    Lists, maps and structs are written as JSON.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return plain_texts(column.dictionary_decode())
    if pa.types.is_string(kind):
        return column
    if pa.types.is_decimal(kind):
        return _decimal_texts(column)
    if pa.types.is_timestamp(kind):
        return _time_texts(column)
    if pa.types.is_nested(kind):
        return pc.if_else(column.is_valid(), json_texts(column), pa.scalar(None, pa.string()))
    return _base64_texts(column) if pa.types.is_binary(kind) else column.cast(pa.string())


def json_texts(column: pa.Array) -> pa.Array:
    """The JSON text of each value; null is `null`.

    Numbers and booleans stay bare; decimals, times and dates are strings; a list is an array, a
    map and a struct are objects. A float that JSON has no number for (NaN, infinity) is `null`.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return pc.take(json_texts(column.dictionary), column.indices).fill_null("null")
    if pa.types.is_string(kind):
        texts = _quoted_escaped(column)
    elif pa.types.is_list(kind):
        start, offsets = _own_offsets(column)
        items = json_texts(column.values.slice(start, offsets[-1].as_py()))
        texts = _joined(column, pa.ListArray.from_arrays(offsets, items), "[", "]")
    elif pa.types.is_map(kind):
        start, offsets = _own_offsets(column)
        length = offsets[-1].as_py()
        keys = json_texts(column.keys.slice(start, length).cast(pa.string()))
        items = json_texts(column.items.slice(start, length))
        pairs = pc.binary_join_element_wise(keys, items, ":")
        texts = _joined(column, pa.ListArray.from_arrays(offsets, pairs), "{", "}")
    elif pa.types.is_struct(kind):
        texts = _struct_texts(column)
    elif pa.types.is_floating(kind):
        finite = pc.fill_null(pc.is_finite(column), fill_value=False)
        texts = pc.if_else(finite, column.cast(pa.string()), pa.scalar(None, pa.string()))
    elif pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        texts = column.cast(pa.string())
    else:
        texts = _quoted(plain_texts(column))
    return texts.fill_null("null") if texts.null_count else texts


def json_parts(column: pa.Array) -> tuple[str, pa.Array | str, str]:
    """What to write before, for and after each value of a column that is not empty.

    The same JSON as `json_texts`, with less copying: quotes that all values have stand in the
    literals around them, and a column with one value throughout is a literal itself.
    """
    if _is_constant(column):
        return "", json_texts(column.slice(0, 1))[0].as_py(), ""
    kind = column.type
    if column.null_count or pa.types.is_dictionary(kind) or pa.types.is_nested(kind):
        return "", json_texts(column), ""
    if pa.types.is_string(kind):
        return (
            ("", json_texts(column), "") if holds_any(column, _JSON_ESCAPED) else ('"', column, '"')
        )
    if pa.types.is_primitive(kind) and not pa.types.is_temporal(kind):
        return "", json_texts(column), ""
    return '"', plain_texts(column), '"'


def holds_any(texts: pa.Array, wanted: bytes) -> bool:
    """Whether any text holds any of the bytes: one look at the column's memory tells."""
    values = texts.drop_null() if texts.null_count else texts
    table = np.zeros(256, dtype=bool)
    table[list(wanted)] = True
    return bool(table[np.frombuffer(content(values), dtype=np.uint8)].any())


def content(texts: pa.Array) -> memoryview:
    """The bytes of all values, one after the other, without a copy. No value may be null."""
    _, offsets_buffer, data = texts.buffers()
    if data is None or len(texts) == 0:
        return memoryview(b"")
    offsets = np.frombuffer(offsets_buffer, dtype=np.int32)
    start, end = offsets[texts.offset], offsets[texts.offset + len(texts)]
    return memoryview(data)[int(start) : int(end)]


def replaced(column: pa.Array, where: pa.Array, replace: Callable[[str], str]) -> pa.Array:
    """The column with the values where `where` is true replaced, each distinct one once."""
    distinct = column.filter(where).dictionary_encode()
    fixed = pa.array([replace(text) for text in distinct.dictionary.to_pylist()], pa.string())
    mask = pc.fill_null(where, fill_value=False)
    return pc.replace_with_mask(column, mask, fixed.take(distinct.indices))


def _quoted(texts: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise('"', texts, '"', "")


def _quoted_escaped(column: pa.Array) -> pa.Array:
    if not holds_any(column, _JSON_ESCAPED):
        return _quoted(column)
    distinct = column.dictionary_encode()
    texts = [
        None if text is None else msgspec.json.encode(text).decode()
        for text in distinct.dictionary.to_pylist()
    ]
    return pa.array(texts, pa.string()).take(distinct.indices)


def _is_constant(column: pa.Array) -> bool:
    if column.null_count or pa.types.is_nested(column.type):
        return bool(column.null_count == len(column))
    return bool(pc.all(pc.equal(column, column[0])).as_py())


def _own_offsets(column: pa.Array) -> tuple[int, pa.Array]:
    """Where a slice's first item is among all items, and its offsets counted from there."""
    start = column.offsets[0].as_py()
    return start, pc.subtract(column.offsets, pa.scalar(start, pa.int32()))


def _joined(column: pa.Array, lists: pa.Array, opening: str, closing: str) -> pa.Array:
    """The texts of each row's items, put between brackets; null stays null."""
    texts = pc.binary_join_element_wise(opening, pc.binary_join(lists, ","), closing, "")
    return pc.if_else(column.is_valid(), texts, pa.scalar(None, pa.string()))


def _struct_texts(column: pa.Array) -> pa.Array:
    """The object of each row; null stays null."""
    parts: list[pa.Array | str] = []
    for at in range(column.type.num_fields):
        name = msgspec.json.encode(column.type.field(at).name).decode()
        parts += [f"{',' if at else '{'}{name}:", json_texts(column.field(at))]
    texts = pc.binary_join_element_wise(*parts, "}", "")
    return pc.if_else(column.is_valid(), texts, pa.scalar(None, pa.string()))


def _base64_texts(column: pa.Array) -> pa.Array:
    found = column.to_pylist()
    texts = [None if value is None else b64encode(value).decode() for value in found]
    return pa.array(texts, pa.string())


def _decimal_texts(column: pa.Array) -> pa.Array:
    texts = column.cast(pa.string())
    # Arrow writes values below 1e-6 with an exponent.
    scientific = pc.match_substring(texts, "E")
    if pc.any(scientific).as_py():
        texts = replaced(texts, scientific, lambda text: format(Decimal(text), "f"))
    if column.type.scale > 0:
        texts = pc.ascii_rtrim(pc.ascii_rtrim(texts, "0"), ".")
    return texts


def _time_texts(column: pa.Array) -> pa.Array:
    """By look-up in numpy: many times as fast as Arrow's own cast of a time with a zone."""
    micros = np.asarray(column.cast(MICROS).cast(pa.int64()).fill_null(0))
    seconds, micros = np.divmod(micros, 1_000_000)
    days, seconds = np.divmod(seconds, _DAY_S)
    distinct, which = np.unique(days, return_inverse=True)
    dates = np.datetime_as_string(distinct.astype("datetime64[D]")).astype(f"S{_DATE_WIDTH}")
    out = np.empty((len(micros), _TIME_WIDTH), dtype=np.uint8)
    out[:, :10] = dates.view(np.uint8).reshape(-1, _DATE_WIDTH)[which]
    out[:, 10] = ord("T")
    out[:, 11:19] = _TIMES_OF_DAY[seconds]
    out[:, 19] = ord(".")
    out[:, 20:23] = _THREE_DIGITS[micros // 1_000]
    out[:, 23:26] = _THREE_DIGITS[micros % 1_000]
    out[:, 26] = ord("Z")
    offsets = np.arange(len(micros) + 1, dtype=np.int32) * _TIME_WIDTH
    texts = pa.StringArray.from_buffers(len(micros), pa.py_buffer(offsets), pa.py_buffer(out))
    return pc.if_else(column.is_valid(), texts, None) if column.null_count else texts
