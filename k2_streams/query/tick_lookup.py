"""The trade before each of some rows: looked for from their own offsets downwards.

It nearly always lies close below its row, so a narrow window of offsets comes first and all below
it second: what is found first has the highest place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from k2_streams.core.enrich.ticks import Sought
from k2_streams.core.query.keys import keys_of
from k2_streams.core.records.vector import Range
from k2_streams.query import tick_statement
from k2_streams.query.engine import QuerySession
from k2_streams.query.errors import TooMuchError
from k2_streams.query.read_point import ReadPoint
from k2_streams.query.selection import Selection
from k2_streams.query.statement import Scan
from k2_streams.query.tail.trades import places_and_prices

#: Offsets of the first window: some seconds of checkpoints.
FIRST_OFFSETS = 64
#: Rows of a window, at the most: 100 MB while they are sorted. Ticks that need more stay null, and
#: those for which the engine's memory does not suffice.
MAX_ROWS = 500_000

_NOTHING = pa.table({"at": pa.array([], pa.int64()), "sign": pa.array([], pa.int8())})


def looked_for(missing: Sought) -> Selection:
    """The rows among which the trades before lie."""
    keys = keys_of(symbol=missing.symbols, exchange=missing.exchanges)
    return Selection(keys, start_ns=missing.start_ns, end_ns=missing.end_ns)


def look_up(
    session: QuerySession,
    scan: Scan,
    files: Sequence[str],
    read_point: ReadPoint,
    missing: Sought,
) -> pa.Table:
    """Which of the rows (`at`) have a trade before, and the sign of the change of price (`sign`).

    Args:
        session: reads both parts.
        scan: how files are read.
        files: of the read point's snapshot, that can hold what `looked_for` says.
        read_point: of the answer.
        missing: the rows.

    Raises:
        TailMovedError, and what `QuerySession.table` raises but `TooMuchError`.
    """
    found = [_NOTHING]
    left = missing.rows
    near = {p: Range(max(0, end - FIRST_OFFSETS), end) for p, end in missing.ends.items()}
    below = {p: Range(0, part.start) for p, part in near.items()}
    for window in (near, below):
        if not left.num_rows or not any(part.end for part in window.values()):
            break
        symbols = tuple(pc.unique(left.column("symbol")).to_pylist())
        keys = keys_of(symbol=symbols, exchange=missing.exchanges)
        wanted = replace(looked_for(missing), keys=keys)
        tail = places_and_prices(read_point.view.batches(_in_tail(read_point, window)), wanted)
        some = files if _reaches_lake(read_point, window) else ()
        try:
            signs = session.table(
                tick_statement.ticks(scan, some, window, wanted, MAX_ROWS),
                tail,
                {tick_statement.SOUGHT: left},
            )
        except TooMuchError:
            break
        at = signs.column("at")
        if tick_statement.TOO_MANY in at.to_pylist():
            break
        found.append(signs)
        left = left.filter(pc.invert(pc.is_in(left.column("at"), value_set=at)))
    return pa.concat_tables(found)


def _in_tail(read_point: ReadPoint, window: Mapping[int, Range]) -> dict[int, Range]:
    """What of the window the tail answers for."""
    parts = {}
    for partition, part in window.items():
        tail = read_point.cut.partitions[partition].tail
        start, end = max(part.start, tail.start), min(part.end, tail.end)
        if start < end:
            parts[partition] = Range(start, end)
    return parts


def _reaches_lake(read_point: ReadPoint, window: Mapping[int, Range]) -> bool:
    """Whether some of the window is not the tail's."""
    tails = {partition: read_point.cut.partitions[partition].tail for partition in window}
    return any(
        part.start < part.end
        and not tails[partition].start <= part.start <= part.end <= tails[partition].end
        for partition, part in window.items()
    )
