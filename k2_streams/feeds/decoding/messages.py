"""From messages read one at a time to a batch: what the feeds of native messages share.

A feed says what one record is (`MessageFeed.read`); `collect` asks it for each, keeps what it
refuses, and lays the rest down in columns. A message may hold any number of trades, and is taken
whole or not at all.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import astuple

from k2_streams.feeds.decoding.columns import TradeColumns, finish
from k2_streams.feeds.decoding.decoded import (
    Control,
    Decoded,
    RawBatch,
    Refusal,
    RefusedError,
    readable,
)
from k2_streams.feeds.decoding.keys import KeyColumn
from k2_streams.feeds.description import Description


class Trade(msgspec.Struct, frozen=True, gc=False):
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
    #: Optional attributes whose value the feed does not know, with it: kept in `vendor`, counted.
    unknown: dict[str, str] | None = None
    time: Any = None  # as the message has it, for the detail if it cannot be; None: `time_ns`


class Message(msgspec.Struct, frozen=True, gc=False):
    """One record's message; without a trade it is control."""

    trades: Sequence[Trade] = ()
    sequence: int = -1  # -1: none
    session: str | None = None
    time_ns: int = 0  # of a message without a trade; 0: not known
    receive_time_ns: int | None = None
    event: str = ""  # of a message without a trade: what kind the venue calls it


#: What a record's value, which `readable` passed, and its key are. Raises `RefusedError`.
Read = Callable[[bytes, bytes | None], Message]


class MessageFeed(ABC):
    """A `Feed` that reads its records one at a time."""

    name: str
    description: Description
    names: tuple[str, str, str]  # what the feed calls price, quantity and event time

    @abstractmethod
    def read(self, value: bytes, key: bytes | None) -> Message:
        """One record, whose value `readable` passed.

        Raises:
            RefusedError: it cannot be used.
        """

    def decode(self, batch: RawBatch) -> Decoded:
        """Decode a batch. A record's outcome does not depend on its neighbours."""
        return collect(batch, self.read, self.names)


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
            control[index] = Control(
                message.sequence, message.session, message.time_ns, message.event
            )
    columns = _columns(messages, found, names)
    return finish(batch, KeyColumn.of(batch.keys), columns, refused, control=control)


def _columns(
    messages: list[int], found: list[Message], names: tuple[str, str, str]
) -> TradeColumns:
    """The trades of the messages, one after the other."""
    counts = [len(message.trades) for message in found]
    trades = [trade for message in found for trade in message.trades]
    if len(trades) == len(found):
        source_index, at = None, np.arange(len(found))
    else:
        source_index = np.concatenate([np.arange(count, dtype=np.int32) for count in counts])
        at = np.repeat(np.arange(len(found)), counts)
    place = at.tolist()
    sessions = [found[index].session for index in place]
    # One column per field, in the order of `Trade`'s.
    price, quantity, time_ns, trade_id, side, conditions, vendor, symbol, day, unknown, time = (
        map(list, zip(*map(astuple, trades), strict=True))
        if trades
        else ([] for _ in Trade.__struct_fields__)
    )
    return TradeColumns(
        message=np.array(messages, dtype=np.int32)[at],
        source_index=source_index,
        prices=price,
        quantities=quantity,
        event_time_ns=np.array(time_ns, dtype=np.int64),
        sequence=np.array([message.sequence for message in found], dtype=np.int64)[at],
        trade_ids=trade_id,
        sides=side,
        conditions=conditions,
        vendors=vendor if unknown.count(None) == len(unknown) else _with(vendor, unknown),
        unknown=unknown,
        times=time,
        symbols=None if symbol.count(None) == len(symbol) else symbol,
        sessions=sessions,
        receive_times_ns=[found[index].receive_time_ns for index in place],
        trading_days=None if day.count(None) == len(day) else np.array(day, dtype=np.int32),
        names=names,
    )


def _with(
    vendors: list[dict[str, str] | None], unknown: list[dict[str, str] | None]
) -> list[dict[str, str] | None]:
    """What a row keeps of its message besides, with the values of attributes that are unknown."""
    return [
        vendor if found is None else found | (vendor or {})
        for vendor, found in zip(vendors, unknown, strict=True)
    ]
