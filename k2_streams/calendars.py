"""Sessions of exchanges, by the calendars of `exchange-calendars`; its only home.

The package brings pandas, half a second of import: it is imported when a calendar is first asked
for, and is not there where it was not installed.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar

#: Calendars kept: 20 years of one take 2 MB, and a second to make.
MAX_CALENDARS = 16


class CalendarError(ValueError):
    """There is no such calendar, it does not reach so far, or the package is not installed."""


def sessions_of(name: str, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
    """Open and close of each session of a calendar that meets a range; breaks are within them.

    Takes a second for the first time, so that it is not for an event loop.

    Raises:
        CalendarError: there is no such calendar, or it does not reach so far.
    """
    calendar = _calendar(name)
    opens, closes = (column.array.asi8 for column in (calendar.opens, calendar.closes))
    if start_ns < opens[0] or end_ns > closes[-1]:
        raise CalendarError(
            f"{name} has the sessions from {calendar.first_session:%Y-%m-%d} to "
            f"{calendar.last_session:%Y-%m-%d}: expected a range within them",
        )
    meets = (closes > start_ns) & (opens < end_ns)
    return list(zip(opens[meets].tolist(), closes[meets].tolist(), strict=True))


def is_trading(name: str, at_ns: int) -> bool:
    """Whether a session of a calendar is open at a time, and has no break then.

    Raises:
        CalendarError: as for `sessions_of`.
    """
    if not sessions_of(name, at_ns, at_ns + 1):
        return False
    calendar = _calendar(name)
    begins, ends = (one.array.asi8 for one in (calendar.break_starts, calendar.break_ends))
    # A session without a break has the least integer for both.
    return not ((begins <= at_ns) & (at_ns < ends)).any()


def check_calendar(name: str) -> None:
    """Check that there is a calendar of this name; it is not made yet.

    Raises:
        CalendarError: there is none, or the package is not installed.
    """
    if name not in _package().get_calendar_names():
        raise CalendarError(
            f"expected a calendar of exchange-calendars, as XASX or XNYS, found {name}"
        )


@lru_cache(MAX_CALENDARS)
def _calendar(name: str) -> "ExchangeCalendar":
    check_calendar(name)
    return _package().get_calendar(name)


def _package() -> Any:
    try:
        import exchange_calendars  # noqa: PLC0415 - see the module
    except ImportError as error:
        raise CalendarError(
            "the server lacks a package: install k2-streams[calendars] there"
        ) from error
    return exchange_calendars
