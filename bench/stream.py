"""Rows per second of a stream of the whole history, and how late paced rows come.

`speed=max` in Arrow and in server-sent events, each read to its end over loopback; then a paced
stream of what was sent at `rate`, at the speed at which it was sent: its error is the worker's own
histogram.
"""

import asyncio
import time

from bench.stage import STAYS_NORMAL, lake_of, peak_memory_mib, process_of, stage
from k2_streams.testing.client import HttpClient
from k2_streams.testing.local.workers import LocalWorker
from k2_streams.testing.waiting import wait_until

MESSAGES = 1_000_000
RATE = 10_000
PACED_S = 20
#: The paced part is sent for so long.
_BUCKET = 'k2_stream_pace_error_seconds_bucket{le="'


async def _read_s(url: str) -> float:
    """Seconds to the end of an answer."""
    began = time.perf_counter()
    async with HttpClient(timeout_s=600) as client:
        answer = await client.drain(url)
    if answer.status != 200:
        raise RuntimeError(answer.body.decode())
    return time.perf_counter() - began


def _late_s(worker: LocalWorker, share: float) -> float:
    """The smallest bound of the histogram that so large a share of the rows kept."""
    lines = worker.fetch("/metrics").body.decode().splitlines()
    bounds = [
        (line.removeprefix(_BUCKET).split('"')[0], float(line.rpartition(" ")[2]))
        for line in lines
        if line.startswith(_BUCKET)
    ]
    _, every = bounds[-1]
    return next(float(bound) for bound, count in bounds if count >= share * every)


def run(messages: int = MESSAGES, rate: int = RATE, paced_s: int = PACED_S) -> dict[str, float]:
    """Rows per second, and the bound that the error of 99 % of the paced frames kept."""
    with stage() as at:
        worker = at.start(0, **STAYS_NORMAL).wait_ready()
        at.produce("--messages", str(messages), "--seed", "1", "--symbols", "100")
        lake = lake_of(at)
        wait_until(lambda: lake.head().rows >= messages, "all rows in the lake", 300, 0.5)
        stream = f"{worker.url}/v1/trades/stream?from=begin&to=end"
        arrow_s = asyncio.run(_read_s(f"{stream}&format=arrow"))
        sse_s = asyncio.run(_read_s(f"{stream}&format=sse"))
        memory_mib = peak_memory_mib(process_of(worker))
        began_ns = time.time_ns()
        at.produce("--rate", str(rate), "--duration", str(paced_s), "--seed", "2", "--start", "now")
        paced = f"from={began_ns}&to=end&clock=accepted&speed=1&format=arrow"
        wait_until(lambda: worker.get("/v1/status")["lag_records"] == 0, "all processed", 60, 0.5)
        asyncio.run(_read_s(f"{worker.url}/v1/trades/stream?{paced}"))
        late_s = _late_s(worker, 0.99)
        worker.stop()
    return {
        "rows": float(messages),
        "rows per second, Arrow": messages / arrow_s,
        "rows per second, SSE": messages / sse_s,
        "peak MiB": memory_mib,
        "pace error p99 at most ms": late_s * 1e3,
    }
