"""Prices and quantities: decimal text to decimal(38,18), exactly or not at all.

Arrow's own cast of text is quick and exact only as long as nothing overflows: "1e30" silently
becomes 18960114910927365649.47, and thirty-nine digits wrap at 2^128. So only a shape that cannot
overflow goes to it, and everything else is read by value, one text at a time.
"""

import decimal
import re
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from k2_streams.core.records.schema import DECIMAL
from k2_streams.feeds.decoding.decoded import Fault, Reason, shown

#: decimal(38,18) has 20 digits before the point. A text of digits and a point that is no longer
#: than this has no more of them.
_WHOLE_DIGITS = 20
#: A shape that fits without a look at its value.
_PLAIN = rf"^[0-9]{{1,{_WHOLE_DIGITS}}}(\.[0-9]{{1,18}})?$"
#: What counts as decimal text: ASCII, as in Python and Java, without blanks and underscores.
_DECIMAL_TEXT = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(?:inf(?:inity)?|s?nan)", re.ASCII | re.IGNORECASE)
#: Raises rather than rounds.
_EXACT = decimal.Context(prec=38, traps=[decimal.Inexact, decimal.InvalidOperation])
_ZERO_TEXT = re.compile(r"0+(?:\.0*)?|\.0+", re.ASCII)
_SMALLEST = Decimal("1e-18")
_ZERO = pa.scalar(Decimal(0), DECIMAL)

_NO_BYTES = np.empty(0, dtype=np.uint8)
#: ASCII from the point to the nine: "./0123456789".
_POINT, _CHARS_TO_NINE = ord("."), 12


class DecimalTextError(ValueError):
    """A text that is no decimal(38,18), or one that is not above zero where it must be."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


#: Whether a number that is not above zero is admitted at a place.
Admits = Callable[[int, Decimal], bool]


def none_below(_place: int, _number: Decimal) -> bool:
    """Nothing that is not above zero is admitted."""
    return False


def number(text: str, admits: Callable[[Decimal], bool] | None = None) -> Decimal:
    """The value of a decimal text, with 18 decimals; a zero has no sign.

    Args:
        text: as it stands.
        admits: whether a number that is not above zero may be; None: it may not.

    Raises:
        DecimalTextError: not a decimal text, not finite, not admitted, or not a decimal(38,18)
            without rounding. Trailing zeros beyond the scale are no loss.
    """
    if not _DECIMAL_TEXT.fullmatch(text):
        if _NOT_FINITE.fullmatch(text):
            raise DecimalTextError(
                Reason.NOT_FINITE, f"expected a finite number, found {shown(text)}"
            )
        raise DecimalTextError(
            Reason.NOT_A_NUMBER, f"expected a decimal number, found {shown(text)}"
        )
    try:
        value = Decimal(text)
        if value <= 0 and not (admits and admits(value)):
            detail = f"expected more than 0, found {shown(text)}"
            raise DecimalTextError(Reason.NOT_POSITIVE, detail)
        exact = value.quantize(_SMALLEST, context=_EXACT)
        return exact or exact.copy_abs()
    except decimal.Inexact:
        raise DecimalTextError(
            Reason.TOO_PRECISE, f"expected at most 18 decimals, found {shown(text)}"
        ) from None
    except decimal.InvalidOperation:
        raise DecimalTextError(
            Reason.OUT_OF_RANGE, f"expected at most 20 digits and 18 decimals, found {shown(text)}"
        ) from None


def is_zero(text: str) -> bool:
    """Whether a decimal text is a zero without sign and exponent."""
    return bool(_ZERO_TEXT.fullmatch(text))


def plain_text(value: Decimal) -> str:
    """A value that `number` gave, as the shortest text without an exponent."""
    return f"{value:f}".rstrip("0").rstrip(".")


def column(
    texts: list[Any], admits: Admits = none_below, *, binary: bool = False
) -> tuple[pa.Array, dict[int, Fault]]:
    """Decimal texts to a decimal(38,18) column.

    Args:
        texts: strings; with `binary` also bytes, which need not be UTF-8. None is no number.
        admits: whether a number that is not above zero may stand at an index.
        binary: whether texts may be bytes.

    Returns:
        The column, null where a text is no decimal or not admitted, and by index what is wrong.
    """
    array = pa.array(texts, pa.binary() if binary else pa.string())
    values = _at_once(array)
    if values is None:
        fits = pc.match_substring_regex(array, _PLAIN)
        fitting = pc.if_else(fits, array, pa.scalar(None, array.type))
        values = fitting.cast(pa.string()).cast(DECIMAL)
    odd = pc.fill_null(pc.less_equal(values, _ZERO), fill_value=True)
    if not odd.true_count:
        return values, {}
    read: list[Decimal | None] = []
    problems: dict[int, Fault] = {}
    for index in np.flatnonzero(odd.to_numpy(zero_copy_only=False)).tolist():
        text = texts[index]
        try:
            read.append(number("" if text is None else _as_text(text), partial(admits, index)))
        except DecimalTextError as error:
            read.append(None)
            problems[index] = Fault(error.reason, error.detail)
    return pc.replace_with_mask(values, odd, pa.array(read, DECIMAL)), problems


def optional_column(
    texts: list[Any], admits: Admits = none_below, *, binary: bool = False
) -> tuple[pa.Array, dict[int, Fault]]:
    """The same, where a text that is absent is null and no fault, and so is a zero not admitted."""
    absent = np.array(
        [
            text is None or (is_zero(_as_text(text)) and not admits(place, Decimal(0)))
            for place, text in enumerate(texts)
        ],
        dtype=np.bool_,
    )
    places = np.flatnonzero(~absent)
    values, problems = column(
        [texts[place] for place in places.tolist()],
        lambda place, value: admits(int(places[place]), value),
        binary=binary,
    )
    found = {int(places[index]): problem for index, problem in problems.items()}
    if len(places) == len(texts):
        return values, found
    index = np.cumsum(~absent) - 1
    return values.take(pa.array(index, mask=absent)), found


def _as_text(text: Any) -> str:
    return text if isinstance(text, str) else text.decode("latin-1")


def _at_once(array: pa.Array) -> pa.Array | None:
    """The column by Arrow's cast, where no text can overflow it and all are numbers; else None."""
    offsets, data = _buffers(array)
    if not array.null_count and np.diff(offsets).max(initial=0) <= _WHOLE_DIGITS:
        # So there is no sign and no exponent: a byte below the point wraps to a large one.
        above_point = data[offsets[0] : offsets[-1]] - np.uint8(_POINT)
        if above_point.max(initial=0) < _CHARS_TO_NINE:
            try:
                return array.cast(pa.string()).cast(DECIMAL)
            except pa.ArrowInvalid:
                return None
    return None


def _buffers(array: pa.Array) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """The offsets and the bytes of a text array."""
    _, offsets, data = array.buffers()
    first, count = array.offset, len(array)
    view = np.frombuffer(offsets, dtype=np.int32)[first : first + count + 1]
    return view, np.frombuffer(data, dtype=np.uint8) if data is not None else _NO_BYTES
