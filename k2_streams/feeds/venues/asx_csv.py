"""ASX trades as comma-separated lines, numbered by the loader.

A value is `<sequence>,<symbol>,<line>`, where a line is date (MM/DD/YYYY), time (HH:MM:SS.mmm in
Sydney), price, volume, qualifiers, venue, buyer id. The file has neither numbers nor ids: the
loader counts rows per symbol and day in file order, so the session is the trading day, and days are
in order. The file does not say who the aggressor was.
"""

import datetime as dt
import re
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from k2_streams.core.sequence.sessions import SessionRule
from k2_streams.feeds.decoding.decoded import (
    MAX_INT64,
    Reason,
    refuse,
    shown,
)
from k2_streams.feeds.decoding.keys import agreeing
from k2_streams.feeds.decoding.messages import Message, MessageFeed, Trade
from k2_streams.feeds.description import CountsOver, Description, Identity, TimeUnit

EXCHANGE = "ASX"
_SYDNEY = ZoneInfo("Australia/Sydney")
_COLUMNS = ("sequence", "symbol", "date", "time", "price", "volume", "qualifiers", "venue", "buyer")
_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)
_DATE = re.compile(r"([0-9]{2})/([0-9]{2})/([0-9]{4})", re.ASCII)
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])\.([0-9]{3})", re.ASCII)
_DAY_S = 86_400
_EPOCH = dt.date(1970, 1, 1)
#: Trading days remembered in parsed form: forty years of them.
_REMEMBERED_DAYS = 10_240


class TradingDay(NamedTuple):
    """A day in Sydney."""

    name: str  # ISO 8601: the session
    number: int  # days since 1970-01-01
    begins_s: int  # local midnight, in seconds since 1970 UTC
    changes_s: int  # what the zone's offset changes by during the day; 0 on all but two days a year


@lru_cache(maxsize=_REMEMBERED_DAYS)
def trading_day(text: str) -> TradingDay | None:
    """The day of a date as MM/DD/YYYY; None if it is none."""
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    month, day, year = (int(part) for part in match.groups())
    try:
        date = dt.date(year, month, day)
        begins = dt.datetime(year, month, day, tzinfo=_SYDNEY)
        ends = dt.datetime.combine(date + dt.timedelta(days=1), dt.time(), tzinfo=_SYDNEY)
        begins_s, ends_s = int(begins.timestamp()), int(ends.timestamp())
    except (ValueError, OverflowError):
        return None
    return TradingDay(date.isoformat(), (date - _EPOCH).days, begins_s, ends_s - begins_s - _DAY_S)


def event_time_ns(day: TradingDay, text: str) -> int | None:
    """A time of day in Sydney as HH:MM:SS.mmm, in ns since 1970 UTC.

    None if it is no time, or one that the clock skips when summer time begins. One that the clock
    shows twice when summer time ends is the first.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    hour, minute, second, ms = (int(part) for part in match.groups())
    since_midnight_s = hour * 3_600 + minute * 60 + second
    if day.changes_s == 0:
        return ((day.begins_s + since_midnight_s) * 1_000 + ms) * 1_000_000
    date = dt.date.fromisoformat(day.name)
    local = dt.datetime.combine(date, dt.time(hour, minute, second), tzinfo=_SYDNEY)
    shown_again = local.astimezone(dt.UTC).astimezone(_SYDNEY)
    if shown_again.replace(tzinfo=None) != local.replace(tzinfo=None):
        return None
    return (int(local.timestamp()) * 1_000 + ms) * 1_000_000


class LineStamp(NamedTuple):
    """What every line of the exchange's files begins with."""

    sequence: int
    day: TradingDay
    time_ns: int


class AsxCsv(MessageFeed):
    """The Australian Securities Exchange, one sequence a symbol and trading day."""

    name = "asx.csv"
    description = Description(
        counts_over=CountsOver.SYMBOL,
        number="sequence",
        session_rule=SessionRule.ORDERED,
        session_starts="a trading day in Sydney",
        identity=Identity.SEQUENCE,
        trade_id=None,
        time="date and time",
        time_unit=TimeUnit.LOCAL,
    )
    names = ("price", "volume", "time")

    def read(self, value: bytes, key: bytes | None) -> Message:
        """One record."""
        parts = split(value, _COLUMNS)
        number, symbol, date, time, price, volume, qualifiers, venue, buyer = parts
        stamp = stamped(key, number, symbol, date, time)
        vendor = {name: text for name, text in (("venue", venue), ("buyer", buyer)) if text}
        conditions = qualifiers.split() or None
        trade = Trade(
            price,
            volume,
            stamp.time_ns,
            conditions=conditions,
            vendor=vendor or None,
            trading_day=stamp.day.number,
            time=f"{date} {time}",
        )
        return Message([trade], stamp.sequence, stamp.day.name)


def split(value: bytes, columns: tuple[str, ...]) -> list[str]:
    """The columns of a line; its end, whichever way the file writes it, is in none of them.

    Raises:
        RefusedError: there are more or less of them.
    """
    parts = value.decode().rstrip("\r\n").split(",")
    if len(parts) != len(columns):
        detail = f"expected {len(columns)} columns ({','.join(columns)}), found {len(parts)}"
        raise refuse(Reason.WRONG_COLUMNS, None, detail)
    return parts


def stamped(key: bytes | None, number: str, symbol: str, date: str, time: str) -> LineStamp:
    """The number and time of a line of this symbol's.

    Raises:
        RefusedError: one of them is none, or the key names another symbol.
    """
    agreeing(key, None, symbol)
    if not _NUMBER.fullmatch(number) or int(number) > MAX_INT64:
        detail = f"expected 0 to 2^63 - 1, found {shown(number)}"
        raise refuse(Reason.SEQUENCE_RANGE, "sequence", detail)
    day = trading_day(date)
    if day is None:
        raise refuse(Reason.BAD_TIME, "date", f"expected MM/DD/YYYY, found {shown(date)}")
    time_ns = event_time_ns(day, time)
    if time_ns is None:
        detail = f"expected HH:MM:SS.mmm in Sydney, found {shown(time)}"
        raise refuse(Reason.BAD_TIME, "time", detail, int(number), day.name)
    if abs(time_ns) > MAX_INT64:
        detail = f"expected a year from 1990 to 2262, found {shown(date)}"
        raise refuse(Reason.BAD_TIME, "date", detail, int(number), day.name)
    return LineStamp(int(number), day, time_ns)
