"""Recorded files, as the records of `k2.trades.raw` that they would have been.

The only modules of the feeds that read files are this one and `captures`. Messages come in file
order, as they stand; their keys are made here as a collector makes them.
"""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from k2_streams.feeds.decoding.decoded import MAX_VALUE_BYTES
from k2_streams.feeds.decoding.keys import CHANNEL, CONNECTION
from k2_streams.feeds.decoding.native import since_1970
from k2_streams.feeds.recordings.captures import Captured, RecordingError, captured, lines
from k2_streams.feeds.venues import asx_csv, binance, bybit, coinbase_advanced, hitbtc, kraken
from k2_streams.feeds.venues.coinbase_exchange import EXCHANGE as COINBASE

__all__ = ["FEEDS", "Recorded", "RecordingError", "read"]


class Recorded(NamedTuple):
    """One record to send."""

    key: bytes
    value: bytes
    receive_time_ns: int | None  # the recorder's
    event_time_ns: int  # the venue's, or the recorder's where that is near it


def read(feed_name: str, path: Path, exchange: str | None = None) -> Iterator[Recorded]:
    """The records of a recording.

    Args:
        feed_name: `canonical` (one JSON object a line), `asx.csv` or `asx.quotes.csv`
            (`<company id>.csv` with `reference-data/company_info.csv` beside its folder), a
            venue's whose messages were recorded in one of the ways that `captures` reads, or a
            feed of another package: lines of a key, a tab and a value, where the time of receipt
            in ns and a tab may stand before them.
        path: of the file; `.gz` and `.zst` are unpacked.
        exchange: that the records are of, instead of the one that the loader, or the record, names.

    Raises:
        RecordingError: the file cannot be read, or a line is not of its
            kind; the text names the file and the position. Nothing else is raised.
    """
    records = FEEDS.get(feed_name, _keyed)(path)
    if exchange is not None:
        records = _renamed(records, exchange, in_value=feed_name == "canonical")
    return _converted(path, records)


def _renamed(records: Iterator[Recorded], exchange: str, *, in_value: bool) -> Iterator[Recorded]:
    """The records as those of this exchange: it stands in the key, and in a canonical value."""
    for one in records:
        value = one.value
        if in_value:
            fields = _FIELDS.decode(value)
            fields["exchange"] = msgspec.Raw(msgspec.json.encode(exchange))
            value = msgspec.json.encode(fields)
        _, _, symbol = one.key.partition(b":")
        yield one._replace(key=exchange.encode() + b":" + symbol, value=value)


_ANY = msgspec.json.Decoder()
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_KEYED = re.compile(rb"(?:(\d{1,19})\t)?([^\t]+:[^\t]+)\t(.+)", re.DOTALL)


def _keyed(path: Path) -> Iterator[Recorded]:
    """Records as they stand: what a feed of another package is sent from."""
    for number, line in lines(path):
        found = _KEYED.fullmatch(line)
        if found is None:
            raise RecordingError(f"{path}:{number}: expected EXCHANGE:SYMBOL, a tab and a value")
        received = None if found[1] is None else int(found[1])
        yield Recorded(found[2], found[3], received, received or 0)


#: What damaged bytes make decoders raise. A loader names the line where it can.
_UNREADABLE = (
    ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError, OSError,
    csv.Error,
)  # fmt: skip


def _converted(path: Path, records: Iterator[Recorded]) -> Iterator[Recorded]:
    """The records; whatever a loader raises of a file is a `RecordingError`."""
    number = 0
    try:
        for number, record in enumerate(records, 1):  # noqa: B007 - how many there were
            yield record
    except RecordingError:
        raise
    except _UNREADABLE as error:
        where = f"{path}, record {number + 1}"
        raise RecordingError(f"{where}: cannot be read: {error!r}") from error


class _CanonicalHead(msgspec.Struct):
    exchange: str
    symbol: str
    exchange_time_ns: int
    receive_time_ns: int | None = None


_CANONICAL = msgspec.json.Decoder(_CanonicalHead)


def _canonical(path: Path) -> Iterator[Recorded]:
    for number, value in lines(path):
        try:
            head = _CANONICAL.decode(value)
        except _UNREADABLE as error:
            raise RecordingError(f"{path}:{number}: expected a trade: {error}") from error
        key = f"{head.exchange}:{head.symbol}".encode()
        yield Recorded(key, value, head.receive_time_ns, head.exchange_time_ns)


_BINANCE_SYMBOL = re.compile(rb'"s":"([^"\\]+)"')
_BINANCE_TIME_MS = re.compile(rb'"T":(\d+)')
_BINANCE_EVENT_TIME_MS = re.compile(rb'"E":(\d+)')
_BINANCE_AGGREGATE = b'"e":"aggTrade"'


def _binance(market: str) -> "Callable[[Path], Iterator[Recorded]]":
    """The loader of one of Binance's markets; aggregate trades are kept apart from trades."""
    prefix = f"{binance.EXCHANGE}:{market}".encode()

    def load(path: Path) -> Iterator[Recorded]:
        own = _file_symbol(path)
        for message in captured(path):
            text = message.text
            found = _BINANCE_SYMBOL.search(text)
            key = prefix + (found[1] if found else own)
            if _BINANCE_AGGREGATE in text:
                key += binance.AGGREGATES.encode()
            time = _BINANCE_TIME_MS.search(text) or _BINANCE_EVENT_TIME_MS.search(text)
            event_time_ns = since_1970(int(time[1])) if time else message.receive_time_ns
            yield Recorded(key, _stamped(message), message.receive_time_ns, event_time_ns)

    return load


