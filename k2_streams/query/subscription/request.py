"""A subscription, with typed fields; one that cannot be answered is refused when it is made.

A time is of the clock that the subscription goes by: with `event` it selects rows by event time,
with `accepted` it is a place in the log, behind all rows that were accepted before.
"""

import zlib
from typing import Literal

import msgspec

from k2_streams.core.query.keys import Keys, keys_of
from k2_streams.query.errors import InvalidParameter
from k2_streams.query.token import StreamToken, Token

Begin = Token | StreamToken | int | Literal["begin", "now"]
End = Token | int | Literal["end"]
RowClock = Literal["event", "accepted"]
RowOrder = Literal["log", "event"]


class StreamRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a log from `begin` to before `end`.

    Raises:
        InvalidParameter: two fields contradict each other.
    """

    symbols: tuple[str, ...] = ()
    exchanges: tuple[str, ...] = ()
    keys: Keys = ()  # of other key columns than symbol and exchange
    begin: Begin = "now"
    end: End | None = None  # None: it goes on for ever
    speed: float | None = None  # seconds of the rows per second; None: as fast as they are taken
    clock: RowClock = "event"
    order: RowOrder = "log"
    batch_ms: int = 0  # rows are given so far apart, if more are not waiting
    permitted: tuple[str, ...] = ()  # the exchanges that its caller may read; empty: all

    def __post_init__(self) -> None:
        """Check the fields against each other."""
        begin, end = self.begin, self.end
        if self.order == "event" and end is None:
            raise InvalidParameter(
                "order", "rows in order of event time need to: those to come would lie before"
            )
        if isinstance(begin, int) and isinstance(end, int) and begin > end:
            raise InvalidParameter("from", f"expected at most to ({end}), found {begin}")
        if isinstance(begin, StreamToken) and begin.asked != self.asked():
            raise InvalidParameter("from", "the token was issued for another subscription")

    @property
    def selected(self) -> Keys:
        """What is wanted of the columns of the key."""
        return keys_of(symbol=self.symbols, exchange=self.from_exchanges) + self.keys

    @property
    def from_exchanges(self) -> tuple[str, ...]:
        """The exchanges wanted; empty: all."""
        return self.permitted or self.exchanges

    def asked(self) -> int:
        """A checksum of which rows are wanted in which order: a token goes on with the same.

        Where the rows begin is in the token; speed and pauses may change.
        """
        times = (self.clock, self.end if isinstance(self.end, int) else None)
        named = keys_of(symbol=self.symbols, exchange=self.exchanges) + self.keys
        return zlib.crc32(msgspec.json.encode((named, self.order, times)))
