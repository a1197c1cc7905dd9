"""From the columns that a feed collected to a `Decoded` batch: what all feeds check alike.

A feed collects `TradeColumns`; `finish` turns prices and quantities into decimals, bounds event
times, takes out the messages that fail, and lays the rest down as Arrow columns. `settle` is what
it shares with other kinds of rows.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from k2_streams.core.records.schema import NAME, ROWS, VENDOR
from k2_streams.core.time_units import DAY_NS
from k2_streams.feeds.decoding import decimals
from k2_streams.feeds.decoding.decoded import (
    MAX_AHEAD_NS,
    MIN_EVENT_TIME_NS,
    Bad,
    Control,
    Decoded,
    Fault,
    Kind,
    RawBatch,
    Reason,
    Refusal,
    is_timely,
    shown,
)
from k2_streams.feeds.decoding.keys import KeyColumn

_MS_NS = 1_000_000
_CONDITIONS = pa.list_(pa.string())


@dataclass(slots=True, kw_only=True)
class RowColumns:
    """The rows of a batch in message order. None: the feed has no such column."""

    message: npt.NDArray[np.int32]
    event_time_ns: npt.NDArray[np.int64]
    sequence: npt.NDArray[np.int64]  # -1: none
    conditions: list[list[str] | None] | None = None
    receive_times_ns: list[int | None] | None = None
    vendors: list[dict[str, str] | None] | None = None
    sessions: list[str | None] | None = None
    trading_days: npt.NDArray[np.int32] | None = None  # None: the UTC day of the event time
    symbols: list[str | None] | None = None  # None: the key's
    source_index: npt.NDArray[np.int32] | None = None  # None: one trade a message
    binary_numbers: bool = False  # prices and quantities are bytes
    #: Of a row, the optional attributes whose value is unknown.
    unknown: Sequence[Iterable[str] | None] | None = None
    times: Sequence[Any] | None = None  # as the messages have them, for people; None: `ns`


@dataclass(slots=True, kw_only=True)
class TradeColumns(RowColumns):
    """The trades of a batch."""

    prices: list[Any]
    quantities: list[Any]
    trade_ids: list[str | None] | None = None
    sides: list[str | None] | None = None
    actions: list[str | None] | None = None  # of corrections alone: a new trade has none
    ref_trade_ids: list[str | None] | None = None
    ref_sessions: list[str | None] | None = None
    names: tuple[str, str, str] = ("price", "quantity", "exchange_time_ns")  # as the feed has them


#: By the name of a field, what is wrong with it, by place.
Faults = Mapping[str, Mapping[int, Fault]]
#: Says precisely what is wrong with the message of this index. The common check's own words, which
#: it is given, are good enough where a feed has no order of its own among a message's faults.
Explain = Callable[[int, Refusal], Refusal]


def finish(
    batch: RawBatch,
    keys: KeyColumn,
    trades: TradeColumns,
    refused: Mapping[int, Refusal],
    *,
    wrong: npt.NDArray[np.bool_] | None = None,
    control: Mapping[int, Control] | None = None,
    explain: Explain | None = None,
) -> Decoded:
    """Check what all feeds of trades check alike, and lay the batch down as columns.

    Args:
        batch: the records.
        keys: their keys. Those of `trades` agree with their values, except where `wrong`.
        trades: of every message that is not refused and not control; one with a trade at fault is
            refused whole.
        refused: by message; why it is refused.
        wrong: of each trade, whether the feed's check over the whole column found a fault;
            `explain` must then be given.
        control: by message, what is known of it.
        explain: says what is wrong with a message that the common checks refuse.
    """
    count, (price, quantity, event_time) = len(trades.message), trades.names
    prices, price_faults = decimals.column(
        trades.prices, admits_price(batch, keys, trades), binary=trades.binary_numbers
    )
    quantities, quantity_faults = decimals.column(trades.quantities, binary=trades.binary_numbers)
    values = {
        "trade_id": _texts(trades.trade_ids, count),
        "price": prices,
        "quantity": quantities,
        "side": _dictionary(trades.sides, count),
        "action": _dictionary(trades.actions, count),
        "ref_trade_id": _texts(trades.ref_trade_ids, count),
        "ref_session": _texts(trades.ref_sessions, count),
    }
    return settle(
        batch,
        keys,
        trades,
        refused,
        rows=laid_down(ROWS, keys, trades, values),
        faults={price: price_faults, quantity: quantity_faults},
        event_time=event_time,
        wrong=wrong,
        control=control,
        explain=explain,
    )


def settle(
    batch: RawBatch,
    keys: KeyColumn,
    columns: RowColumns,
    refused: Mapping[int, Refusal],
    *,
    rows: pa.RecordBatch,
    faults: Faults,
    event_time: str,
    wrong: npt.NDArray[np.bool_] | None = None,
    control: Mapping[int, Control] | None = None,
    explain: Explain | None = None,
) -> Decoded:
    """Check times, take out the rows that fail, and say of each message what it is.

    Args:
        batch: the records.
        keys: their keys.
        columns: every message that is not refused and not control.
        refused: by message; why it is refused.
        rows: of `columns`, faulty ones included.
        faults: what is wrong with numbers, in the order in which fields are to be blamed.
        event_time: what the feed calls the event time.
        wrong: as in `finish`.
        control: as in `finish`.
        explain: as in `finish`.
    """
    latest = batch.append_time_ms[columns.message] * _MS_NS + MAX_AHEAD_NS
    times = columns.event_time_ns
    untimely = (times < MIN_EVENT_TIME_NS) | (times > latest)
    faulty = untimely if wrong is None else untimely | wrong
    for places in faults.values():
        faulty[list(places)] = True
    everything = dict(refused)
    for place in np.flatnonzero(faulty).tolist():
        message = int(columns.message[place])
        if message in everything:
            continue
        found = _common_fault(columns, place, faults, event_time)
        everything[message] = explain(message, found) if explain else found
    if faulty.any():
        if columns.source_index is not None:
            faulty = np.isin(columns.message, columns.message[faulty])
        rows = rows.filter(pa.array(~faulty))
    decoded = _decoded(batch, keys, columns, everything, _timely(batch, control or {}), rows)
    decoded.unknown = _unknown(columns.unknown, faulty)
    return decoded


def _timely(batch: RawBatch, control: Mapping[int, Control]) -> dict[int, Control]:
    """Control messages; the time of one that cannot be is not known."""
    timely = {}
    for message, known in control.items():
        fits = is_timely(known.time_ns, int(batch.append_time_ms[message]))
        timely[message] = known if fits or not known.time_ns else known._replace(time_ns=0)
    return timely


def _unknown(
    found: Sequence[Iterable[str] | None] | None, faulty: npt.NDArray[np.bool_]
) -> Counter[str]:
    """By attribute, how many of the rows that are kept lost it."""
    if found is None or not any(found):
        return Counter()
    return Counter(
        name
        for names, is_faulty in zip(found, faulty.tolist(), strict=True)
        if names and not is_faulty
        for name in names
    )


def admits_price(batch: RawBatch, keys: KeyColumn, columns: RowColumns) -> decimals.Admits:
    """Whether the reference table admits a price of a row that is not above zero."""

    def admits(place: int, price: Decimal) -> bool:
        scope = int(keys.index[columns.message[place]])
        if scope < 0:
            return False
        parts = keys.parts[scope]
        named = columns.symbols[place] if columns.symbols is not None else None
        symbol, time_ns = named or parts.symbol, int(columns.event_time_ns[place])
        return batch.price_domains(parts.exchange, symbol, time_ns).admits(price)

    return admits


def _common_fault(columns: RowColumns, place: int, faults: Faults, event_time: str) -> Refusal:
    """What the common checks found wrong with a row."""
    session = columns.sessions[place] if columns.sessions else None
    sequence, time_ns = int(columns.sequence[place]), int(columns.event_time_ns[place])
    for field, places in faults.items():
        if place in places:
            fault = places[place]
            return Refusal(fault.reason, field, fault.detail, sequence, session, time_ns)
    found = columns.times[place] if columns.times is not None else None
    shown_time = f"{time_ns} ns" if found is None else shown(found)
    detail = f"expected 1990-01-01 to a day after the broker's time, found {shown_time}"
    return Refusal(Reason.BAD_TIME, event_time, detail, sequence, session)


def _decoded(
    batch: RawBatch,
    keys: KeyColumn,
    columns: RowColumns,
    refused: Mapping[int, Refusal],
    control: Mapping[int, Control],
    rows: pa.RecordBatch,
) -> Decoded:
    """The batch's columns, one entry a record."""
    count = len(batch.values)
    kind = np.full(count, Kind.TRADE, dtype=np.int8)
    scope = keys.index.copy()
    sequence = np.full(count, -1, dtype=np.int64)
    session = np.full(count, -1, dtype=np.int32)
    event_time_ns = np.zeros(count, dtype=np.int64)
    sessions: dict[str, int] = {}
    events: dict[int, str] = {}
    sequence[columns.message] = columns.sequence
    if columns.source_index is None:
        event_time_ns[columns.message] = columns.event_time_ns
    else:
        np.maximum.at(event_time_ns, columns.message, columns.event_time_ns)
    if columns.sessions is not None and not _is_absent(columns.sessions, len(columns.message)):
        named = pa.array(columns.sessions, pa.string()).dictionary_encode()
        sessions = {name: place for place, name in enumerate(named.dictionary.to_pylist())}
        session[columns.message] = named.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    for message, known in control.items():
        kind[message] = Kind.CONTROL
        events[message] = known.event
        sequence[message] = known.sequence
        event_time_ns[message] = known.time_ns
        if known.session is not None:
            session[message] = sessions.setdefault(known.session, len(sessions))
    bad = []
    if refused:
        at = sorted(refused)
        refusals = [refused[message] for message in at]
        numbers = np.array([refusal.sequence for refusal in refusals], np.int64)
        readable = (numbers >= 0) & (keys.index[at] >= 0)
        kind[at] = Kind.BAD
        scope[at] = np.where(readable, keys.index[at], -1)
        sequence[at] = np.where(readable, numbers, -1)
        event_time_ns[at] = [refusal.event_time_ns for refusal in refusals]
        session[at] = [
            sessions.setdefault(refusal.session, len(sessions))
            if is_readable and refusal.session is not None
            else -1
            for refusal, is_readable in zip(refusals, readable.tolist(), strict=True)
        ]
        bad = [
            Bad(message, reason, field, detail)
            for message, (reason, field, detail, *_) in zip(at, refusals, strict=True)
        ]
    return Decoded(
        kind=kind,
        scopes=keys.scopes,
        scope=scope,
        sequence=sequence,
        sessions=list(sessions),
        session=session,
        event_time_ns=event_time_ns,
        rows=rows,
        bad=bad,
        events=events,
    )


