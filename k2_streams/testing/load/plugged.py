"""Feeds of other packages: the content of their records, for a truth.

It is read with the feed's own decoder, one record at a time: `k2 verify` then checks all that comes
behind the decoder, not the decoder. For that an author has figures of his own, and `fuzz_feed`.
"""

from collections.abc import Callable

import numpy as np

from k2_streams.feeds.decoding.decoded import Kind, RawBatch
from k2_streams.feeds.description import Identity
from k2_streams.feeds.feed import Feed
from k2_streams.testing.load.recorded import FeedReading
from k2_streams.testing.load.recorded_trades import RecordedError, RecordedTrade
from k2_streams.testing.oracle.model_messages import MessageContent, Traded
from k2_streams.testing.streams import worth

#: What a session without a name is called.
_SESSION = "0"
_ROWS_BY = {Identity.TRADE_ID: "trade_id", Identity.NONE: "place"}


def reading_by_decoder(stream: str, feed: Feed, now_ms: Callable[[], int]) -> FeedReading:
    """How the records of a plugged-in feed are read.

    Args:
        stream: what the feed is of.
        feed: the feed.
        now_ms: the time at which a record would be appended.
    """

    def message(key: str, value: bytes) -> MessageContent:
        return _message(stream, feed, key, value, now_ms())

    def read(key: str, value: bytes) -> RecordedTrade | None:
        found = message(key, value)
        if found.number is None:
            if found.trades:
                raise RecordedError(f"a truth needs records with a number: {value[:200]!r}")
            return None
        if len(found.trades) > 1:
            raise RecordedError(
                f"expected one trade per message, where its number is the trade's: {value[:200]!r}"
            )
        (worth_of,) = [trade.value for trade in found.trades] or [0]
        is_row = bool(found.trades)
        return RecordedTrade(found.scope, found.session, found.number, worth_of, is_row=is_row)

    rows_by = _ROWS_BY.get(feed.description.identity)
    return FeedReading("sequence", read) if rows_by is None else FeedReading(rows_by, None, message)


def _message(stream: str, feed: Feed, key: str, value: bytes, now_ms: int) -> MessageContent:
    batch = RawBatch(0, np.zeros(1, np.int64), np.array([now_ms]), [key.encode()], [value])
    decoded = feed.decode(batch)
    if decoded.kind[0] == Kind.BAD:
        (bad,) = decoded.bad
        raise RecordedError(f"{feed.name} refuses it: {bad.reason}, {bad.field}: {bad.detail}")
    session = decoded.sessions[decoded.session[0]] if decoded.session[0] >= 0 else _SESSION
    number = int(decoded.sequence[0])
    trades = [
        Traded(f"{row['exchange']}:{row['symbol']}", row.get("trade_id"), worth(stream, row))
        for row in decoded.rows.to_pylist()
    ]
    return MessageContent(key, session, None if number < 0 else number, trades)
