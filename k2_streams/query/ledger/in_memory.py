"""Gaps where no ledger of them is kept: those that this node holds, now or as known at a time."""

from k2_streams.query.answer import GapsAnswer, GapsMeta
from k2_streams.query.errors import InvalidParameter
from k2_streams.query.gaps import GapsView
from k2_streams.query.questions import Questions
from k2_streams.query.read_point import Wanted
from k2_streams.query.request import GapsRequest
from k2_streams.query.stopwatch import Stopwatch


class GapsInMemory:
    """Answers with gaps of a log. For one event loop."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    async def answer(self, request: GapsRequest) -> GapsAnswer:
        """Gaps as this node knows them, or knew them at a time.

        Raises:
            QueryError: see its kinds in `query.errors`.
        """
        if request.as_of is not None:
            raise InvalidParameter("as_of", "gaps have no token where no ledger is kept")
        questions, now = self._questions, self._questions.log.gaps
        if not isinstance(now, GapsView):
            return GapsAnswer((), GapsMeta(gaps=0, omitted=0, positions={}, complete=False))
        clock = questions.log.clock
        now_ns = clock.time_ns()
        wanted = Wanted(known_ns=request.known_at_ns)
        reads_lake = request.known_at_ns is not None
        async with questions.engine.turn(request.limit, request.limit, reads_lake=reads_lake):
            then = await questions.pinned(wanted, Stopwatch(clock))
            assert then.gaps is not None  # noqa: S101 - there are some
            found, omitted = request.find_in(then.gaps, now_ns)
        token = then.token
        complete = now.is_complete if token is None else then.gaps.reach(token.next)
        meta = GapsMeta(
            gaps=len(found),
            omitted=omitted,
            positions=now.positions,
            complete=complete,
            token=None if token is None else token.encode(),
            known_at_ns=request.known_at_ns,
        )
        return GapsAnswer(found, meta)