def laid_down(
    schema: pa.Schema, keys: KeyColumn, columns: RowColumns, values: Mapping[str, pa.Array]
) -> pa.RecordBatch:
    """The rows in a stream's columns, `values` among them; of an unreadable key names are null."""
    count = len(columns.message)
    scope = keys.index[columns.message]
    days = columns.trading_days
    if days is None:
        days = (columns.event_time_ns // DAY_NS).astype(np.int32)
    places, symbols = columns.source_index, columns.symbols
    arrays = {
        "message": pa.array(columns.message),
        "source_index": pa.array(np.zeros(count, np.int32) if places is None else places),
        "exchange": _names([part.exchange for part in keys.parts], scope),
        "symbol": _names([part.symbol for part in keys.parts], scope)
        if symbols is None
        else _dictionary(symbols, count),
        "conditions": _conditions(columns.conditions, count),
        "exchange_time_ns": pa.array(columns.event_time_ns),
        "receive_time_ns": _integers(columns.receive_times_ns, count),
        "trading_date": pa.array(days).view(pa.date32()),
        "vendor": _vendors(columns.vendors, count),
        **values,
    }
    return pa.RecordBatch.from_arrays([arrays[name] for name in schema.names], schema=schema)


def _names(of_scope: list[str], scope: npt.NDArray[np.int32]) -> pa.Array:
    """A dictionary column with, for each row, the name that its scope has."""
    distinct = pa.array(of_scope, pa.string()).dictionary_encode()
    index = np.append(distinct.indices.to_numpy(), np.int32(-1))[scope]
    unreadable = index < 0
    mask = unreadable if unreadable.any() else None
    return pa.DictionaryArray.from_arrays(pa.array(index, mask=mask), distinct.dictionary)


def _is_absent(values: list[Any] | None, count: int) -> bool:
    """Whether a column has no value at all."""
    return values is None or values.count(None) == count


def _texts(values: list[str | None] | None, count: int) -> pa.Array:
    return pa.nulls(count, pa.string()) if values is None else pa.array(values, pa.string())


def _integers(values: list[int | None] | None, count: int) -> pa.Array:
    return pa.nulls(count, pa.int64()) if values is None else pa.array(values, pa.int64())


def _dictionary(values: list[str | None] | None, count: int) -> pa.Array:
    if values is None or _is_absent(values, count):
        return pa.DictionaryArray.from_arrays(
            pa.nulls(count, pa.int32()), pa.array([], pa.string())
        )
    return pa.array(values, pa.string()).dictionary_encode().cast(NAME)


def _conditions(values: list[list[str] | None] | None, count: int) -> pa.Array:
    if values is None or _is_absent(values, count):
        return pa.nulls(count, _CONDITIONS)
    return pa.array(values, _CONDITIONS)


def _vendors(values: list[dict[str, str] | None] | None, count: int) -> pa.Array:
    """A map column, laid down flat: Arrow's own conversion wants a list of pairs a row."""
    if values is None or _is_absent(values, count):
        return pa.nulls(count, VENDOR)
    absent = [value is None for value in values]
    offsets = np.zeros(count + 1, dtype=np.int32)
    np.cumsum([len(value) if value else 0 for value in values], out=offsets[1:])
    present = [value for value in values if value]
    return pa.MapArray.from_arrays(
        pa.array(offsets),
        pa.array(list(chain.from_iterable(present)), pa.string()),
        pa.array(list(chain.from_iterable([value.values() for value in present])), pa.string()),
        VENDOR,
        mask=pa.array(absent),
    )
