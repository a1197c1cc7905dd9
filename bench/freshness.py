"""From a producer's send to the first HTTP answer with the row, one clock.

A background stream of `rate` messages per second runs beside. A probe of a symbol of its own is
sent about four times per second, and asked for every 10 ms until it is seen: questions all the time
would take a core, and what they delay would be measured with the rest. By stage: broker (send to
append), checkpoint (append to the transaction's accepted time), tail (accepted to visible, without
the query), query (the answer's own time). What the questions cost is the difference of the worker's
CPU with and without them.
"""

import asyncio
import itertools
import random
import time
from typing import Any

import msgspec
import psutil
from aiokafka import AIOKafkaProducer

from bench.stage import cpu_s, percentile, process_of, stage
from k2_streams.kafka.topics import RAW
from k2_streams.testing.client import HttpClient
from k2_streams.web.declaration.times import parse_time

PROBE = "PROBE"
POLL_S = 0.01
#: Between two probes about; checkpoints come at an interval of their own.
PROBE_EVERY_S = 0.25
#: No row is visible sooner.
FIRST_POLL_S = 0.03
#: A probe that is not seen by then is an error.
SEEN_WITHIN_S = 10.0
#: The stream reaches its rate, and the JVM compiles what is hot.
WARM_UP_S = 15.0
#: Of the worker's CPU without a question.
ALONE_S = 10.0


def _message(number: int, now_ns: int) -> bytes:
    return msgspec.json.encode(
        {
            "exchange": "BENCH",
            "symbol": PROBE,
            "price": "1",
            "quantity": "1",
            "sequence": number,
            "exchange_time_ns": now_ns,
        }
    )


async def _seen(client: HttpClient, question: str, number: int) -> tuple[dict[str, Any], int]:
    """Ask until a probe's row is in an answer; the answer, and when it came."""
    async with asyncio.timeout(SEEN_WITHIN_S):
        while True:
            started = time.monotonic()
            answer = await client.get(question)
            now_ns = time.time_ns()
            if answer.status == 200:
                found: dict[str, Any] = msgspec.json.decode(answer.body)
                if found["data"] and found["data"][0]["sequence"] == number:
                    return found, now_ns
            await asyncio.sleep(max(POLL_S - (time.monotonic() - started), 0))


async def _measure(bootstrap: str, url: str, seconds: float) -> dict[str, list[float]]:
    stages: dict[str, list[float]] = {
        name: [] for name in ("total", "broker", "checkpoint", "tail", "query")
    }
    question = f"{url}/v1/trades?symbol={PROBE}&order=desc&limit=1&window=2s"
    chance = random.Random(1)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        async with HttpClient() as client:
            end_s = time.monotonic() + seconds
            for number in itertools.count(1):
                if time.monotonic() > end_s:
                    return stages
                sent_ns = time.time_ns()
                await producer.send(RAW, _message(number, sent_ns), f"BENCH:{PROBE}".encode())
                await asyncio.sleep(FIRST_POLL_S)
                found, seen_ns = await _seen(client, question, number)
                row, query_ms = found["data"][0], found["meta"]["elapsed_ms"]
                appended_ns = parse_time(row["ingest_time"])
                accepted_ns = parse_time(row["accepted_time"])
                stages["total"].append((seen_ns - sent_ns) / 1e6)
                stages["broker"].append((appended_ns - sent_ns) / 1e6)
                stages["checkpoint"].append((accepted_ns - appended_ns) / 1e6)
                stages["tail"].append((seen_ns - accepted_ns) / 1e6 - query_ms)
                stages["query"].append(query_ms)
                await asyncio.sleep(PROBE_EVERY_S * chance.uniform(0.5, 1.5))
    finally:
        await producer.stop()
    return stages


def _cores(process: psutil.Process, since_s: float, cpu_before_s: float) -> float:
    return (cpu_s(process) - cpu_before_s) / (time.monotonic() - since_s)


def run(rate: int = 10_000, seconds: float = 60.0) -> dict[str, float]:
    """p50 and p99 in milliseconds, in all and by stage; cores that the worker takes."""
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
            stages = asyncio.run(_measure(at.bootstrap, worker.url, seconds))
            asked = _cores(process, began_s, before_s)
        finally:
            producer.terminate()
            producer.wait()
        figures = {"probes": float(len(stages["total"]))}
        for name, values in stages.items():
            figures[f"{name} p50 ms"] = percentile(values, 0.5)
            figures[f"{name} p99 ms"] = percentile(values, 0.99)
        figures["cores of the worker, not asked"] = alone
        figures["cores of the worker, asked"] = asked
        worker.stop()
        return figures
