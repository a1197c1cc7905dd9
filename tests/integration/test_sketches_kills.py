"""Kill -9 of a worker of sketches changes no byte of one: they are those of the trades alone."""

import io

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from conftest import Cluster, eventually  # type: ignore[import-not-found]

from k2_streams.core.sketches.measures import MEASURES, minutes_of
from k2_streams.testing.local.workers import LocalWorker

pytestmark = [pytest.mark.integration, pytest.mark.long]

MESSAGES = 60_000
#: Of event time: four minutes and more.
EVENT_RATE = 200
KILLS = 5


def rows_of(worker: LocalWorker, path: str) -> pa.Table:
    with pa.ipc.open_stream(io.BytesIO(worker.fetch(f"{path}&format=arrow").body)) as reader:
        return reader.read_all()


def sketched(worker: LocalWorker) -> int:
    """Trades of which the worker has worked the records."""
    return sum(worker.get("/v1/status")["streams"]["sketches"]["watermark"].values())


def expected(trades: pa.Table) -> dict[tuple[int, int, str], bytes]:
    """Of each partition, minute and measure the sketch of all its trades."""
    found: dict[tuple[int, int, str], bytes] = {}
    order = [(name, "ascending") for name in ("log_partition", "log_offset", "log_row")]
    (whole,) = trades.sort_by(order).combine_chunks().to_batches()
    partitions = whole.column("source_partition")
    for partition in partitions.unique().to_pylist():
        rows = whole.filter(pc.equal(partitions, partition))
        for minute in minutes_of(rows, 0):
            for measure in MEASURES:
                at = (partition, minute.minute_ns, measure.name)
                found[at] = measure.added(None, minute.trades)
    return found


def test_sketches_of_killed_workers_have_the_bytes_of_the_trades(k2: Cluster) -> None:
    worker = k2.worker(app="topologies.sketches")
    with k2.worker() as trades, worker:
        for part in range(KILLS):
            k2.produce(
                "--messages", str(MESSAGES // KILLS), "--event-rate", str(EVENT_RATE),
                "--seed", str(part), "--exchange", f"E{part}", "--symbols", "50",
                "--start", f"2025-06-02T1{part}:00:00Z",
            )  # fmt: skip
            worker.kill()
            worker.start().wait_ready()
        eventually(lambda: k2.has_answered_all(trades), what="trades worked")
        ends = trades.get("/v1/trades?limit=1")["meta"]["offsets"]
        eventually(lambda: sketched(worker) == sum(ends.values()), what="sketches worked")
        made = rows_of(worker, "/v1/sketches?limit=100000").to_pylist()
        wanted = {
            (part, *at): sketch
            for part in range(KILLS)
            for at, sketch in expected(
                rows_of(trades, f"/v1/trades?exchange=E{part}&limit=100000")
            ).items()
        }
        last_ns = max(one["minute_ns"] for one in made)
    found = {
        (int(one["exchange"][1:]), one["source_partition"], one["minute_ns"], one["measure"]): one[
            "sketch"
        ]
        for one in made
    }
    assert len(found) == len(made), "no minute was closed twice"
    assert len(found) > KILLS * len(MEASURES)
    assert {at: wanted[at] for at in found} == found
    assert last_ns > 0
