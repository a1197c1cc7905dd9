"""K2's own format of trades: one JSON object a record, as `k2.trades.raw`'s contract has it."""

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any, Generic, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from k2_streams.core.sequence.sessions import SessionRule
from k2_streams.feeds.canonical.batch import decode_lines
from k2_streams.feeds.canonical.fields import SESSION, SIDES
from k2_streams.feeds.canonical.record import (
    CanonicalRecord,
    Outcome,
    RecordT,
    Shape,
    add,
    outcome,
)
from k2_streams.feeds.canonical.trade import TRADE, UNKNOWN_SIDE, CanonicalTrade
from k2_streams.feeds.decoding.columns import Explain, TradeColumns, finish
from k2_streams.feeds.decoding.decoded import Decoded, RawBatch, Reason, Refusal, is_timely
from k2_streams.feeds.decoding.keys import KeyColumn
from k2_streams.feeds.description import CountsOver, Description, Identity, TimeUnit

_SIDES = frozenset({None, *SIDES})
#: What is wrong with a number that is decimal text.
_BY_VALUE = frozenset({Reason.NOT_POSITIVE, Reason.TOO_PRECISE, Reason.OUT_OF_RANGE})
#: By message, the attributes whose value K2 does not know.
Unknown = dict[int, tuple[str, ...]]


class CanonicalFeed(Generic[RecordT]):
    """The feed without a header, of records of one shape."""

    name = "canonical"
    description = Description(
        counts_over=CountsOver.SYMBOL,
        number="sequence",
        session_rule=SessionRule.DECLARED,
        session_starts="`session` with a new name; without one, a fall after an hour of silence",
        identity=Identity.SEQUENCE_ELSE_ID,
        trade_id="trade_id",
        time="exchange_time_ns",
        time_unit=TimeUnit.NANOSECONDS,
    )

    def __init__(self, shape: Shape[RecordT], finish: "Finish[RecordT]") -> None:
        self._shape = shape
        self._finish = finish

    def decode(self, batch: RawBatch) -> Decoded:
        """Decode a batch. A record's outcome does not depend on its neighbours."""
        keys = KeyColumn.of(batch.keys)
        lines, left = decode_lines(self._shape, batch.values)
        messages = np.arange(len(batch.values), dtype=np.int32)
        refused: dict[int, Refusal] = {}
        unknown: Unknown = {}
        if left:
            slow = {message: _outcome(self._shape, batch, message) for message in left}
            refused = _refusals(slow)
            unknown = {at: found.unknown for at, found in slow.items() if found.unknown}
            messages, lines = _with_the_rest(messages, lines, slow, refused)
        wrong = _disagree(keys, messages, lines) | _bad_sessions(lines)
        suspects = frozenset(messages[wrong].tolist())

        def explain(message: int, found: Refusal) -> Refusal:
            if message not in suspects and _is_first(found, int(batch.append_time_ms[message])):
                return found if found.sequence >= 0 else Refusal(*found[:3])
            result = _outcome(self._shape, batch, message).result
            return result if isinstance(result, Refusal) else found

        return self._finish(batch, keys, messages, lines, unknown, refused, wrong, explain)


class Finish(Protocol[RecordT]):
    """Lays records of one shape down as columns, and checks them like any other feed's."""

    def __call__(
        self,
        batch: RawBatch,
        keys: KeyColumn,
        messages: npt.NDArray[np.int32],
        lines: list[RecordT],
        unknown: Unknown,
        refused: dict[int, Refusal],
        wrong: npt.NDArray[np.bool_],
        explain: Explain,
    ) -> Decoded:
        """Of these messages, which have been read; `unknown` by message."""
        ...


def _finish_trades(
    batch: RawBatch,
    keys: KeyColumn,
    messages: npt.NDArray[np.int32],
    lines: list[CanonicalTrade[Any]],
    unknown: Unknown,
    refused: dict[int, Refusal],
    wrong: npt.NDArray[np.bool_],
    explain: Explain,
) -> Decoded:
    sides = [line.side for line in lines]
    if not _SIDES.issuperset(sides):
        unknown |= _lose_sides(messages, lines)
        sides = [line.side for line in lines]
    (prices, quantities), binary = number_texts(lines, "price", "quantity")
    trades = TradeColumns(
        **common_columns(messages, lines, unknown),
        prices=prices,
        quantities=quantities,
        binary_numbers=binary,
        trade_ids=[line.trade_id for line in lines],
        sides=sides,
    )
    actions = [line.action for line in lines]
    refs = [line.ref_trade_id for line in lines]
    sessions = [line.ref_session for line in lines]
    if actions.count(None) + refs.count(None) + sessions.count(None) < 3 * len(lines):
        trades.actions = [line.action if line.corrects else None for line in lines]
        trades.ref_trade_ids, trades.ref_sessions = refs, sessions
        wrong = wrong | np.array([_misrefers(line) for line in lines], dtype=np.bool_)
    return finish(batch, keys, trades, refused, wrong=wrong, explain=explain)


def _lose_sides(messages: npt.NDArray[np.int32], lines: list[CanonicalTrade[Any]]) -> Unknown:
    """Make sides that K2 does not know unknown, and keep them in `vendor`: as `outcome` does."""
    lost: Unknown = {}
    for message, line in zip(messages.tolist(), lines, strict=True):
        if line.side is not None and line.side not in _SIDES:
            line.vendor = dict(line.vendor or {})
            add(line.vendor, "side", line.side)
            line.side, lost[message] = UNKNOWN_SIDE, ("side",)
    return lost


