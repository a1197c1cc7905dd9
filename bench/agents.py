"""Agents over rows of `k2.trades` that wait: from an app's first position to its last.

One that does nothing, then the example of one-minute bars, with its table, timers and output.
"""

import statistics
import time
from pathlib import Path

from bench.stage import STAYS_NORMAL, cpu_s, lake_rows, partitions_of, process_of, stage
from k2_streams.testing.local.stage import Stage
from k2_streams.testing.local.workers import LocalWorker
from k2_streams.testing.waiting import wait_until

APPS = {"no-op": "bench.noop", "bars": "topologies.examples.bars"}
ROOT = Path(__file__).parents[1]
WITHIN_S = 900.0


def _once(at: Stage, app: str, number: int, rows: int) -> tuple[float, float]:
    """Rows per second and CPU seconds per million of an app that never ran before."""
    settings = {
        **STAYS_NORMAL,
        "PYTHONPATH": str(ROOT),
        "K2_APP_ID": f"{app.rpartition('.')[2]}-{number}",
    }
    folder = at.directory / f"{settings['K2_APP_ID']}-data"
    with LocalWorker(folder, at.bootstrap, 0, settings, app=app) as worker:

        def offsets() -> tuple[int, int]:
            """How many are committed, and how many are not."""
            parts = partitions_of(worker)
            committed = sum(part["committed_offset"] or 0 for part in parts)
            return committed, sum(part["lag_records"] for part in parts)

        wait_until(lambda: offsets()[0], "the first position", 120, 0.02)
        process, began = process_of(worker), time.monotonic()
        used_s, (done, left) = cpu_s(process), offsets()
        wait_until(lambda: offsets() == (done + left, 0), "the last position", WITHIN_S, 0.1)
        measured = rows * left / (done + left)  # as good as: a record has as many rows as the next
        return measured / (time.monotonic() - began), (cpu_s(process) - used_s) / measured * 1e6


def run(messages: int = 1_000_000, runs: int = 3) -> dict[str, float]:
    """Medians over the runs, in turn; all over the same rows."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in APPS}
    with stage() as at:
        at.produce("--messages", str(messages), "--seed", "1")
        worker = at.start(0, **{"K2_LAKE_COMMIT_INTERVAL_S": "2", **STAYS_NORMAL})
        wait_until(lambda: worker.is_ready() and lake_rows(worker) >= messages, "rows", WITHIN_S)
        rows = lake_rows(worker)
        worker.stop()
        for number in range(runs):
            for name, app in APPS.items():
                found[name].append(_once(at, app, number, rows))
    return {
        f"{name}: {what}": statistics.median(one[place] for one in figures)
        for name, figures in found.items()
        for place, what in enumerate(("rows/s", "CPU s/M"))
    }
