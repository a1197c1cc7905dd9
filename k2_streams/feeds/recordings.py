"""Recorded files, as the records of `k2.trades.raw` that they would have been.

The only module of the feeds that reads files. Lines come in file order, as they stand.
"""

import csv
import gzip
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import msgspec

from k2_streams.feeds import asx_csv, binance, canonical


class Recorded(NamedTuple):
    """One record to send."""

    key: bytes
    value: bytes
    receive_time_ns: int | None  # the recorder's
    event_time_ns: int  # the venue's; the recorder's where a message has none


class RecordingError(ValueError):
    """A file that is not the recording it should be: use another file or another feed."""


def read(feed_name: str, path: Path) -> Iterator[Recorded]:
    """The records of a recording.

    Args:
        feed_name: `canonical` (one JSON object a line), `binance.spot` (`<receive ns> <json>`), or
            `asx.csv` (`<company id>.csv` with `reference-data/company_info.csv` beside its folder).
        path: of the file; `.gz` is unpacked.

    Raises:
        RecordingError: there is no such loader, or a line is not of its kind.
        OSError: the file cannot be read.
    """
    try:
        loader = _LOADERS[feed_name]
    except KeyError:
        expected = ", ".join(_LOADERS)
        raise RecordingError(f"expected a feed of {expected}, found {feed_name!r}") from None
    return loader(path)


def _open(path: Path) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


class _CanonicalHead(msgspec.Struct):
    exchange: str
    symbol: str
    exchange_time_ns: int
    receive_time_ns: int | None = None


def _canonical(path: Path) -> Iterator[Recorded]:
    decoder = msgspec.json.Decoder(_CanonicalHead)
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            value = line.rstrip(b"\r\n")
            try:
                head = decoder.decode(value)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise RecordingError(f"{path}:{number}: expected a trade: {error}") from error
            key = f"{head.exchange}:{head.symbol}".encode()
            yield Recorded(key, value, head.receive_time_ns, head.exchange_time_ns)


_BINANCE_SYMBOL = re.compile(rb'"s":"([^"\\]+)"')
_BINANCE_TIME_MS = re.compile(rb'"T":(\d+)')
_BINANCE_EVENT_TIME_MS = re.compile(rb'"E":(\d+)')
_BINANCE_LINE = re.compile(rb"(\d{1,19}) \{")


def _binance_spot(path: Path) -> Iterator[Recorded]:
    own = _file_symbol(path)
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            value = line.rstrip(b"\r\n")
            start = _BINANCE_LINE.match(value)
            if start is None:
                raise RecordingError(f"{path}:{number}: expected `<receive ns> <json>`")
            received = int(start.group(1))
            symbol = _BINANCE_SYMBOL.search(value)
            key = b"%s:%s" % (binance.EXCHANGE.encode(), symbol.group(1) if symbol else own)
            time = _BINANCE_TIME_MS.search(value) or _BINANCE_EVENT_TIME_MS.search(value)
            event_time_ns = int(time.group(1)) * 1_000_000 if time else received
            yield Recorded(key, value, received, event_time_ns)


def _file_symbol(path: Path) -> bytes:
    """The symbol of a file's first message that names one; a book's snapshot names none."""
    with _open(path) as file:
        for line in file:
            symbol = _BINANCE_SYMBOL.search(line)
            if symbol:
                return symbol.group(1)
    raise RecordingError(f"{path}: expected messages that name a symbol, found none")


def _asx_csv(path: Path) -> Iterator[Recorded]:
    symbol = _company_symbol(path)
    key = f"{asx_csv.EXCHANGE}:{symbol}".encode()
    rows_of_day: Counter[str] = Counter()
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            text = line.decode().rstrip("\r\n")
            date, time, *_ = [*text.split(","), "", ""]
            day = asx_csv.trading_day(date)
            event_time_ns = day and asx_csv.event_time_ns(day, time)
            if not event_time_ns:
                raise RecordingError(f"{path}:{number}: expected MM/DD/YYYY,HH:MM:SS.mmm,...")
            rows_of_day[date] += 1
            value = f"{rows_of_day[date]},{symbol},{text}".encode()
            yield Recorded(key, value, None, event_time_ns)


def _company_symbol(path: Path) -> str:
    """The symbol of the company that a file is named after."""
    companies = path.parent.parent / "reference-data" / "company_info.csv"
    with companies.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["company_id"] == path.name.partition(".")[0]:
                return row["symbol"]
    raise RecordingError(f"{companies}: expected the company id of {path.name}, found none")


_LOADERS: dict[str, Callable[[Path], Iterator[Recorded]]] = {
    canonical.Canonical.name: _canonical,
    "binance.spot": _binance_spot,
    asx_csv.AsxCsv.name: _asx_csv,
}