def _file_symbol(path: Path) -> bytes:
    """The symbol of a file's first message that names one; a book's snapshot names none."""
    for message in captured(path):
        symbol = _BINANCE_SYMBOL.search(message.text)
        if symbol:
            return symbol[1]
    raise RecordingError(f"{path}: expected messages that name a symbol, found none")


def _stamped(message: Captured) -> bytes:
    return b"%d %s" % (message.receive_time_ns, message.text)


#: What stands behind the exchange in a message's key; None: the name of its connection.
_Scope = Callable[[Any, Captured], Any]


def _native(exchange: str, scope: _Scope) -> "Callable[[Path], Iterator[Recorded]]":
    """The loader of a venue whose messages say where they belong."""

    def load(path: Path) -> Iterator[Recorded]:
        for message in captured(path):
            try:
                found = scope(_ANY.decode(message.text), message)
            except _UNREADABLE as error:
                where = f"{path}:{message.number}"
                raise RecordingError(f"{where}: expected {exchange}'s: {error!r}") from error
            name = f"{CONNECTION}{message.connection.name}" if found is None else found
            key = f"{exchange}:{name}".encode()
            received = message.receive_time_ns
            yield Recorded(key, _stamped(message), received, received)

    return load


def _coinbase_exchange(message: Any, _: Captured) -> Any:
    return message.get("product_id") if isinstance(message, dict) else None


def _kraken(message: Any, _: Captured) -> Any:
    pair = message.get("pair") if isinstance(message, dict) else message[-1]
    return pair if isinstance(pair, str) else None


def _bybit(message: Any, at: Captured) -> str | None:
    """The market is the last part of the connection's address."""
    if not isinstance(message.get("topic"), str):
        return None
    channel, _, symbol = message["topic"].rpartition(".")
    market = at.connection.address.rpartition("/")[2]
    if market not in bybit.MARKETS:
        raise LookupError(f"the address of {at.connection.name!r} names no market")
    counted = f"{CHANNEL}{channel}" if channel.startswith(bybit.BOOK) else ""
    return f"{market}:{symbol}{counted}"


def _hitbtc(message: Any, _: Captured) -> Any:
    params = message.get("params")
    return params.get("symbol") if isinstance(params, dict) else None


class _AdvancedHead(msgspec.Struct):
    channel: str | None = None  # an error has none, nor a number
    timestamp: str | None = None
    sequence_num: int | None = None


_ADVANCED = msgspec.json.Decoder(_AdvancedHead)


def _coinbase_advanced(path: Path) -> Iterator[Recorded]:
    """Messages with their connection's begin. Books too large for a record lose their levels.

    A snapshot of an order book takes megabytes; its number counts, and K2 keeps no books.
    """
    for message in captured(path):
        try:
            head = _ADVANCED.decode(message.text)
        except _UNREADABLE as error:
            where = f"{path}:{message.number}"
            raise RecordingError(f"{where}: expected a channel's message: {error}") from error
        text = message.text
        if len(text) > MAX_VALUE_BYTES // 2 and head.channel != coinbase_advanced.TRADES:
            text = msgspec.json.encode(msgspec.structs.asdict(head) | {"events": []})
        received, connection = message.receive_time_ns, message.connection
        if not connection.opened_ns:
            raise RecordingError(f"{path}: expected when {connection.name} was opened")
        value = b"%d %d %s" % (received, connection.opened_ns, text)
        key = f"{coinbase_advanced.EXCHANGE}:{CONNECTION}{connection.name}".encode()
        yield Recorded(key, value, received, received)


def _asx_csv(path: Path) -> Iterator[Recorded]:
    symbol = _company_symbol(path)
    key = f"{asx_csv.EXCHANGE}:{symbol}".encode()
    rows_of_day: Counter[str] = Counter()
    for number, line in lines(path):
        text = _text(path, number, line)
        date, time, *_ = [*text.split(","), "", ""]
        day = asx_csv.trading_day(date)
        event_time_ns = day and asx_csv.event_time_ns(day, time)
        if not event_time_ns:
            raise RecordingError(f"{path}:{number}: expected MM/DD/YYYY,HH:MM:SS.mmm,...")
        rows_of_day[date] += 1
        value = f"{rows_of_day[date]},{symbol},{text}".encode()
        yield Recorded(key, value, None, event_time_ns)


def _text(path: Path, number: int, line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise RecordingError(f"{path}:{number}: expected UTF-8: {error}") from error


def _company_symbol(path: Path) -> str:
    """The symbol of the company that a file is named after."""
    companies = path.parent.parent / "reference-data" / "company_info.csv"
    try:
        with companies.open(newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file):
                if row["company_id"] == path.name.partition(".")[0]:
                    return row["symbol"]
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        raise RecordingError(
            f"{companies}: expected the columns company_id and symbol: {error}"
        ) from error
    raise RecordingError(f"{companies}: expected the company id of {path.name}, found none")


#: The loaders by feed.
FEEDS: dict[str, Callable[[Path], Iterator[Recorded]]] = {
    "canonical": _canonical,
    "asx.csv": _asx_csv,
    "asx.quotes.csv": _asx_csv,
    "binance.spot": _binance(""),
    "binance.usdm": _binance("usdm:"),
    "binance.coinm": _binance("coinm:"),
    "bybit.v5": _native(bybit.EXCHANGE, _bybit),
    "coinbase.advanced": _coinbase_advanced,
    "coinbase.exchange": _native(COINBASE, _coinbase_exchange),
    "hitbtc.v2": _native(hitbtc.EXCHANGE, _hitbtc),
    "kraken.v1": _native(kraken.EXCHANGE, _kraken),
}
