"""From the columns that a feed collected to a `Decoded` batch: what all feeds check alike.

A feed collects `TradeColumns`; `finish` turns prices and quantities into decimals, bounds event
times, takes out the messages that fail, and lays the rest down as Arrow columns.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from k2_streams.core.schema import NAME, ROWS, VENDOR
from k2_streams.feeds import decimals
from k2_streams.feeds.decoded import (
    MAX_AHEAD_NS,
    MIN_EVENT_TIME_NS,
    Bad,
    Control,
    Decoded,
    Kind,
    RawBatch,
    Reason,
    Refusal,
)
from k2_streams.feeds.keys import KeyColumn

_DAY_NS = 86_400_000_000_000
_MS_NS = 1_000_000
_CONDITIONS = pa.list_(pa.string())


@dataclass(slots=True)
class TradeColumns:
    """The trades of a batch in message order. None: the feed has no such column."""

    message: npt.NDArray[np.int32]
    prices: list[Any]
    quantities: list[Any]
    event_time_ns: npt.NDArray[np.int64]
    sequence: npt.NDArray[np.int64]  # -1: none
    trade_ids: list[str | None] | None = None
    sides: list[str | None] | None = None
    conditions: list[list[str] | None] | None = None
    receive_times_ns: list[int | None] | None = None
    vendors: list[dict[str, str] | None] | None = None
    sessions: list[str | None] | None = None
    trading_days: npt.NDArray[np.int32] | None = None  # None: the UTC day of the event time
    symbols: list[str | None] | None = None  # None: the key's
    source_index: npt.NDArray[np.int32] | None = None  # None: one trade a message
    binary_numbers: bool = False  # prices and quantities are bytes
    names: tuple[str, str, str] = ("price", "quantity", "exchange_time_ns")  # as the feed has them


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
    """Check what all feeds check alike, and lay the batch down as columns.

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
    prices, price_faults = decimals.column(trades.prices, binary=trades.binary_numbers)
    quantities, quantity_faults = decimals.column(trades.quantities, binary=trades.binary_numbers)
    latest = batch.append_time_ms[trades.message] * _MS_NS + MAX_AHEAD_NS
    times = trades.event_time_ns
    untimely = (times < MIN_EVENT_TIME_NS) | (times > latest)
    faulty = untimely if wrong is None else untimely | wrong
    faulty[list(price_faults)] = True
    faulty[list(quantity_faults)] = True
    everything = dict(refused)
    for place in np.flatnonzero(faulty).tolist():
        message = int(trades.message[place])
        if message in everything:
            continue
        found = _common_fault(trades, place, price_faults, quantity_faults)
        everything[message] = explain(message, found) if explain else found
    rows = _rows(keys, trades, prices, quantities)
    if faulty.any():
        if trades.source_index is not None:
            faulty = np.isin(trades.message, trades.message[faulty])
        rows = rows.filter(pa.array(~faulty))
    return _decoded(batch, keys, trades, everything, control or {}, rows)


def _common_fault(
    trades: TradeColumns,
    place: int,
    price_faults: Mapping[int, decimals.DecimalTextError],
    quantity_faults: Mapping[int, decimals.DecimalTextError],
) -> Refusal:
    """What the common checks found wrong with a trade."""
    session = trades.sessions[place] if trades.sessions else None
    sequence, time_ns = int(trades.sequence[place]), int(trades.event_time_ns[place])
    price, quantity, event_time = trades.names
    for field, faults in ((price, price_faults), (quantity, quantity_faults)):
        if place in faults:
            fault = faults[place]
            return Refusal(fault.reason, field, fault.detail, sequence, session, time_ns)
    detail = f"expected 1990-01-01 to a day after the broker's time, found {time_ns} ns"
    return Refusal(Reason.BAD_TIME, event_time, detail, sequence, session)


def _decoded(
    batch: RawBatch,
    keys: KeyColumn,
    trades: TradeColumns,
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
    sequence[trades.message] = trades.sequence
    if trades.source_index is None:
        event_time_ns[trades.message] = trades.event_time_ns
    else:
        np.maximum.at(event_time_ns, trades.message, trades.event_time_ns)
    if trades.sessions is not None and not _is_absent(trades.sessions, len(trades.message)):
        named = pa.array(trades.sessions, pa.string()).dictionary_encode()
        sessions = {name: place for place, name in enumerate(named.dictionary.to_pylist())}
        session[trades.message] = named.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    for message, known in control.items():
        kind[message] = Kind.CONTROL
        sequence[message] = known.sequence
        event_time_ns[message] = known.time_ns
        if known.session is not None:
            session[message] = sessions.setdefault(known.session, len(sessions))
    bad = []
    for message in sorted(refused):
        refusal = refused[message]
        kind[message] = Kind.BAD
        readable = refusal.sequence >= 0 and keys.index[message] >= 0
        scope[message] = keys.index[message] if readable else -1
        sequence[message] = refusal.sequence if readable else -1
        event_time_ns[message] = refusal.event_time_ns
        session[message] = -1
        if readable and refusal.session is not None:
            session[message] = sessions.setdefault(refusal.session, len(sessions))
        bad.append(Bad(message, refusal.reason, refusal.field, refusal.detail))
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
    )


def _rows(
    keys: KeyColumn, trades: TradeColumns, prices: pa.Array, quantities: pa.Array
) -> pa.RecordBatch:
    """The trades in `ROWS`' columns. A trade whose key is unreadable has null names."""
    count = len(trades.message)
    scope = keys.index[trades.message]
    days = trades.trading_days
    if days is None:
        days = (trades.event_time_ns // _DAY_NS).astype(np.int32)
    columns = [
        pa.array(trades.message),
        pa.array(np.zeros(count, np.int32) if trades.source_index is None else trades.source_index),
        _names([part.exchange for part in keys.parts], scope),
        _names([part.symbol for part in keys.parts], scope)
        if trades.symbols is None
        else _dictionary(trades.symbols, count),
        _texts(trades.trade_ids, count),
        prices,
        quantities,
        _dictionary(trades.sides, count),
        _conditions(trades.conditions, count),
        pa.array(trades.event_time_ns),
        _integers(trades.receive_times_ns, count),
        pa.array(days).view(pa.date32()),
        _vendors(trades.vendors, count),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=ROWS)


def _names(of_scope: list[str], scope: npt.NDArray[np.int32]) -> pa.Array:
    """A dictionary column with, for each trade, the name that its scope has."""
    distinct: dict[str, int] = {}
    place = np.array(
        [distinct.setdefault(name, len(distinct)) for name in of_scope] + [-1], dtype=np.int32
    )
    index = place[scope]
    unreadable = index < 0
    mask = unreadable if unreadable.any() else None
    names = pa.array(list(distinct), pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(index, mask=mask), names)


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
