"""Messages already in Kafka, one worker: first record to last row committed in Iceberg.

Beside it, in the same run, the ceiling: aiokafka reading the same topic and msgspec parsing each
value, with nothing done to them.
"""

import asyncio
import statistics
import time
from collections.abc import Callable, Mapping

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.stage import (
    STAYS_NORMAL,
    cpu_s,
    lake_of,
    partitions_of,
    peak_memory_mib,
    process_of,
    stage,
)
from k2_streams.kafka.topics import RAW
from k2_streams.testing.local.stage import Stage
from k2_streams.testing.waiting import wait_until

RUNS = 3


class _Trade(msgspec.Struct):
    exchange: str
    symbol: str
    price: str
    quantity: str
    exchange_time_ns: int
    sequence: int | None = None
    trade_id: str | None = None


async def _ceiling(bootstrap: str, messages: int, partitions: int) -> float:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(RAW, partition) for partition in range(partitions)])
        decoder, seen, started = msgspec.json.Decoder(_Trade), 0, time.monotonic()
        while seen < messages:
            for records in (await consumer.getmany(timeout_ms=500, max_records=8_192)).values():
                for record in records:
                    decoder.decode(record.value)
                seen += len(records)
        return messages / (time.monotonic() - started)
    finally:
        await consumer.stop()


def once(
    at: Stage,
    messages: int,
    *arguments: str,
    settings: Mapping[str, str] | None = None,
    last_look: Callable[[str], None] | None = None,
) -> dict[str, float]:
    """So many messages, sent with these arguments, worked by a worker with these settings.

    `last_look` is called with its address before it is stopped.
    """
    at.produce("--messages", str(messages), "--seed", "1", *arguments)
    ceiling = asyncio.run(_ceiling(at.bootstrap, messages, 4))
    worker = at.start(0, **{"K2_LAKE_COMMIT_INTERVAL_S": "2", **STAYS_NORMAL, **(settings or {})})
    process = process_of(worker)

    started = wait_until(
        lambda: any(part["next_offset"] for part in partitions_of(worker)),
        "the first record",
        120,
        0.02,
    )
    cpu_before, lake = cpu_s(process), lake_of(at)
    wait_until(lambda: partitions_of(worker) and lake.head().rows >= messages, "all rows", 600, 0.2)
    elapsed = time.monotonic() - started
    figures = {
        "msg/s": messages / elapsed,
        "of the ceiling": messages / elapsed / ceiling,
        "ceiling msg/s": ceiling,
        "CPU s/M": (cpu_s(process) - cpu_before) / messages * 1e6,
        "peak MiB": peak_memory_mib(process),
    }
    if last_look is not None:
        last_look(worker.url)
    worker.stop()
    return figures


def run(messages: int = 2_000_000, runs: int = RUNS) -> dict[str, float]:
    """Medians over the runs, each on a stage of its own."""
    found = []
    for _ in range(runs):
        with stage() as at:
            found.append(once(at, messages))
    return {name: statistics.median(one[name] for one in found) for name in found[0]}
