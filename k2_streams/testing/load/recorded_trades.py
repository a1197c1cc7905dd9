"""The content of records that are each one trade, or one quote, with a number of its own.

Their scope, session, number and value are read here a second time, apart from the feeds: a truth
that came from the decoder could not find its mistakes.
"""

import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import NamedTuple
from zoneinfo import ZoneInfo

from k2_streams.testing.streams import worth

#: Times of Binance from here on are microseconds: as milliseconds they would be of the year 5138.
_MICROSECONDS_FROM = 10**14
_SYDNEY = ZoneInfo("Australia/Sydney")


class RecordedError(ValueError):
    """A recording that cannot be sent with a truth; the text says which record and why."""


class RecordedTrade(NamedTuple):
    """What the model needs to know of a record that carries a trade, or a quote."""

    scope: str
    session: str
    number: int
    value: int  # what it is worth
    is_row: bool = True  # else its number counts, and it is no trade
    time_ns: int = 0  # event time; 0: it has none
    is_named: bool = True  # False: K2 tells its session by its time


#: A record's content, by its key and value; None: no number, and no trade.
Reader = Callable[[str, bytes], RecordedTrade | None]


def _unstamped(value: bytes) -> bytes:
    return value if value[:1] == b"{" else value.partition(b" ")[2]


def exchange_of(key: str) -> str:
    """The exchange: the key names it, whatever venue's protocol the message is of."""
    return key.partition(":")[0]


def _binance(market: str) -> Reader:
    def read(key: str, value: bytes) -> RecordedTrade | None:
        message = json.loads(_unstamped(value))
        data = message.get("data", message) if isinstance(message, dict) else message
        if isinstance(data, list):  # of events: a trade can only stand there alone
            data = data[0] if len(data) == 1 else {}
        kind = data.get("e")
        is_apart = kind == "aggTrade" and key.endswith("@aggTrade")
        if kind != "trade" and not is_apart:
            return None
        scope = f"{exchange_of(key)}:{market}{data['s']}{'@aggTrade' if is_apart else ''}"
        number = int(data["a"] if is_apart else data["t"])
        time = int(data.get("T", 0))
        time_ns = time * (1_000_000 if time < _MICROSECONDS_FROM else 1_000)
        if data.get("X") == "NA" and not (Decimal(data["p"]) or Decimal(data["q"])):
            return RecordedTrade(scope, "0", number, 0, is_row=False, time_ns=time_ns)
        return RecordedTrade(scope, "0", number, trade_worth(data["p"], data["q"]), time_ns=time_ns)

    return read


def _coinbase_exchange(key: str, value: bytes) -> RecordedTrade | None:
    message = json.loads(_unstamped(value))
    if not isinstance(message, dict) or message["type"] not in {"match", "last_match"}:
        return None
    value_ = trade_worth(message["price"], message["size"])
    return RecordedTrade(
        f"{exchange_of(key)}:{message['product_id']}",
        "0",
        int(message["trade_id"]),
        value_,
        time_ns=_rfc_3339_ns(message["time"]),
    )


def _asx_csv(key: str, value: bytes) -> RecordedTrade:
    number, symbol, day, time, price, volume, *_ = _line(value)
    scope, time_ns = f"{exchange_of(key)}:{symbol}", _asx_time_ns(day, time)
    value_ = trade_worth(price, volume)
    return RecordedTrade(scope, _asx_session(day), int(number), value_, time_ns=time_ns)


def _asx_quotes_csv(key: str, value: bytes) -> RecordedTrade:
    number, symbol, day, time, bid, ask, bid_volume, ask_volume = _line(value)
    numbers = {
        "bid_price": bid, "bid_quantity": bid_volume, "ask_price": ask, "ask_quantity": ask_volume,
    }  # fmt: skip
    scope, time_ns = f"{exchange_of(key)}:{symbol}", _asx_time_ns(day, time)
    value_ = worth("quotes", numbers)
    return RecordedTrade(scope, _asx_session(day), int(number), value_, time_ns=time_ns)


def _line(value: bytes) -> list[str]:
    return value.decode().rstrip("\r\n").split(",")


def _asx_session(day: str) -> str:
    month, day_of_month, year = day.split("/")
    return f"{year}-{month}-{day_of_month}"


def _rfc_3339_ns(text: str) -> int:
    """A time of UTC, with up to nine digits of a second."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(f"{whole}+00:00").timestamp()) * 10**9 + int(
        fraction.ljust(9, "0")
    )


def _asx_time_ns(day: str, time: str) -> int:
    """A date and a time of day in Sydney."""
    whole, _, fraction = time.partition(".")
    local = datetime.strptime(f"{day} {whole}", "%m/%d/%Y %H:%M:%S").replace(tzinfo=_SYDNEY)
    return int(local.timestamp()) * 10**9 + int(fraction.ljust(9, "0") or 0)


def trade_worth(price: str, quantity: str) -> int:
    """What a trade is worth, in the units of `worth`."""
    return worth("trades", {"price": price, "quantity": quantity})


def _canonical(stream: str, _key: str, value: bytes) -> RecordedTrade:
    fields = json.loads(value, parse_float=str, parse_int=str)
    if "sequence" not in fields:
        raise RecordedError(f"a truth needs records with a sequence: {value!r}")
    return RecordedTrade(
        f"{fields['exchange']}:{fields['symbol']}",
        fields.get("session", "0"),
        int(fields["sequence"]),
        worth(stream, fields),
        time_ns=int(fields.get("exchange_time_ns", 0)),
        is_named="session" in fields,
    )


#: By stream the feeds of which each row is a message, with a number of its own: faults can be made
#: of them. `MESSAGES` has the others.
READERS: dict[str, dict[str, Reader]] = {
    "trades": {
        "asx.csv": _asx_csv,
        "binance.coinm": _binance("coinm:"),
        "binance.spot": _binance(""),
        "binance.usdm": _binance("usdm:"),
        "canonical": partial(_canonical, "trades"),
        "coinbase.exchange": _coinbase_exchange,
    },
    "quotes": {
        "asx.quotes.csv": _asx_quotes_csv,
        "canonical": partial(_canonical, "quotes"),
    },
}
