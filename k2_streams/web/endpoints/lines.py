"""`GET /v1/lines`: how each redundant line of an exchange does."""

from typing import Annotated, Any

import msgspec

from k2_streams.core.lines.stats import LineReport
from k2_streams.core.records.stream import Stream
from k2_streams.query.answer import about
from k2_streams.query.relations import sequenced
from k2_streams.web.declaration.endpoint import Call, Endpoint, JsonAnswer, NoParameters


class LinesAnswer(msgspec.Struct, frozen=True):
    """How the redundant lines do, of the partitions that this worker owns."""

    lines: Annotated[list[LineReport], about("One per exchange and line.")]
    partitions: Annotated[list[int], about("The partitions whose figures these are.")]
    complete: Annotated[
        bool, about("These are all partitions; else other workers have figures of their own.")
    ]


async def _lines(call: Call[NoParameters]) -> LinesAnswer:
    found = call.services.lines()
    complete = len(found.partitions) == found.of_partitions
    return LinesAnswer(found.lines, found.partitions, complete)


def endpoints(streams: tuple[Stream, ...]) -> list[Endpoint[Any]]:
    """The endpoint, where rows are sequenced: only a raw source has lines."""
    if sequenced(streams) is None:
        return []
    return [
        Endpoint(
            path="/v1/lines",
            summary="How each redundant line of an exchange does: which is first, which loses, "
            "which lags; of the partitions that this worker owns, since their beginning.",
            handler=_lines,
            parameters=NoParameters,
            answer=JsonAnswer(LinesAnswer),
            granted_as="lines",
        )
    ]
