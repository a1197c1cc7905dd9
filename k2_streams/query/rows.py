"""Rows of a request, with their proof."""

from dataclasses import replace

import msgspec

from k2_streams.query import proof
from k2_streams.query.answer import Answer
from k2_streams.query.questions import Questions
from k2_streams.query.request import RowsRequest
from k2_streams.query.resolved import ResolvedRequest
from k2_streams.query.settled import may_be_settled
from k2_streams.query.token import TagName


class RowsQuery:
    """Answers with rows. For one event loop."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self._reader = questions.reader

    async def answer(self, request: RowsRequest) -> Answer:
        """Rows of both parts, in order, with their proof.

        Raises:
            QueryError: see its kinds in `query.errors`.
        """
        return await self._questions.ask(request, self._answered)

    async def _answered(self, asked: ResolvedRequest) -> Answer:
        request = asked.request
        selection = replace(asked.selection, at_most=request.limit + 1)
        rows = await self._reader.rows(asked.read_point, selection, asked.watch)
        if request.cursor is None and request.checks_names:
            await self._questions.check_known(asked, rows)
        answer = proof.answer(self._questions.log.stream, rows, asked)
        # A tag can be deleted, and its name given to another snapshot.
        may_settle = answer.meta.complete and not isinstance(request.as_of, TagName)
        if may_settle and await self._is_settled(asked):
            return replace(answer, meta=msgspec.structs.replace(answer.meta, settled=True))
        return answer

    async def _is_settled(self, asked: ResolvedRequest) -> bool:
        """Whether a complete answer may be kept: see `query.settled`."""
        log, selection = self._questions.log, asked.selection
        now_ns = log.clock.time_ns()
        if log.gaps is None or not may_be_settled(
            asked.token, selection, asked.read_point, log.gaps, now_ns
        ):
            return False
        newest_ns = await self._reader.newest_ns(asked.read_point, selection)
        assert selection.end_ns is not None  # noqa: S101 - it was asked
        return newest_ns is not None and newest_ns >= selection.end_ns
