"""A record that a plug-in, or K2's own code, fails on: it costs itself, and a person is told."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from conftest import ROOT, Cluster, eventually  # type: ignore[import-not-found]
from test_bad_input import HOME, KEY, read, trade  # type: ignore[import-not-found]

from k2_streams.feeds.plugins import GROUP
from k2_streams.kafka.topics import DEAD_LETTER, RAW
from k2_streams.testing.client import StatusError

pytestmark = pytest.mark.integration

PLUGIN = """
from k2_streams.feeds.canonical.feed import Canonical


class Fragile(Canonical):
    name = "fragile.v1"

    def decode(self, batch):
        if any(b"poison" in value for value in batch.values if value):
            raise KeyError("a case that nobody thought of")
        return super().decode(batch)
"""
FEED = ("feed", b"fragile.v1")


def plug_in(folder: Path) -> str:
    """A package with a feed, installed there; the value of PYTHONPATH that finds it."""
    (folder / "fragile_feed.py").write_text(PLUGIN)
    about = folder / "fragile_feed-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: fragile-feed\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        f"[{GROUP}.trades]\nfragile.v1 = fragile_feed:Fragile\n"
    )
    return os.pathsep.join([str(folder), os.environ.get("PYTHONPATH") or str(ROOT)])


async def send(bootstrap: str, records: list[tuple[bytes, list[tuple[str, bytes | None]]]]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        for value, headers in records:
            await producer.send(RAW, value, KEY, partition=HOME, headers=headers)
        await producer.flush()
    finally:
        await producer.stop()


def test_records_that_raise_cost_themselves_alone(k2: Cluster, tmp_path: Path) -> None:
    """In a plug-in and by failpoint in K2's own code, among records of both and odd headers."""
    folder = tmp_path / "plug-in"
    folder.mkdir()
    path = plug_in(folder)
    poison = trade(50, vendor={"x": "poison"})
    records: list[tuple[bytes, list[tuple[str, bytes | None]]]] = []
    for number in range(100):
        match number:
            case 50:
                records.append((poison, [FEED]))
            case 20:
                records.append((trade(number), [("feed", None)]))
            case 30:
                records.append((trade(number), [("line", None), ("", b""), ("odd", b"\xff")]))
            case 40:
                records.append((trade(number), [("feed", b"nobody"), FEED]))
            case _:
                records.append((trade(number), [FEED] if number % 3 else []))
    failures: list[dict[str, Any]] = []
    settings = {"PYTHONPATH": path, "K2_FAILPOINTS": f"source.rows=raise-on:{HOME}/70"}
    with k2.worker(**settings) as worker:
        asyncio.run(send(k2.bootstrap, records))

        def rows() -> int:
            failure = worker.get("/v1/status")["partitions"].get(str(HOME), {}).get("failure")
            if failure and failure not in failures:
                failures.append(failure)
            try:
                return len(worker.get("/v1/trades?symbol=A")["data"])
            except StatusError:  # the symbol is not known before its first row
                return 0

        eventually(lambda: rows() == 98, 120, "all but two records")
        worker.wait_ready()
        restarts = worker.log_file.read_text().count("task took over")
        # Within reach of the last one, a further one is found at once.
        asyncio.run(send(k2.bootstrap, [(trade(100, vendor={"x": "poison"}), [FEED])]))
        asyncio.run(send(k2.bootstrap, [(trade(101), [])]))
        eventually(lambda: rows() == 99, 60, "the record behind it")
        assert worker.log_file.read_text().count("task took over") == restarts
        answer = worker.get("/v1/trades?symbol=A")
        log = worker.log_file.read_text()
    letters = asyncio.run(read(k2.bootstrap, DEAD_LETTER))
    said = [dict(letter.headers) for letter in letters]
    assert {one["k2.reason"] for one in said} == {b"processing-error"}
    assert sorted(int(one["k2.offset"]) for one in said) == [50, 70, 100]
    assert b"KeyError: 'a case that nobody thought of' (feed fragile.v1)" in {
        one["k2.detail"] for one in said
    }
    # The number that the failpoint's record has was read; the plug-in's were not.
    assert answer["meta"]["complete"] is False
    assert failures
    assert failures[0]["topic"] == RAW
    assert failures[0]["offset"] <= 50 <= failures[0]["last_offset"]
    assert failures[-1]["dead_letter"]
    assert "record refused" in log
    assert "KeyError" in log
