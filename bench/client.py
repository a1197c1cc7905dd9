"""A million rows over loopback into polars, by the Python client: pages of one read point."""

import time

import k2_client
from bench.stage import STAYS_NORMAL, lake_of, percentile, stage
from k2_streams.testing.waiting import wait_until

MESSAGES = 1_000_000
TIMES = 3


def run(messages: int = MESSAGES, times: int = TIMES) -> dict[str, float]:
    """Seconds from the question to the data frame, and of them those on the way to Arrow."""
    with stage() as at:
        worker = at.start(0, **STAYS_NORMAL).wait_ready()
        at.produce("--messages", str(messages), "--seed", "1", "--symbols", "100")
        lake = lake_of(at)
        wait_until(lambda: lake.head().rows >= messages, "all rows in the lake", 300, 0.5)
        taken_s, arrow_s = [], []
        with k2_client.connect(worker.url) as client:
            for _ in range(times):
                began = time.perf_counter()
                result = client.trades()
                arrow_s.append(time.perf_counter() - began)
                frame = result.polars()
                taken_s.append(time.perf_counter() - began)
                if frame.height != messages:
                    raise RuntimeError(f"expected {messages} rows, found {frame.height}")
        worker.stop()
    return {
        "rows": float(messages),
        "to Arrow s": percentile(arrow_s, 0.5),
        "to polars s": percentile(taken_s, 0.5),
        "rows per second": messages / percentile(taken_s, 0.5),
        "MiB": result.arrow().nbytes / 2**20,
    }
