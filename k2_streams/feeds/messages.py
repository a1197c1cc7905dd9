"""From messages read one at a time to a batch: what the feeds of native messages share.

A feed says what one record is (`Read`); `collect` asks it for each, keeps what it refuses, and lays
the rest down in columns. A message may hold any number of trades, and is taken whole or not at all.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from k2_streams.feeds.columns import TradeColumns, finish
from k2_streams.feeds.decoded import Control, Decoded, RawBatch, Refusal, RefusedError, readable
from k2_streams.feeds.keys import KeyColumn


class Trade(NamedTuple):
    """A trade, its numbers still text."""

    price: str
    quantity: str
    time_ns: int
    trade_id: str | None = None
    side: str | None = None  # the aggressor's
    conditions: list[str] | None = None
    vendor: dict[str, str] | None = None
    symbol: str | None = None  # None: the key's
    trading_day: int | None = None  # days since 1970; None: the UTC day of `time_ns`


class Message(NamedTuple):
    """One record's message; without a trade it is control."""

    trades: Sequence[Trade] = ()
    sequence: int = -1  # -1: none
    session: str | None = None
    time_ns: int = 0  # of a message without a trade; 0: not known
    receive_time_ns: int | None = None


#: What a record's value, which `readable` passed, and its key are. Raises `RefusedError`.
Read = Callable[[bytes, bytes | None], Message]


def collect(batch: RawBatch, read: Read, names: tuple[str, str, str]) -> Decoded:
    """Decode a batch. A record's outcome does not depend on its neighbours.

    Args:
        batch: the records.
        read: what one of them is.
        names: what the feed calls price, quantity and event time.
    """
    messages: list[int] = []
    found: list[Message] = []
    refused: dict[int, Refusal] = {}
    control: dict[int, Control] = {}
    for index, value in enumerate(batch.values):
        try:
            message = read(readable(value), batch.keys[index])
        except RefusedError as error:
            refused[index] = error.refusal
            continue
        if message.trades:
            messages.append(index)
            found.append(message)
        else:
            control[index] = Control(message.sequence, message.session, message.time_ns)
    columns = _columns(messages, found, names)
    return finish(batch, KeyColumn.of(batch.keys), columns, refused, control=control)


def _columns(
    messages: list[int], found: list[Message], names: tuple[str, str, str]
) -> TradeColumns:
    """The trades of the messages, one after the other."""
    counts = [len(message.trades) for message in found]
    trades = [trade for message in found for trade in message.trades]
    single = len(trades) == len(found)
    symbols = [trade.symbol for trade in trades]
    days = [trade.trading_day for trade in trades]

    def spread(of_message: list[int]) -> "np.typing.NDArray[np.int64]":
        return np.repeat(np.array(of_message, dtype=np.int64), counts)

    received = [message.receive_time_ns for message in found for _ in message.trades]
    return TradeColumns(
        message=spread(messages).astype(np.int32),
        source_index=None if single else _source_index(counts),
        prices=[trade.price for trade in trades],
        quantities=[trade.quantity for trade in trades],
        event_time_ns=np.array([trade.time_ns for trade in trades], dtype=np.int64),
        sequence=spread([message.sequence for message in found]),
        trade_ids=[trade.trade_id for trade in trades],
        sides=[trade.side for trade in trades],
        conditions=[trade.conditions for trade in trades],
        vendors=[trade.vendor for trade in trades],
        symbols=None if symbols.count(None) == len(symbols) else symbols,
        sessions=[message.session for message in found for _ in message.trades],
        receive_times_ns=received,
        trading_days=_trading_days(days),
        names=names,
    )


def _source_index(counts: list[int]) -> "np.typing.NDArray[np.int32]":
    """Of each trade its place in its message."""
    return np.concatenate([np.arange(count, dtype=np.int32) for count in counts])


def _trading_days(days: list[int | None]) -> "np.typing.NDArray[np.int32] | None":
    """The venue's own days, where a feed gives them: then it gives one for every trade."""
    if days.count(None) == len(days):
        return None
    return np.array(days, dtype=np.int32)
