"""What a feed declares of its venue: what its sequence counts, and what tells its trades apart."""

import enum
from dataclasses import dataclass

from k2_streams.core.sequence.sessions import SessionRule

#: What control messages are counted as whose name the feed does not declare.
OTHER_EVENT = "other"


class CountsOver(enum.StrEnum):
    """What a venue's numbers count over. It is the scope, and so the record's key, of the feed."""

    SYMBOL = "symbol"  # EXCHANGE:SYMBOL
    MARKET_SYMBOL = "market-symbol"  # EXCHANGE:MARKET:SYMBOL
    CONNECTION = "connection"  # EXCHANGE:@CONNECTION
    CHANNEL = "channel"  # EXCHANGE:SYMBOL@CHANNEL, or EXCHANGE:MARKET:SYMBOL@CHANNEL
    NONE = "none"  # no number: the key is the symbol's, with its market where a venue has several


class Identity(enum.StrEnum):
    """What tells a trade from every other one: by what a repeated trade is recognised."""

    #: The number of its message in its session: the sequence's verdict is the whole dedup.
    SEQUENCE = "sequence"
    #: The number where its record has one, else the id.
    SEQUENCE_ELSE_ID = "sequence-else-id"
    #: The id, unique for (exchange, symbol) over all sessions. Its message may have a number, but
    #: the number is not the trade's: a snapshot repeats trades under a new one.
    TRADE_ID = "trade-id"
    #: Nothing but the record's position: a repeated trade cannot be recognised.
    NONE = "none"


class TimeUnit(enum.StrEnum):
    """How a venue writes a trade's time."""

    NANOSECONDS = "ns"  # since 1970, UTC
    MILLISECONDS = "ms"  # the same; microseconds and nanoseconds are known by their magnitude
    SECONDS = "s"  # a decimal text since 1970, UTC
    RFC_3339 = "rfc3339"
    LOCAL = "local"  # date and time of day in the venue's zone


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A venue's truth, as far as the sequence and the dedup need it.

    Fields are named as the venue names them.
    """

    counts_over: CountsOver
    number: str | None  # the field that counts; None: nothing does
    session_rule: SessionRule
    session_starts: str  # what begins a session, for people
    identity: Identity
    trade_id: str | None  # the field of a trade's id; None: it has none
    time: str  # the field of a trade's time
    time_unit: TimeUnit
    #: Kinds of messages without a trade that are counted by name; all others share `OTHER_EVENT`.
    events: frozenset[str] = frozenset()
    #: The venue sends a number again with a later time, as the number that a snapshot of a book has
    #: reached: never another message with the same number.
    repeats_numbers: bool = False

    def event(self, name: str) -> str:
        """The name under which a kind of control message is counted: one of a bounded set."""
        return name if name in self.events else OTHER_EVENT

    def tolerance_ms(self, configured_ms: int) -> int | None:
        """How much later than all of its session a repeat may be; None: any time."""
        return None if self.repeats_numbers else configured_ms

    def __post_init__(self) -> None:
        """Refuse a description that contradicts itself: a programmer's error."""
        numbered = self.number is not None
        by_id = self.identity in {Identity.TRADE_ID, Identity.SEQUENCE_ELSE_ID}
        if numbered == (self.counts_over is CountsOver.NONE):
            raise ValueError("a number counts over something, and only a number does")
        if self.identity in {Identity.SEQUENCE, Identity.SEQUENCE_ELSE_ID} and not numbered:
            raise ValueError("trades that a number identifies need `number`")
        if by_id and self.trade_id is None:
            raise ValueError("trades that an id identifies need `trade_id`")
