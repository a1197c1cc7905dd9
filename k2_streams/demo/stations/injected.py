"""Single trades with chosen numbers, lines and corrections, sent into the raw topic by hand."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec

from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.sender import Record, Sender, partitions_of
from k2_streams.kafka.topics import RAW

Trade = dict[str, Any]


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


def send(bootstrap: str, trades: Iterable[tuple[Trade, str | None]]) -> float:
    """Send trades, each with the line that brings it; the moment of the last acknowledgement.

    Raises:
        NotAcknowledgedError: one may not have arrived.
    """
    return asyncio.run(_send(KafkaConfig(bootstrap=bootstrap), list(trades)))


async def _send(config: KafkaConfig, trades: list[tuple[Trade, str | None]]) -> float:
    async with Sender(config, RAW, await partitions_of(config, RAW)) as sender:
        records: defaultdict[int, list[Record]] = defaultdict(list)
        for one, line in trades:
            key = f"{one['exchange']}:{one['symbol']}".encode()
            headers = [("line", line.encode())] if line else []
            records[sender.partition_of(key)].append((key, msgspec.json.encode(one), headers))
        for partition, batch in records.items():
            await sender.send(partition, batch, SYSTEM_CLOCK.time_ns() // 1_000_000)
        await sender.finish()
        return time.monotonic()
