"""The reference table of instruments, from a file of comma-separated values."""

import csv
from datetime import datetime, timedelta, timezone
from decimal import Decimal, DecimalException
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from k2_streams.core.enrich.instruments import (
    EVERY_SYMBOL,
    Instrument,
    Instruments,
    OverlapError,
    PriceDomain,
)
from k2_streams.core.records.schema import DECIMAL
from k2_streams.core.records.symbols import SYMBOL_RULE, is_symbol
from k2_streams.runtime.settings.text_files import ENCODING, encoding_error

_COLUMNS = (
    "exchange", "symbol", "currency", "asset_class", "multiplier", "inverse", "zone", "calendar",
    "valid_from", "valid_to", "price_domain",
)  # fmt: skip
_REQUIRED = frozenset(_COLUMNS[:4])
_FLAGS = {"": False, "false": False, "true": True}
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - named once, beside its use
#: 18 decimals, and 20 digits before them.
_SMALLEST = Decimal(1).scaleb(-DECIMAL.scale)
_LIMIT = Decimal(10) ** (DECIMAL.precision - DECIMAL.scale)
#: A table is read whole: 10 M instruments are more than any venue lists, and some 5 GB.
MAX_BYTES = 1 << 30


class InstrumentsError(ValueError):
    """The file cannot be used: fix the line that the text names."""


def load(path: Path) -> Instruments:
    """The table of a file: a header of the columns' names, then one line per entry.

    `exchange`, `symbol`, `currency` and `asset_class` are required. `multiplier` is 1, `inverse` is
    `false`, `zone` is UTC where they are empty or absent. `valid_from` is inclusive, `valid_to`
    exclusive, RFC 3339 with an offset; empty is no bound. `price_domain` is `positive` where it is
    empty or absent.

    Raises:
        InstrumentsError: the file cannot be read, is not UTF-8, a line is not of this kind, or two
            contradict each other.
    """
    try:
        return _loaded(path)
    except UnicodeDecodeError as error:
        raise InstrumentsError(f"{path}, {encoding_error(path, error)}") from error
    except OSError as error:
        raise InstrumentsError(f"{path}: cannot be read: {error.strerror or error}") from error


def _loaded(path: Path) -> Instruments:
    if path.stat().st_size > MAX_BYTES:
        raise InstrumentsError(f"{path}: expected at most {MAX_BYTES} bytes")
    entries: list[Instrument] = []
    with path.open(newline="", encoding=ENCODING) as file:
        reader = csv.DictReader(file)
        names = _names(path, reader)
        if not _REQUIRED <= names <= set(_COLUMNS):
            raise InstrumentsError(
                f"{path}: expected the columns {', '.join(_COLUMNS)} (the first four at least), "
                f"found {', '.join(sorted(names)) or 'none'}"
            )
        try:
            entries.extend(map(_entry, reader))
        except UnicodeDecodeError:
            raise
        except csv.Error as error:  # the reader has not counted the line yet
            raise InstrumentsError(f"{path}, line {reader.line_num + 1}: {error}") from error
        # The name of a folder of time zones is an OSError.
        except (ValueError, DecimalException, ZoneInfoNotFoundError, OSError) as error:
            raise InstrumentsError(f"{path}, line {reader.line_num}: {error}") from error
    try:
        return Instruments(entries)
    except OverlapError as error:
        raise InstrumentsError(f"{path}: {error}") from error


def _names(path: Path, reader: "csv.DictReader[str]") -> set[str]:
    try:
        return set(reader.fieldnames or ())
    except csv.Error as error:
        raise InstrumentsError(f"{path}, line 1: {error}") from error


def _entry(line: dict[str, str]) -> Instrument:
    if None in line or None in line.values():
        raise ValueError("expected as many values as columns")
    given = {name: line.get(name, "").strip() for name in _COLUMNS}
    for name in sorted(_REQUIRED):
        if not given[name]:
            raise ValueError(f"{name}: expected a value, found none")
    if given["inverse"].lower() not in _FLAGS:
        raise ValueError(f"inverse: expected true or false, found {given['inverse']!r}")
    if given["symbol"] != EVERY_SYMBOL and not is_symbol(given["symbol"]):
        raise ValueError(f"symbol: expected {SYMBOL_RULE}, found {given['symbol']!r}")
    ZoneInfo(given["zone"] or "UTC")
    return Instrument(
        exchange=given["exchange"],
        symbol=given["symbol"],
        currency=given["currency"],
        asset_class=given["asset_class"],
        multiplier=_multiplier(given["multiplier"]),
        inverse=_FLAGS[given["inverse"].lower()],
        zone=given["zone"] or "UTC",
        calendar=given["calendar"] or None,
        valid_from_ns=_time_ns("valid_from", given["valid_from"]),
        valid_to_ns=_time_ns("valid_to", given["valid_to"]),
        price_domain=_price_domain(given["price_domain"]),
    )


def _price_domain(text: str) -> PriceDomain:
    try:
        return PriceDomain(text or PriceDomain.POSITIVE)
    except ValueError:
        expected = ", ".join(PriceDomain)
        raise ValueError(f"price_domain: expected one of {expected}, found {text!r}") from None


def _multiplier(text: str) -> Decimal:
    value = Decimal(text or "1")
    if not (value.is_finite() and 0 < value < _LIMIT and value % _SMALLEST == 0):
        raise ValueError(f"multiplier: expected a decimal(38,18) above 0, found {text!r}")
    return value


def _time_ns(name: str, text: str) -> int | None:
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{name}: expected a time with an offset, found {text!r}")
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1_000
