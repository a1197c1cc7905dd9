"""Redundant lines the whole way: what one loses the other brings, and what both lose is a gap."""

import asyncio
import json
import time
import urllib.error
import urllib.request
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from conftest import PARTITIONS, Cluster, eventually  # type: ignore[import-not-found]

from k2_streams.core.records.partitioner import partition_of
from k2_streams.kafka.topics import RAW

pytestmark = pytest.mark.integration

COUNT = 3_000
SYMBOLS = ["AA", "BB", "CC"]
#: Numbers that a line loses; those in both are lost on all lines.
LOST = {"A": {7, 8, 100, *range(200, 230)}, "B": {5, 6, 100, 101, *range(215, 240)}}


async def _send(bootstrap: str, start: int, end: int) -> None:
    """Line A, and line B some numbers behind; both send the first and the last number."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    behind = {"A": 0, "B": 9}
    for turn in range(start, end + behind["B"] + 1):
        for line, late in behind.items():
            number = turn if turn == start else turn - late
            if (
                not start <= number <= end
                or number in LOST[line]
                or (late and turn == start + late)
            ):
                continue
            for symbol in SYMBOLS:
                key = f"X:{symbol}".encode()
                value = {
                    "exchange": "X", "symbol": symbol, "price": "1", "quantity": "1",
                    "sequence": number, "exchange_time_ns": time.time_ns(),
                }  # fmt: skip
                await producer.send(
                    RAW,
                    json.dumps(value).encode(),
                    key,
                    partition=partition_of(key, PARTITIONS),
                    headers=[("line", line.encode())],
                )
    await producer.stop()


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - loopback
        return json.loads(answer.read())


def _rows(url: str) -> int:
    try:
        return len(_get(url)["data"])
    except urllib.error.HTTPError as error:
        assert error.code == 404, error  # noqa: PT017 - the symbol is not known yet
        return 0


def test_what_one_line_loses_the_other_brings_through_a_kill(k2: Cluster) -> None:
    """Rows, gaps, no late row; and figures of both lines."""
    worker = k2.worker().start().wait_ready()
    asyncio.run(_send(k2.bootstrap, 1, COUNT // 2))
    worker.kill()
    worker.start().wait_ready()
    asyncio.run(_send(k2.bootstrap, COUNT // 2 + 1, COUNT))
    lost = sorted(LOST["A"] & LOST["B"])
    for symbol in SYMBOLS:
        url = f"{worker.url}/v1/trades?symbol={symbol}&limit=10000"
        eventually(lambda url=url: _rows(url) == COUNT - len(lost), what="all rows")
        rows = _get(url)["data"]
        assert sorted(row["sequence"] for row in rows) == sorted(
            set(range(1, COUNT + 1)) - set(lost)
        )
        assert not any(row["late"] for row in rows)
        gaps = _get(f"{worker.url}/v1/gaps?symbol={symbol}")["data"]
        assert [(gap["first"], gap["last"], gap["state"]) for gap in gaps] == [
            (100, 100, "open"),
            (215, 229, "open"),
        ]
    answer = _get(f"{worker.url}/v1/lines")
    assert (answer["partitions"], answer["complete"]) == (list(range(PARTITIONS)), True)
    a, b = answer["lines"]
    assert (a["line"], a["received"]) == ("A", len(SYMBOLS) * (COUNT - len(LOST["A"])))
    assert (b["line"], b["received"]) == ("B", len(SYMBOLS) * (COUNT - len(LOST["B"])))
    assert a["first"] + b["first"] == len(SYMBOLS) * (COUNT - len(lost))
    assert a["first"] > b["first"] >= len(SYMBOLS) * len(LOST["A"] - LOST["B"])
    worker.stop()


async def _send_numbers(bootstrap: str, messages: list[tuple[str, int]]) -> None:
    """Numbers of one symbol, by line."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    for line, number in messages:
        value = {
            "exchange": "X", "symbol": "QUIET", "price": "1", "quantity": "1",
            "sequence": number, "exchange_time_ns": time.time_ns(),
        }  # fmt: skip
        await producer.send_and_wait(
            RAW,
            json.dumps(value).encode(),
            b"X:QUIET",
            partition=partition_of(b"X:QUIET", PARTITIONS),
            headers=[("line", line.encode())],
        )
    await producer.stop()


@pytest.mark.long
def test_a_gap_is_told_though_nothing_comes_any_more(k2: Cluster) -> None:
    """Line B stops for good, and then everything: time alone says that 2 is missing."""
    worker = k2.worker().start().wait_ready()
    asyncio.run(_send_numbers(k2.bootstrap, [("A", 1), ("B", 1), ("A", 3)]))
    url = f"{worker.url}/v1/trades?symbol=QUIET&exchange=X"
    eventually(lambda: _rows(url) == 2, what="both rows")
    assert _get(url)["meta"]["gaps"] == []
    gaps = eventually(lambda: _get(url)["meta"]["gaps"], within_s=90, what="the gap")
    assert [(gap["first"], gap["last"], gap["state"]) for gap in gaps] == [(2, 2, "open")]
    assert _get(url)["meta"]["complete"] is False
    worker.kill()
    worker = k2.worker().start().wait_ready()
    asyncio.run(_send_numbers(k2.bootstrap, [("B", 2)]))
    url = f"{worker.url}/v1/trades?symbol=QUIET&exchange=X"
    eventually(lambda: _rows(url) == 3, what="the late row")
    assert [row["late"] for row in _get(url)["data"] if row["sequence"] == 2] == [True]
    worker.stop()
