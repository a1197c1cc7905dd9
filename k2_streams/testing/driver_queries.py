"""Queries of a `StreamDriver`: what a client would be answered."""

from typing import Any

from k2_streams.core.query.keys import keys_of
from k2_streams.query.answer import Answer, GapsAnswer
from k2_streams.query.request import GapsRequest, RowsRequest
from k2_streams.query.token import Token
from k2_streams.testing.driver_errors import DriverError
from k2_streams.testing.driver_run import DriverRun
from k2_streams.testing.memory.fleet import LOOK_EVERY_S

#: Rows, or gaps, that are given unless another number is asked for.
ROWS_MAX = 100_000
#: Virtual time that a query may wait for what was committed.
QUERY_WAIT_MS = 10_000


def answer_of(run: DriverRun, name: str, as_of: str | None, selection: dict[str, Any]) -> Answer:
    """The answer to a query for rows.

    Args:
        run: of the app.
        name: of the stream.
        as_of: a token; None: as of now.
        selection: fields of `RowsRequest`, and columns of the stream's key with what is wanted.
    """
    run.settle()
    output = run.output_of(name)
    fields = {key: one for key, one in selection.items() if key in RowsRequest.__struct_fields__}
    keys = {
        column: (wanted,) if isinstance(wanted, str | int) else tuple(wanted)
        for column, wanted in selection.items()
        if column not in fields
    }
    source = run.topology.source_of(output.stream)
    request = RowsRequest(
        symbols=keys.pop("symbol", ()),
        exchanges=keys.pop("exchange", ()),
        keys=keys_of(**keys),
        as_of=None if as_of is None else Token.decode(as_of),
        min_offsets=run.last_offsets(source.topic) if as_of is None else {},
        wait_ms=QUERY_WAIT_MS,
        **{"limit": ROWS_MAX, **fields},
    )
    answer: Answer = run.in_worker(output.node.query.rows(request))
    return answer


def gaps_of(run: DriverRun, selection: dict[str, Any]) -> GapsAnswer | None:
    """The gaps of the raw source; None: the app has none.

    Args:
        run: of the app.
        selection: fields of `GapsRequest`.

    Raises:
        DriverError: the events of what was sent are not read.
    """
    run.settle()
    raw = run.topology.raw
    if raw is None:
        return None
    query = run.output_of(raw.input.stream.name).node.query
    request = GapsRequest(**{"limit": ROWS_MAX, **selection})
    wanted = run.last_offsets(raw.input.events)
    deadline_s = run.elapsed_s + QUERY_WAIT_MS / 1000
    while True:
        answer: GapsAnswer = run.in_worker(query.gaps(request))
        read = answer.meta.positions
        if all(read.get(partition, 0) > last for partition, last in wanted.items()):
            return answer
        if run.elapsed_s > deadline_s:
            raise DriverError(f"events up to {wanted} were not read: {read}")
        run.advance_to(run.elapsed_s + LOOK_EVERY_S)
