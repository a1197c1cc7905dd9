"""Station 1: the way of a record, with live rates; how long it takes, stage by stage."""

import asyncio
import time

from rich.table import Table

from k2_streams.demo.frame import LAKE_COMMIT_INTERVAL_S
from k2_streams.demo.stations.tour import Tour
from k2_streams.demo.watch import look_at
from k2_streams.testing.local.latency import StageSummary, measure, summaries

#: Between the two looks that make rates.
RATE_S = 4.0
#: About four messages per second are followed.
LATENCY_S = 12.0
#: How far the sum of the stages may be from the total.
TOLERANCE = 0.05
_ABOUT = {
    "broker": "from send to append",
    "checkpoint": "fetch, process, wait for the checkpoint",
    "tail": "the transaction commits, the row can be queried",
    "query": "the answer itself",
    "total": "from send to the answer",
}
_DRAWING = """
 k2.trades.raw  -->  {partitions} tasks  -->  k2.trades  -->  tail, in memory  -->  answers
 {read:>8,} /s      one transaction    |       {tail:,} rows
 {lag:>8,} wait    per checkpoint     '-->  Iceberg, a commit every {commit} s
                                             {lake:,} rows, {committed:,} /s
"""


def show(tour: Tour) -> None:
    """Start everything, draw it, and measure."""
    with tour.console.status("Kafka and a worker start ..."):
        tour.stage.brokers.start()
        tour.stage.start().wait_ready()
    tour.say(f"Kafka     {tour.stage.bootstrap}\nworker    {tour.worker.url}/")
    tour.page("overview")
    tour.start_flow("SIM")
    tour.wait("a commit to the lake", lambda: look_at(tour.worker, 0.0).lake_rows)
    _draw(tour)
    found = summaries(asyncio.run(measure(tour.stage.bootstrap, tour.worker.url, LATENCY_S)))
    tour.console.print(_table(found))
    total = found.pop("total").mean_ms
    stages = sum(one.mean_ms for one in found.values())
    tour.expect(
        f"the stages add up to the total within {TOLERANCE:.0%}",
        f"{stages:.1f} of {total:.1f} ms",
        holds=abs(stages - total) <= TOLERANCE * total,
    )


def _draw(tour: Tour) -> None:
    before = look_at(tour.worker, time.monotonic())
    time.sleep(RATE_S)
    after = look_at(tour.worker, time.monotonic(), before)
    seconds = after.at_s - before.at_s
    read = (after.processed - before.processed) / seconds
    tour.say(
        _DRAWING.format(
            partitions=len(after.watermark),
            read=round(read),
            lag=after.lag,
            tail=after.tail_rows,
            lake=after.lake_rows,
            committed=round((after.lake_rows - before.lake_rows) / seconds),
            commit=LAKE_COMMIT_INTERVAL_S,
        )
    )
    tour.expect("records are processed", f"{read:,.0f} per second", holds=read > 0)


def _table(found: dict[str, StageSummary]) -> Table:
    table = Table(box=None, pad_edge=False, title="latency, ms", title_justify="left")
    for name in ("stage", "", "mean", "p50", "p99"):
        table.add_column(name, justify="left" if name in {"stage", ""} else "right")
    for name, of in found.items():
        figures = (f"{value:.1f}" for value in (of.mean_ms, of.p50_ms, of.p99_ms))
        table.add_row(name, _ABOUT[name], *figures)
    return table
