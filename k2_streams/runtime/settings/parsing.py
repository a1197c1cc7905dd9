"""What a variable's text stands for, where that is more than a number or a word.

Each parser takes a text, or a value that is of its type already, and raises ValueError.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import AfterValidator, BeforeValidator, PlainValidator

from k2_streams import failpoints
from k2_streams.calendars import MAX_CALENDARS, CalendarError, check_calendar
from k2_streams.core.load.tail_quota import DiskBound
from k2_streams.core.query.bars.conditions import ConditionRules
from k2_streams.runtime.settings import conditions

_MIB = 1024 * 1024
DEFAULT_KAFKA_PORT = 9092
LAST_PORT = 65_535


class ExplainedError(ValueError):
    """A text is not what it should be; the error says better what than the declaration."""


def bootstrap(value: str) -> str:
    """Addresses as they are, each of them checked; a port may be left out (9092)."""
    for address in value.split(","):
        host, colon, port = address.strip().rpartition(":")
        if not colon or address.strip().endswith("]"):
            host, port = address.strip(), str(DEFAULT_KAFKA_PORT)
        if ":" in host and not (host.startswith("[") and host.endswith("]")):
            raise ValueError
        if not host or set(host) & set("/ @\t") or not 1 <= int(port) <= LAST_PORT:
            raise ValueError
    return value


def _parts(value: Any) -> Any:
    return [part for part in value.split(",") if part] if isinstance(value, str) else value


def _disk_bound(value: Any) -> DiskBound:
    if isinstance(value, DiskBound):
        return value
    text = str(value)
    if text.endswith("%"):
        percent = float(text.removesuffix("%"))
        if not 0 < percent <= 100:
            raise ValueError
        return DiskBound(share=percent / 100)
    size_bytes = int(text)
    if size_bytes < _MIB:
        raise ValueError
    return DiskBound(size_bytes=size_bytes)


def _plan(value: Any) -> tuple[failpoints.Entry, ...]:
    if not isinstance(value, str):
        return tuple(value)
    try:
        return failpoints.parse(value)
    except ValueError as error:
        raise ExplainedError(str(error)) from error


def _conditions(value: Any) -> ConditionRules | None:
    if value is None or isinstance(value, ConditionRules):
        return value
    try:
        return conditions.load(Path(value).absolute())
    except conditions.ConditionsError as error:
        raise ExplainedError(str(error)) from error


def _calendars(value: Any) -> dict[str, str]:
    """`EXCHANGE=CALENDAR` by comma; each exchange once."""
    if not isinstance(value, str):
        return dict(value)
    pairs = [part.partition("=")[::2] for part in _parts(value)]
    found = dict(pairs)
    if len(found) < len(pairs) or not all(map(all, pairs)):
        raise ValueError
    names = tuple(dict.fromkeys(found.values()))
    if len(names) > MAX_CALENDARS:
        raise ExplainedError(f"expected {MAX_CALENDARS} calendars at most, found {len(names)}")
    for name in names:
        try:
            check_calendar(name)
        except CalendarError as error:
            raise ExplainedError(str(error)) from error
    return found


def rising(count: int, most: float) -> AfterValidator:
    """So many numbers, none below the one before, above 0 and up to `most`."""

    def check(numbers: tuple[float, ...]) -> tuple[float, ...]:
        if len(numbers) != count or list(numbers) != sorted(numbers):
            raise ValueError
        if not all(0 < number <= most for number in numbers):
            raise ValueError
        return numbers

    return AfterValidator(check)


def whole_or_none(low: int, high: int) -> PlainValidator:
    """A whole number within bounds; 0 stands for None."""

    def parse(value: Any) -> int | None:
        number = int(value or 0)
        if number and not low <= number <= high:
            raise ValueError
        return number or None

    return PlainValidator(parse)


def matching(is_valid: Callable[[str], object]) -> AfterValidator:
    """A text of which this holds."""

    def check(text: str) -> str:
        if not is_valid(text):
            raise ValueError
        return text

    return AfterValidator(check)


BOOTSTRAP = AfterValidator(bootstrap)
#: Parts between commas; empty ones are left out.
BY_COMMA = BeforeValidator(_parts)
#: `50%` of the disk, or bytes.
DISK_BOUND = PlainValidator(_disk_bound)
FAILPOINTS = PlainValidator(_plan)
#: The rules of the file that the text names.
CONDITIONS = PlainValidator(_conditions)
#: Names of calendars by exchange.
CALENDARS = PlainValidator(_calendars)
#: Relative to the folder in which the process was started, whatever that is later.
ABSOLUTE = AfterValidator(Path.absolute)
