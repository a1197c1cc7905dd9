"""Single records, sent into the raw topic by hand: trades with chosen numbers, or anything."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec

from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.sender import Headers, Sender, partitions_of
from k2_streams.kafka.topics import RAW

Trade = dict[str, Any]
KeyedRecord = tuple[bytes, bytes | None, Headers]


def trade(exchange: str, symbol: str, sequence: int, **fields: Any) -> Trade:
    """In the canonical format; `fields` are added or replace what is here."""
    return {
        "exchange": exchange,
        "symbol": symbol,
        "sequence": sequence,
        "price": "42.10",
        "quantity": "100",
        "exchange_time_ns": SYSTEM_CLOCK.time_ns(),
        **fields,
    }


def record_of(one: Trade, line: str | None = None) -> KeyedRecord:
    """The record of a trade, and of the line that brings it."""
    headers = [("line", line.encode())] if line else []
    return f"{one['exchange']}:{one['symbol']}".encode(), msgspec.json.encode(one), headers


def send(bootstrap: str, records: Iterable[KeyedRecord]) -> float:
    """Send records, each to the partition of its key; the moment of the last acknowledgement.

    Raises:
        NotAcknowledgedError: one may not have arrived.
    """
    return asyncio.run(_send(KafkaConfig(bootstrap=bootstrap), list(records)))


async def _send(config: KafkaConfig, records: list[KeyedRecord]) -> float:
    async with Sender(config, RAW, await partitions_of(config, RAW)) as sender:
        batches: defaultdict[int, list[KeyedRecord]] = defaultdict(list)
        for record in records:
            batches[sender.partition_of(record[0])].append(record)
        for partition, batch in batches.items():
            await sender.send(partition, batch, SYSTEM_CLOCK.time_ns() // 1_000_000)
        await sender.finish()
        return time.monotonic()
