"""From a producer's send to the first answer with the row, stage by stage, on one machine's clock.

A message of a symbol of its own is sent about four times per second, and asked for every 10 ms
until it is seen: questions all the time would take a core, and what they delay would be measured
with the rest. The stages of a message follow each other, so they add up to its total:

    broker      from the send to the broker's append time
    checkpoint  from the append to the accepted time of the row: fetch, processing, and the wait for
                the checkpoint
    tail        from the accepted time to an answer with the row, without the query: the transaction
                commits, and the row reaches the tail
    query       the answer's own time
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.sender import Sender, partitions_of
from k2_streams.kafka.topics import RAW
from k2_streams.testing.client import HttpClient

STAGES = ("broker", "checkpoint", "tail", "query")
EXCHANGE, SYMBOL = "LATENCY", "PROBE"
ASK_EVERY_S = 0.01
#: Between two messages about; checkpoints come at an interval of their own.
SEND_EVERY_S = 0.25
#: No row is visible sooner.
FIRST_QUESTION_S = 0.03
#: A message that is not seen by then is an error.
SEEN_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class StageTimes:
    """How long one message took, in milliseconds: in all, and by stage in the order of `STAGES`."""

    total_ms: float
    stages_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class StageSummary:
    """Of many messages: the mean, which adds up over the stages, and what bounds most of them."""

    mean_ms: float
    p50_ms: float
    p99_ms: float


def summaries(found: Sequence[StageTimes]) -> dict[str, StageSummary]:
    """By stage, in their order, and of the `total`; of at least one message."""
    by_name = dict(zip(STAGES, zip(*(one.stages_ms for one in found), strict=True), strict=True))
    by_name["total"] = tuple(one.total_ms for one in found)
    return {
        name: StageSummary(
            float(np.mean(values)),
            float(np.percentile(values, 50)),
            float(np.percentile(values, 99)),
        )
        for name, values in by_name.items()
    }


async def measure(bootstrap: str, url: str, seconds: float) -> list[StageTimes]:
    """Send and ask for some seconds; the times of each message.

    Raises:
        TimeoutError: one was not seen in an answer.
    """
    config, key = KafkaConfig(bootstrap=bootstrap), f"{EXCHANGE}:{SYMBOL}".encode()
    chance = random.Random(1)  # noqa: S311 - no secret
    found: list[StageTimes] = []
    partitions = await partitions_of(config, RAW)
    async with Sender(config, RAW, partitions) as sender, HttpClient() as client:
        partition = sender.partition_of(key)
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            number, sent_ns = len(found) + 1, time.time_ns()
            message = _message(number, sent_ns)
            await sender.send(partition, [(key, message, [])], sent_ns // 1_000_000)
            await asyncio.sleep(FIRST_QUESTION_S)
            found.append(await _seen(client, url, number))
            await asyncio.sleep(SEND_EVERY_S * chance.uniform(0.5, 1.5))
        await sender.finish()
    return found


def _message(number: int, now_ns: int) -> bytes:
    return msgspec.json.encode(
        {
            "exchange": EXCHANGE,
            "symbol": SYMBOL,
            "price": "1",
            "quantity": "1",
            "sequence": number,
            "exchange_time_ns": now_ns,
        }
    )


async def _seen(client: HttpClient, url: str, number: int) -> StageTimes:
    """Ask until the row of a message is in an answer."""
    question = f"{url}/v1/trades?exchange={EXCHANGE}&symbol={SYMBOL}&order=desc&limit=1&window=2s"
    async with asyncio.timeout(SEEN_WITHIN_S):
        while True:
            started = time.monotonic()
            answer = await client.get(question)
            seen_ms = time.time_ns() / 1e6
            if answer.status == 200:
                found = msgspec.json.decode(answer.body)
                rows: list[dict[str, Any]] = found["data"]
                if rows and rows[0]["sequence"] == number:
                    return _times(rows[0], seen_ms, found["meta"]["elapsed_ms"])
            await asyncio.sleep(max(ASK_EVERY_S - (time.monotonic() - started), 0))


def _times(row: dict[str, Any], seen_ms: float, query_ms: float) -> StageTimes:
    sent_ms = row["exchange_time_ns"] / 1e6
    appended_ms, accepted_ms = (
        datetime.fromisoformat(row[name]).timestamp() * 1e3
        for name in ("ingest_time", "accepted_time")
    )
    return StageTimes(
        seen_ms - sent_ms,
        (
            appended_ms - sent_ms,
            accepted_ms - appended_ms,
            seen_ms - accepted_ms - query_ms,
            query_ms,
        ),
    )
