"""From a producer's send to the first HTTP answer with the row, polled every 10 ms, one clock.

A background stream of `rate` messages per second runs beside; probes of a symbol of their own are
sent every 100 ms. By stage: broker (send to append), checkpoint (append to the transaction's
accepted time), tail (accepted to visible, without the query), query (the answer's own time).
"""

import asyncio
import time
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer

from bench.stage import percentile, stage
from k2_streams.kafka.topics import RAW
from k2_streams.testing.client import HttpClient
from k2_streams.web.declaration.times import parse_time

PROBE = "PROBE"
POLL_S = 0.01
PROBE_EVERY_S = 0.1
#: The stream reaches its rate, and the JVM compiles what is hot.
WARM_UP_S = 15.0


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


async def _send(bootstrap: str, seconds: float) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        end, number = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            number += 1
            await producer.send(RAW, _message(number, time.time_ns()), f"BENCH:{PROBE}".encode())
            await asyncio.sleep(PROBE_EVERY_S)
    finally:
        await producer.stop()


async def _watch(
    url: str, seconds: float, seen: dict[int, tuple[dict[str, Any], int, float]]
) -> None:
    end = time.monotonic() + seconds
    question = f"{url}/v1/trades?symbol={PROBE}&order=desc&limit=20&window=2s"
    async with HttpClient() as client:
        while time.monotonic() < end:
            started = time.monotonic()
            answer = await client.get(question)
            if answer.status == 200:
                found = msgspec.json.decode(answer.body)
                now_ns = time.time_ns()
                for row in found["data"]:
                    seen.setdefault(row["sequence"], (row, now_ns, found["meta"]["elapsed_ms"]))
            await asyncio.sleep(max(POLL_S - (time.monotonic() - started), 0))


async def _measure(bootstrap: str, url: str, seconds: float) -> dict[str, list[float]]:
    seen: dict[int, tuple[dict[str, Any], int, float]] = {}
    await asyncio.gather(_send(bootstrap, seconds), _watch(url, seconds + 3, seen))
    stages: dict[str, list[float]] = {
        name: [] for name in ("total", "broker", "checkpoint", "tail", "query")
    }
    for row, seen_ns, query_ms in seen.values():
        sent = row["exchange_time_ns"]
        appended = parse_time(row["ingest_time"]) if row["ingest_time"] else 0
        accepted = parse_time(row["accepted_time"]) if row["accepted_time"] else 0
        stages["total"].append((seen_ns - sent) / 1e6)
        stages["broker"].append((appended - sent) / 1e6)
        stages["checkpoint"].append((accepted - appended) / 1e6)
        stages["tail"].append((seen_ns - accepted) / 1e6 - query_ms)
        stages["query"].append(query_ms)
    return stages


def run(rate: int = 10_000, seconds: float = 60.0) -> dict[str, float]:
    """p50 and p99 in milliseconds, in all and by stage."""
    with stage() as at:
        worker = at.start().wait_ready()
        producer = at.start_produce(
            at.directory / "truth.jsonl.gz",
            "--rate",
            str(rate),
            "--duration",
            str(seconds + WARM_UP_S + 3),
        )
        try:
            time.sleep(WARM_UP_S)
            stages = asyncio.run(_measure(at.bootstrap, worker.url, seconds))
        finally:
            producer.terminate()
            producer.wait()
        figures = {"probes": float(len(stages["total"]))}
        for name, values in stages.items():
            figures[f"{name} p50 ms"] = percentile(values, 0.5)
            figures[f"{name} p99 ms"] = percentile(values, 0.99)
        worker.stop()
        return figures
