"""The feed `own.v1`: one JSON object per trade, numbered per symbol, and a heartbeat.

{"n": 5, "s": "ABC", "p": 1.50, "q": "2", "t": 1786310000000, "d": "B"}
{"n": 6, "s": "ABC"}
"""

from typing import Any

import msgspec

from k2_streams.core.sequence.sessions import SessionRule
from k2_streams.feeds.decoding.keys import agreeing
from k2_streams.feeds.decoding.messages import Message, MessageFeed, Trade
from k2_streams.feeds.decoding.native import (
    Known,
    decimal_text,
    epoch_time,
    meaning,
    number,
    parse,
    since_1970,
    typed,
)
from k2_streams.feeds.description import CountsOver, Description, Identity, TimeUnit

NOTHING = msgspec.Raw(b"null")


class OwnMessage(msgspec.Struct):
    """What the venue sends; `Raw` keeps a number as it is written, as a float would round it."""

    n: Any = None
    s: Any = None
    p: msgspec.Raw = NOTHING
    q: msgspec.Raw = NOTHING
    t: Any = None
    d: Any = None


DECODER = msgspec.json.Decoder(OwnMessage)


class OwnVenue(MessageFeed):
    """The trades of OWN."""

    name = "own.v1"
    names = ("p", "q", "t")
    description = Description(
        counts_over=CountsOver.SYMBOL,
        number="n",
        session_rule=SessionRule.FALL,
        session_starts="a fall of n after an hour of silence",
        identity=Identity.SEQUENCE,
        trade_id=None,
        time="t",
        time_unit=TimeUnit.MILLISECONDS,
        events=frozenset({"heartbeat"}),
    )

    def read(self, value: bytes, key: bytes | None) -> Message:
        """One record. What cannot be used is refused, and becomes a dead letter."""
        message = parse(DECODER, value)
        agreeing(key, "OWN", typed("s", message.s, str))
        count = number("n", message.n)
        if message.p == message.q == NOTHING:
            return Message(sequence=count, event="heartbeat")
        known = Known(count, None, since_1970(message.t))  # so that a bad price is no gap
        side, unknown = meaning("side", message.d, {"B": "buy", "S": "sell"})
        trade = Trade(
            decimal_text("p", message.p, known),
            decimal_text("q", message.q, known),
            epoch_time("t", message.t, known),
            side=side,
            unknown=unknown,
            time=message.t,
        )
        return Message([trade], count)
