"""Sketches of many rows merged into one: of a range of minutes, at one read point."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Generic

import msgspec

from k2_streams.core.sketches.measures import Measure, Sketch
from k2_streams.query.answer import Answer, about
from k2_streams.query.errors import TooMuchError
from k2_streams.query.off_loop import off_loop
from k2_streams.query.request import RowsRequest
from k2_streams.query.token import Cursor

#: Rows read at once: 16 MiB of the largest sketches.
PAGE_ROWS = 1_000
#: Rows of one question: a day and a half of one exchange in eight partitions.
MAX_SKETCHES = 20_000


class SketchesMeta(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer of sketches rests on."""

    token: Annotated[str, about("Asks for the same sketches again (`as_of=`).")]
    start_ns: Annotated[int | None, about("Start of the range as it was resolved, inclusive.")]
    end_ns: Annotated[int | None, about("End of the range as it was resolved, exclusive.")]
    known_at_ns: Annotated[int | None, about("The accepted time of what was read; null: now.")]
    sketches: Annotated[int, about("How many were merged.")]
    trades: Annotated[int, about("How many trades they are of.")]
    newest_minute_ns: Annotated[
        int | None, about("Start of the newest minute among them; null: there is none.")
    ]


@dataclass(frozen=True, slots=True)
class Merged(Generic[Sketch]):
    """The sketch of all trades of the range."""

    sketch: Sketch
    meta: SketchesMeta


async def merged(
    rows: Callable[[RowsRequest], Awaitable[Answer]],
    measure: Measure[Sketch],
    request: RowsRequest,
) -> Merged[Sketch]:
    """All sketches of a measure that a request asks for, as one.

    Args:
        rows: answers requests for rows of sketches.
        measure: whose sketches they are.
        request: of which minutes; its limit and keys are not used.

    Raises:
        TooMuchError: they are more than `MAX_SKETCHES`.
        QueryError: the query got no answer.
    """
    total = measure.sketch()
    count, trades = 0, 0
    newest: int | None = None

    def merge(contents: list[bytes]) -> None:
        for content in contents:
            total.merge(measure.sketch.decode(content))

    page = msgspec.structs.replace(request, limit=PAGE_ROWS, keys=(("measure", (measure.name,)),))
    for _ in range(MAX_SKETCHES // PAGE_ROWS):
        answer = await rows(page)
        await off_loop(partial(merge, answer.rows.column("sketch").to_pylist()))
        count += answer.rows.num_rows
        trades += sum(answer.rows.column("trades").to_pylist())
        for minute_ns in answer.rows.column("minute_ns").to_pylist()[-1:]:  # in their order
            newest = minute_ns
        meta = answer.meta
        if meta.next_cursor is None:
            known = SketchesMeta(
                token=meta.token,
                start_ns=meta.start_ns,
                end_ns=meta.end_ns,
                known_at_ns=meta.known_at_ns,
                sketches=count,
                trades=trades,
                newest_minute_ns=newest,
            )
            return Merged(total, known)
        page = page.continued(Cursor.decode(meta.next_cursor), is_repeated=False)
    raise TooMuchError(
        f"more than {MAX_SKETCHES} sketches lie in the range: ask for a shorter one, or for fewer "
        "exchanges"
    )