def _misrefers(line: CanonicalTrade[Any]) -> bool:
    """Whether `read` will find fault with what it says of another trade."""
    if line.corrects:
        named = line.ref_session is not None and not SESSION.fullmatch(line.ref_session)
        return line.ref_trade_id is None or named
    return line.ref_trade_id is not None or line.ref_session is not None


class Canonical(CanonicalFeed[CanonicalTrade[Any]]):
    """The feed of trades without a header. One without a sequence is identified by its trade id."""

    def __init__(self) -> None:
        super().__init__(TRADE, _finish_trades)


def _is_first(found: Refusal, append_time_ms: int) -> bool:
    """Whether `outcome` says the same of a record whose key and session are right.

    It does for a number that is decimal text and wrong by its value: nothing before it is at fault.
    For other text `outcome` tells the type of the JSON, and for a time that is out of bounds it
    does not ask the reference table which prices there may be.
    """
    return found.reason in _BY_VALUE and is_timely(found.event_time_ns, append_time_ms)


def _outcome(shape: Shape[RecordT], batch: RawBatch, message: int) -> Outcome[RecordT]:
    value, key = batch.values[message], batch.keys[message]
    return outcome(shape, value, key, int(batch.append_time_ms[message]), batch.price_domains)


def _refusals(slow: Mapping[int, Outcome[RecordT]]) -> dict[int, Refusal]:
    results = {message: found.result for message, found in slow.items()}
    return {at: result for at, result in results.items() if isinstance(result, Refusal)}


def _with_the_rest(
    messages: npt.NDArray[np.int32],
    lines: list[RecordT],
    slow: Mapping[int, Outcome[RecordT]],
    refused: Mapping[int, Refusal],
) -> tuple[npt.NDArray[np.int32], list[RecordT]]:
    """The messages that are not refused, and their records, those that no quick way took too."""
    kept = np.delete(messages, list(refused))
    read = {at: found.result for at, found in slow.items() if not isinstance(found.result, Refusal)}
    if not read:
        return kept, lines
    quick = iter(lines)
    return kept, [read[place] if place in read else next(quick) for place in kept.tolist()]


def common_columns(
    messages: npt.NDArray[np.int32], lines: Sequence[CanonicalRecord], unknown: Unknown
) -> dict[str, Any]:
    """The columns that records of every shape have."""
    return {
        "message": messages,
        "event_time_ns": np.array([line.exchange_time_ns for line in lines], dtype=np.int64),
        "sequence": _with_minus_one([line.sequence for line in lines]),
        "conditions": [line.conditions for line in lines],
        "receive_times_ns": [line.receive_time_ns for line in lines],
        "vendors": [line.vendor for line in lines],
        "sessions": [line.session for line in lines],
        "unknown": [unknown.get(message) for message in messages.tolist()] if unknown else None,
    }


def number_texts(lines: Sequence[CanonicalRecord], *names: str) -> tuple[list[list[Any]], bool]:
    """The texts of numbers that are strings or JSON, one column per name; whether some are bytes.

    A JSON string stands without its quotation marks, null as None.
    """
    columns = [[getattr(line, name) for line in lines] for name in names]
    binary = any(not set(map(type, numbers)) <= {str, NoneType} for numbers in columns)
    if binary:
        columns = [[_number_text(number) for number in numbers] for numbers in columns]
    return columns, binary


def _number_text(number: Any) -> Any:
    if number is None or type(number) is str:
        return number
    text = bytes(number)
    return None if text == b"null" else text.strip(b'"')


def _with_minus_one(numbers: list[int | None]) -> npt.NDArray[np.int64]:
    absent = numbers.count(None)
    if absent == len(numbers):
        return np.full(len(numbers), -1, dtype=np.int64)
    if absent:
        return np.array([-1 if number is None else number for number in numbers], dtype=np.int64)
    return np.array(numbers, dtype=np.int64)


def _disagree(
    keys: KeyColumn, messages: npt.NDArray[np.int32], lines: Sequence[CanonicalRecord]
) -> npt.NDArray[np.bool_]:
    """Of each record, whether its key is not its exchange and symbol."""
    scope = keys.index[messages]
    agree = scope >= 0
    for in_keys, in_records in (
        ([part.exchange for part in keys.parts], [line.exchange for line in lines]),
        ([part.symbol for part in keys.parts], [line.symbol for line in lines]),
    ):
        if len(set(in_keys)) == 1 and in_records.count(in_keys[0]) == len(in_records):
            continue
        in_key = pa.array([*in_keys, None], pa.string()).take(pa.array(scope % (len(in_keys) + 1)))
        same = pc.equal(pa.array(in_records, pa.string()), in_key).fill_null(fill_value=False)
        agree &= same.to_numpy(zero_copy_only=False)
    return ~agree


def _bad_sessions(lines: Sequence[CanonicalRecord]) -> npt.NDArray[np.bool_]:
    """Of each record, whether it names a session with characters that are not printable ASCII."""
    names = {line.session for line in lines}
    bad = {name for name in names if name is not None and not SESSION.fullmatch(name)}
    if not bad:
        return np.zeros(len(lines), dtype=np.bool_)
    return np.array([line.session in bad for line in lines], dtype=np.bool_)
