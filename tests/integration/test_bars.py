"""The example `bars` on a real broker, killed again and again: each bar once, and exact."""

import asyncio
from collections import Counter
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from bars_model import NAMES, bars_of
from conftest import PARTITIONS, Cluster, eventually  # type: ignore[import-not-found]
from log_rows import rows_of_log

from k2_streams.lake.catalog import open_catalog
from k2_streams.testing.local.workers import LocalWorker

pytestmark = pytest.mark.integration

RATE = 2_000
#: A minute of event time passes in a quarter of a second or so.
EVENTS_PER_S = 8
#: Until the killed worker is ready again, with time to spare.
SECONDS_PER_KILL = 5


def bars_in(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in NAMES) for row in rows]


def has_processed(bars: LocalWorker, trades: LocalWorker) -> bool:
    """Whether the answers hold what follows from all accepted trades."""
    ends = trades.get("/v1/trades?limit=1")["meta"]["offsets"]
    marks = bars.get("/v1/status")["streams"]["bars_1m"]["watermark"]
    return all(marks.get(partition, 0) >= end for partition, end in ends.items())


def answered(bars: LocalWorker) -> Counter[tuple[Any, ...]]:
    """All rows of `/v1/bars_1m`, page by page."""
    found: Counter[tuple[Any, ...]] = Counter()
    path = "/v1/bars_1m?limit=20000"
    cursor = ""
    while True:
        answer = bars.get(path + cursor)
        for row in answer["data"]:
            prices = {name: Decimal(row[name]) for name in NAMES[3:8]}
            found[tuple((row | prices)[name] for name in NAMES)] += 1
        if answer["meta"]["next_cursor"] is None:
            return found
        cursor = f"&cursor={answer['meta']['next_cursor']}"


@pytest.mark.parametrize(
    "kills", [2, pytest.param(20, marks=pytest.mark.long)], ids=lambda kills: f"{kills} kills"
)
def test_bars_through_kills_are_what_all_their_trades_give(k2: Cluster, kills: int) -> None:
    """In the topic in their order, in the table and in the answers: none lost, none twice."""
    bars = k2.worker(app="topologies.examples.bars")
    messages = RATE * (4 + SECONDS_PER_KILL * kills)
    with k2.worker() as trades, bars:
        producer = k2.spawn(
            "produce", "--rate", str(RATE), "--event-rate", str(EVENTS_PER_S), "--messages",
            str(messages), "--symbols", "20", "--seed", "11", "--gaps", "0.001", "--late", "0.01",
            "--disorder", "0.01", "--duplicates", "0.01",
        )  # fmt: skip
        for _ in range(kills):
            bars.wait_ready()
            bars.kill()
            bars.start()
        bars.wait_ready()
        output, _ = producer.communicate(timeout=300)
        assert producer.returncode == 0, output
        eventually(lambda: k2.has_answered_all(trades), what="trades accepted")
        eventually(lambda: has_processed(bars, trades), within_s=120, what="bars")
        accepted = asyncio.run(rows_of_log(k2.bootstrap, "k2.trades", PARTITIONS))
        found = asyncio.run(rows_of_log(k2.bootstrap, "k2.bars_1m", PARTITIONS))
        assert {at: bars_in(rows) for at, rows in found.items()} == {
            at: bars_of(rows) for at, rows in accepted.items()
        }
        every = Counter(bar for rows in found.values() for bar in bars_in(rows))
        assert sum(every.values()) == len(every) > 300
        assert any(bar[-1] > 0 for bar in every), "no bar was revised"
        assert answered(bars) == every

        def table() -> pa.Table:
            return open_catalog(k2.lake).load_table(("k2", "bars_1m")).scan().to_arrow()

        eventually(lambda: len(table()) >= len(every), within_s=60, what="bars in the lake")
        assert Counter(bars_in(table().to_pylist())) == every
