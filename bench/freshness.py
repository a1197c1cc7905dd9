"""From a producer's send to the first HTTP answer with the row, by stage (`testing/local/latency`).

A background stream of `rate` messages per second runs beside. What the questions cost is the
difference of the worker's CPU with and without them.
"""

import asyncio
import time

import psutil

from bench.stage import cpu_s, process_of, stage
from k2_streams.testing.local.latency import measure, summaries

#: The stream reaches its rate, and the JVM compiles what is hot.
WARM_UP_S = 15.0
#: Of the worker's CPU without a question.
ALONE_S = 10.0


def _cores(process: psutil.Process, since_s: float, cpu_before_s: float) -> float:
    return (cpu_s(process) - cpu_before_s) / (time.monotonic() - since_s)


def run(rate: int = 10_000, seconds: float = 60.0) -> dict[str, float]:
    """Mean (they add up), p50 and p99 in ms, in all and by stage; cores that the worker takes."""
    with stage() as at:
        worker = at.start().wait_ready()
        process = process_of(worker)
        producer = at.start_produce(
            at.directory / "truth.jsonl.gz",
            "--rate",
            str(rate),
            "--duration",
            str(seconds + WARM_UP_S + ALONE_S + 3),
        )
        try:
            time.sleep(WARM_UP_S)
            began_s, before_s = time.monotonic(), cpu_s(process)
            time.sleep(ALONE_S)
            alone = _cores(process, began_s, before_s)
            began_s, before_s = time.monotonic(), cpu_s(process)
            found = asyncio.run(measure(at.bootstrap, worker.url, seconds))
            asked = _cores(process, began_s, before_s)
        finally:
            producer.terminate()
            producer.wait()
        figures = {"probes": float(len(found))}
        for name, of in summaries(found).items():
            figures[f"{name} mean ms"] = of.mean_ms
            figures[f"{name} p50 ms"] = of.p50_ms
            figures[f"{name} p99 ms"] = of.p99_ms
        figures["cores of the worker, not asked"] = alone
        figures["cores of the worker, asked"] = asked
        worker.stop()
        return figures
