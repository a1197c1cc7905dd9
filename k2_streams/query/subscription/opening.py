"""Opens subscriptions: finds where each begins and ends."""

from dataclasses import replace

import msgspec

from k2_streams.core.subscription.position import LogPosition, PartialRecord
from k2_streams.core.subscription.tally import Tally
from k2_streams.lake.snapshots import Head
from k2_streams.query.errors import BeforeHistoryError, InvalidParameter
from k2_streams.query.gaps import GapsView
from k2_streams.query.known_at import KnownRows
from k2_streams.query.questions import Questions
from k2_streams.query.read_point import ReadPoint, Wanted, check_lost
from k2_streams.query.selection import Selection
from k2_streams.query.stopwatch import Stopwatch
from k2_streams.query.subscription.reader import ChunkReader, Wants
from k2_streams.query.subscription.request import Begin, End, StreamRequest
from k2_streams.query.subscription.subscription import Start, Subscription, SubscriptionLog
from k2_streams.query.token import StreamToken, Token
from k2_streams.query.waiting import Waiting


class Subscriptions:
    """Opens subscriptions of one log. For one event loop."""

    def __init__(self, questions: Questions) -> None:
        log = questions.log
        gaps = log.gaps if isinstance(log.gaps, GapsView) else None
        self._log = SubscriptionLog(log.stream, log.tail, gaps, log.state, log.clock)
        self._chunks = ChunkReader(questions.attempts, questions.reader, questions.engine)
        self._waiting = Waiting(log.tail)
        self._questions = questions

    async def open(self, request: StreamRequest) -> Subscription:
        """A subscription; nothing of its rows is read yet.

        Raises:
            QueryError: see its kinds in `query.errors`.
        """
        self._questions.check_keys(request.selected)
        selection = Selection(request.selected)
        begin, end = request.begin, request.end
        if isinstance(begin, StreamToken):
            selection = replace(selection, start_ns=begin.start_ns)
        if request.clock == "event":
            if isinstance(begin, int):
                selection = replace(selection, start_ns=begin)
                begin = "begin"
            if isinstance(end, int):
                selection = replace(selection, end_ns=end)
                end = "end"
        newest, head = await self._newest()
        for field, token in (("from", begin), ("to", end)):
            if isinstance(token, Token | StreamToken):
                _check(token, newest, head, field)
        start = await self._start(begin, newest)
        wants = Wants(selection, request.order, await self._end(begin, end, newest))
        return Subscription(self._log, self._chunks, self._waiting, request, wants, start)

    async def _newest(self) -> tuple[Token, Head]:
        """Of all that this node has now."""

        async def at(read_point: ReadPoint) -> tuple[Token, Head]:
            token = Token(
                read_point.topic_id,
                read_point.cut.next,
                self._log.clock.time_ns(),
                read_point.deferred,
            )
            return token, read_point.head

        return await self._questions.attempts.ask(Wanted(), Stopwatch(), at)

    async def _start(self, begin: Begin, newest: Token) -> Start:
        if begin == "now":
            return Start(newest.topic_id, LogPosition(newest.next))
        if begin == "begin":
            return Start(newest.topic_id, LogPosition(dict.fromkeys(newest.next, 0)))
        if isinstance(begin, int):
            offsets = await self._accepted_before(begin, newest)
            return Start(newest.topic_id, LogPosition(offsets))
        token = begin.token if isinstance(begin, StreamToken) else begin
        everywhere = {**dict.fromkeys(newest.next, 0), **token.next}
        if isinstance(begin, Token):
            return Start(newest.topic_id, LogPosition(everywhere))
        partial = None if begin.partial is None else PartialRecord(*begin.partial)
        if partial is not None and partial.partition not in token.next:
            raise InvalidParameter("from", "the token is of no position in this log")
        return Start(
            newest.topic_id,
            LogPosition(everywhere, partial),
            begin.after,
            begin.floor,
            Tally(begin.rows, begin.checksum),
        )

    async def _end(self, begin: Begin, end: End | None, newest: Token) -> Token | None:
        if isinstance(begin, StreamToken) and begin.end is not None:
            return _with_offsets(newest, begin.end)
        if end is None:
            return None
        if end == "end":
            return newest
        if isinstance(end, int):
            return _with_offsets(newest, await self._accepted_before(end, newest))
        return msgspec.structs.replace(end, topic_id=newest.topic_id)

    async def _accepted_before(self, time_ns: int, newest: Token) -> dict[int, int]:
        """Per partition the offset behind the last row that was accepted before a time."""

        async def find(read_point: ReadPoint) -> KnownRows:
            return await self._questions.known_at.find(read_point, time_ns - 1, newest.deferred)

        try:
            known = await self._questions.attempts.ask(
                Wanted(known_ns=time_ns - 1), Stopwatch(), find
            )
        except BeforeHistoryError:
            return dict.fromkeys(newest.next, 0)
        return dict(known.token.next)


def _check(given: Token | StreamToken, newest: Token, head: Head, field: str) -> None:
    token = given.token if isinstance(given, StreamToken) else given
    if token.topic_id != newest.topic_id:
        check_lost(token, head, field)


def _with_offsets(token: Token, offsets: dict[int, int]) -> Token:
    """The token of the same log and moment with other offsets."""
    return Token(token.topic_id, offsets, token.at_ns, token.deferred)
