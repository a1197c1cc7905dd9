"""K2's own format: one JSON object a record, as the contract of `k2.trades.raw` has it."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from k2_streams.core.sessions import SessionRule
from k2_streams.feeds.canonical_batch import decode_lines
from k2_streams.feeds.canonical_record import SESSION, Line, read
from k2_streams.feeds.columns import TradeColumns, finish
from k2_streams.feeds.decoded import Decoded, RawBatch, Refusal
from k2_streams.feeds.description import CountsOver, Description, Identity, TimeUnit
from k2_streams.feeds.keys import KeyColumn


class Canonical:
    """The feed without a header. A record without a sequence is told apart by its trade id."""

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

    def decode(self, batch: RawBatch) -> Decoded:
        """Decode a batch. A record's outcome does not depend on its neighbours."""
        keys = KeyColumn.of(batch.keys)
        lines, left = decode_lines(batch.values)
        messages = np.arange(len(batch.values), dtype=np.int32)
        refused: dict[int, Refusal] = {}
        if left:
            messages, lines = _with_the_rest(batch, messages, lines, left, refused)
        trades = _columns(messages, lines)
        wrong = _disagree(keys, messages, lines) | _bad_sessions(trades.sessions, len(lines))

        def explain(message: int, found: Refusal) -> Refusal:
            outcome = _read(batch, message)
            return outcome if isinstance(outcome, Refusal) else found

        return finish(batch, keys, trades, refused, wrong=wrong, explain=explain)


def _read(batch: RawBatch, message: int) -> Line[str] | Refusal:
    return read(batch.values[message], batch.keys[message], int(batch.append_time_ms[message]))


def _with_the_rest(
    batch: RawBatch,
    messages: npt.NDArray[np.int32],
    lines: list[Line[Any]],
    left: list[int],
    refused: dict[int, Refusal],
) -> tuple[npt.NDArray[np.int32], list[Line[Any]]]:
    """Read the records that no quick way took: into `lines` in their order, or into `refused`."""
    slow: dict[int, Line[str]] = {}
    for message in left:
        outcome = _read(batch, message)
        if isinstance(outcome, Refusal):
            refused[message] = outcome
        else:
            slow[message] = outcome
    kept = np.delete(messages, list(refused))
    if not slow:
        return kept, lines
    quick = iter(lines)
    return kept, [slow[place] if place in slow else next(quick) for place in kept.tolist()]


def _columns(messages: npt.NDArray[np.int32], lines: list[Line[Any]]) -> TradeColumns:
    """The records' fields as columns."""
    prices = [line.price for line in lines]
    quantities = [line.quantity for line in lines]
    binary = not set(map(type, prices)) <= {str}
    if binary:
        prices, quantities = _number_texts(prices), _number_texts(quantities)
    sequences = [line.sequence for line in lines]
    return TradeColumns(
        message=messages,
        prices=prices,
        quantities=quantities,
        event_time_ns=np.array([line.exchange_time_ns for line in lines], dtype=np.int64),
        sequence=_with_minus_one(sequences),
        trade_ids=[line.trade_id for line in lines],
        sides=[line.side for line in lines],
        conditions=[line.conditions for line in lines],
        receive_times_ns=[line.receive_time_ns for line in lines],
        vendors=[line.vendor for line in lines],
        sessions=[line.session for line in lines],
        binary_numbers=binary,
    )


def _number_texts(numbers: list[Any]) -> list[Any]:
    """The text of numbers that are strings or JSON; a JSON string without its quotation marks."""
    return [number if type(number) is str else bytes(number).strip(b'"') for number in numbers]


def _with_minus_one(numbers: list[int | None]) -> npt.NDArray[np.int64]:
    absent = numbers.count(None)
    if absent == len(numbers):
        return np.full(len(numbers), -1, dtype=np.int64)
    if absent:
        return np.array([-1 if number is None else number for number in numbers], dtype=np.int64)
    return np.array(numbers, dtype=np.int64)


def _disagree(
    keys: KeyColumn, messages: npt.NDArray[np.int32], lines: list[Line[Any]]
) -> npt.NDArray[np.bool_]:
    """Of each record, whether its key is not its exchange and symbol."""
    scope = keys.index[messages]
    agree = scope >= 0
    for named, said in (
        ([part.exchange for part in keys.parts], [line.exchange for line in lines]),
        ([part.symbol for part in keys.parts], [line.symbol for line in lines]),
    ):
        if len(set(named)) == 1 and said.count(named[0]) == len(said):
            continue
        in_key = pa.array([*named, None], pa.string()).take(pa.array(scope % (len(named) + 1)))
        same = pc.equal(pa.array(said, pa.string()), in_key).fill_null(fill_value=False)
        agree &= same.to_numpy(zero_copy_only=False)
    return ~agree


def _bad_sessions(sessions: list[str | None] | None, count: int) -> npt.NDArray[np.bool_]:
    """Of each record, whether it names a session with characters that are not printable ASCII."""
    names = set(sessions or ()) - {None}
    bad = {name for name in names if name is not None and not SESSION.fullmatch(name)}
    if not bad or sessions is None:
        return np.zeros(count, dtype=np.bool_)
    return np.array([name in bad for name in sessions], dtype=np.bool_)
