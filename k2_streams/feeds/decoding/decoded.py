"""What goes into a feed's decoder and what comes out: columns for a whole batch of records."""

import enum
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from k2_streams.core.enrich.instruments import PriceDomains, positive_prices

#: A trade is some hundred bytes and Binance's order book with 1,000 levels 70 KB; a dead letter
#: with its headers must fit into a topic's default limit of 1 MiB.
MAX_VALUE_BYTES = 262_144
#: 1990-01-01: before it no venue that K2 knows had an electronic tape.
MIN_EVENT_TIME_NS = 631_152_000_000_000_000
#: How far an event may lie ahead of the broker's time of its record: clocks and zones go wrong by
#: hours, and a hostile time must not open thousands of day partitions.
MAX_AHEAD_NS = 86_400_000_000_000
MAX_INT64 = 2**63 - 1
#: Longer findings are cut: a detail is read by people and travels in a header.
_MAX_DETAIL_CHARS = 200


class Kind(enum.IntEnum):
    """What a record turned out to be."""

    TRADE = 0
    CONTROL = 1  # known and without a trade: book updates, tickers, answers to a subscription
    BAD = 2


class Reason(enum.StrEnum):
    """Why a record cannot be used. The words are stable: they stand in `k2.reason`."""

    EMPTY = "empty"
    OVERSIZED = "oversized"
    NOT_UTF8 = "not-utf8"
    NOT_JSON = "not-json"
    TOO_DEEP = "too-deep"
    WRONG_COLUMNS = "wrong-columns"
    UNKNOWN_MESSAGE = "unknown-message"
    NULL_KEY = "null-key"
    KEY_MISMATCH = "key-mismatch"
    MISSING_FIELD = "missing-field"
    WRONG_TYPE = "wrong-type"
    BAD_EXCHANGE = "bad-exchange"
    BAD_SYMBOL = "bad-symbol"
    NOT_A_NUMBER = "not-a-number"
    NOT_FINITE = "not-finite"
    NOT_POSITIVE = "not-positive"
    TOO_PRECISE = "too-precise"
    OUT_OF_RANGE = "out-of-range"
    BAD_TIME = "bad-time"
    SEQUENCE_RANGE = "sequence-range"
    BAD_SESSION = "bad-session"
    BAD_TRADE_ID = "bad-trade-id"
    BAD_ACTION = "bad-action"


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Records of one partition of the raw topic that name the same feed, in offset order."""

    partition: int
    offsets: npt.NDArray[np.int64]
    append_time_ms: npt.NDArray[np.int64]  # the broker's
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    price_domains: PriceDomains = positive_prices  # of the reference table, where there is one

    def take(self, places: npt.NDArray[np.int64]) -> "RawBatch":
        """Some of the records, ascending."""
        keys, values = self.keys, self.values
        return RawBatch(
            self.partition,
            self.offsets[places],
            self.append_time_ms[places],
            [keys[place] for place in places],
            [values[place] for place in places],
            self.price_domains,
        )


class Bad(NamedTuple):
    """A record for the dead letter topic."""

    message: int  # its index in the batch
    reason: str  # a `Reason`
    field: str | None  # which field is at fault, where one is
    detail: str  # what was expected and found, for people


class Fault(NamedTuple):
    """What is wrong with a field.

    Kept instead of the exception that told it: that holds the frames it came through, and these
    hold it, so each would wait for the collector of cycles.
    """

    reason: Reason
    detail: str


class Refusal(NamedTuple):
    """Why a record is refused, and what could be read of its sequence all the same."""

    reason: Reason
    field: str | None
    detail: str
    sequence: int = -1  # -1: its scope, session or number could not be read
    session: str | None = None
    event_time_ns: int = 0


class Control(NamedTuple):
    """What is known of a message without a trade; its number counts as any other's."""

    sequence: int = -1  # -1: none
    session: str | None = None
    time_ns: int = 0  # 0: not known
    event: str = ""  # what kind of a message the venue calls it


class RefusedError(ValueError):
    """A record is refused."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal


def refuse(reason: Reason, field: str | None, detail: str, *read: Any) -> RefusedError:
    """The error that refuses a record; `read` is what could be read of its sequence."""
    return RefusedError(Refusal(reason, field, detail, *read))


def readable(value: bytes | None) -> bytes:
    """A value that is worth a look.

    Raises:
        RefusedError: it is none, blank, too large or not UTF-8.
    """
    if not value or value.isspace():
        found = "none" if value is None else f"{len(value)} blank bytes"
        raise refuse(Reason.EMPTY, None, f"expected a message, found {found}")
    if len(value) > MAX_VALUE_BYTES:
        detail = f"expected at most {MAX_VALUE_BYTES} bytes, found {len(value)}"
        raise refuse(Reason.OVERSIZED, None, detail)
    if not value.isascii():
        try:
            value.decode()
        except UnicodeDecodeError as error:
            detail = f"expected UTF-8: {error.reason} at byte {error.start}"
            raise refuse(Reason.NOT_UTF8, None, detail) from None
    return value


def is_timely(time_ns: int, append_time_ms: int) -> bool:
    """Whether an event can have been at a time, going by the broker's time of its record."""
    return MIN_EVENT_TIME_NS <= time_ns <= append_time_ms * 1_000_000 + MAX_AHEAD_NS


@dataclass(slots=True)
class Decoded:
    """A batch, decoded. Arrays have one entry a record; `rows` has one a trade.

    A BAD record has a scope and a sequence either both or neither: both where its key and value
    agree on the scope and its number and session could be read, so that the number counts as
    received.
    """

    kind: npt.NDArray[np.int8]  # a `Kind`
    scopes: list[str]  # distinct
    scope: npt.NDArray[np.int32]  # index into scopes; -1: unreadable
    sequence: npt.NDArray[np.int64]  # -1: none, or unreadable
    sessions: list[str]  # distinct, as the messages name them
    session: npt.NDArray[np.int32]  # index into sessions; -1: none named
    event_time_ns: npt.NDArray[np.int64]  # 0: none, or unreadable
    rows: pa.RecordBatch  # `core.records.schema.ROWS`, in message order
    bad: list[Bad]  # in message order
    #: By message what kind of a control message it is, as the venue calls it.
    events: dict[int, str] = field(default_factory=dict)
    #: Rows that lost an optional attribute, whose value K2 does not know, by the attribute.
    unknown: Counter[str] = field(default_factory=Counter)


def shown(found: object) -> str:
    """A finding for a detail: its representation, cut to a bound."""
    text = repr(found)
    return text if len(text) <= _MAX_DETAIL_CHARS else text[:_MAX_DETAIL_CHARS] + "..."
