"""Cancels and corrections through the whole platform: as reported, and as they stand."""

import asyncio
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from conftest import PARTITIONS, Cluster, eventually  # type: ignore[import-not-found]

from k2_streams.core.records.partitioner import partition_of
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.testing.local.workers import LocalWorker

pytestmark = pytest.mark.integration

T0 = 1_750_000_000_000_000_000
KEY = b"SIM:ABC"
QUESTION = "/v1/trades?symbol=ABC"


def trade(number: int, price: str, **more: Any) -> bytes:
    fields = {
        "exchange": "SIM", "symbol": "ABC", "price": price, "quantity": "1", "sequence": number,
        "exchange_time_ns": T0 + number, "trade_id": f"T{number}",
    }  # fmt: skip
    return json.dumps(fields | more).encode()


#: A correction before its trade, a cancel of a correction, a correction of a cancelled trade, of an
#: unknown one, two of the same, and one that repeats its trade's id.
FIRST = [
    trade(1, "10"),
    trade(2, "20"),
    trade(3, "31", action="correct", ref_trade_id="T4", exchange_time_ns=T0 + 4),
    trade(4, "30"),
    trade(5, "21", action="correct", ref_trade_id="T2", exchange_time_ns=T0 + 2),
    trade(6, "50"),
]
SECOND = [
    trade(7, "50", action="cancel", ref_trade_id="T6"),
    trade(8, "51", action="correct", ref_trade_id="T6"),
    trade(9, "90", action="correct", ref_trade_id="T99"),
    trade(10, "22", action="correct", ref_trade_id="T5", exchange_time_ns=T0 + 2),
    trade(11, "11", action="correct", ref_trade_id="T1", trade_id="T1", exchange_time_ns=T0 + 1),
]
REPORTED = len(FIRST) + len(SECOND)
STANDS = [Decimal(price) for price in ("11", "22", "31", "90")]


async def send(bootstrap: str, values: Sequence[bytes]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        for value in values:
            home = partition_of(KEY, PARTITIONS)
            await producer.send_and_wait(TRADES_INPUT.raw, value, KEY, home)
    finally:
        await producer.stop()


def prices(answer: dict[str, Any]) -> list[Decimal]:
    return [Decimal(row["price"]) for row in answer["data"]]


def known(worker: LocalWorker) -> bool:
    return bool(worker.get("/v1/symbols")["data"])


def in_lake(worker: LocalWorker) -> int:
    rows: int = worker.get(QUESTION)["meta"]["rows_lake"]
    return rows


def test_trades_as_reported_and_as_corrected(k2: Cluster) -> None:
    """The trades in the lake, half of the corrections in the tail; then all in the lake."""
    with k2.worker() as worker:
        asyncio.run(send(k2.bootstrap, FIRST))
        eventually(lambda: known(worker) and in_lake(worker) == len(FIRST))
        before = worker.get(f"{QUESTION}&view=corrected")
        assert prices(before) == [Decimal(price) for price in ("10", "21", "31", "50")]
        asyncio.run(send(k2.bootstrap, SECOND))
        eventually(lambda: len(worker.get(QUESTION)["data"]) == REPORTED)
        assert prices(worker.get(f"{QUESTION}&view=corrected")) == STANDS
        pinned = f"{QUESTION}&view=corrected&as_of={before['meta']['token']}"
        assert worker.get(pinned)["data"] == before["data"]
        eventually(lambda: in_lake(worker) == REPORTED)
        paged, cursor = [], None
        while True:
            page = worker.get(
                f"/v1/trades?cursor={cursor}" if cursor else f"{QUESTION}&view=corrected&limit=3"
            )
            paged += prices(page)
            cursor = page["meta"]["next_cursor"]
            if cursor is None:
                break
        assert paged == STANDS
        reported = worker.get(QUESTION)["data"]
        refs = {row["ref_message_id"] for row in reported if row["action"]}
        assert "SIM|ABC|0|t:T6" in refs
        assert len({row["message_id"] for row in reported}) == REPORTED
        assert worker.get("/v1/gaps")["data"] == []
