"""Bars of a recorded week, put over both changes of the clock of three cities.

Each is compared with the plain model, and with polars where its windows are what bars are.
"""

import csv
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from bars_query_model import bars_of_rows, plain, zone_edges
from query_world import World

from k2_streams.core.query.bars.interval import parse_interval
from k2_streams.query.bars.request import BarsRequest
from k2_streams.query.engine import Engine, EngineConfig

RECORDED = Path(__file__).parents[2].parent / "shared" / "data" / "asx-2014-03"
TRADES = RECORDED / "trades" / "7078.csv"
DAY_NS = 86_400 * 10**9
#: The moments at which each clock changes: forward, and back.
CHANGES = [
    ("Australia/Sydney", "2024-10-05T16:00"),
    ("Australia/Sydney", "2025-04-05T16:00"),
    ("America/New_York", "2025-03-09T07:00"),
    ("America/New_York", "2025-11-02T06:00"),
    ("Europe/Berlin", "2025-03-30T01:00"),
    ("Europe/Berlin", "2025-10-26T01:00"),
]
RECORD_ROWS = 2_000
#: All of the week take two minutes; they agree as well.
EVERY = 24
pytestmark = [
    pytest.mark.recorded,
    pytest.mark.skipif(not TRADES.exists(), reason=f"{TRADES} is not there"),
]


def recorded():
    """Time in ns, price and quantity of the recorded trades of BHP."""
    with TRADES.open(newline="") as file:
        for day, clock, price, quantity, *_ in csv.reader(file):
            moment = datetime.strptime(f"{day} {clock}", "%m/%d/%Y %H:%M:%S.%f").replace(tzinfo=UTC)
            ns = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
            yield ns, price, quantity


@pytest.fixture(scope="module")
def trades():
    return list(recorded())[::EVERY]


def over(change, trades):
    """The trades, with the middle of their third day at the moment of a change."""
    moment = datetime.fromisoformat(change).replace(tzinfo=UTC)
    middle_ns = trades[0][0] // DAY_NS * DAY_NS + 2 * DAY_NS + DAY_NS * 13 // 24
    shift_ns = int(moment.timestamp()) * 10**9 - middle_ns
    return [(time_ns + shift_ns, price, quantity) for time_ns, price, quantity in trades]


async def world_of(folder, engine, trades):
    """Most of the trades in the lake, the last of them in the tail."""
    world = World(folder, engine, partitions=1)
    for at in range(0, len(trades), RECORD_ROWS):
        part = trades[at : at + RECORD_ROWS]
        more = {
            "price": [price for _, price, _ in part],
            "quantity": [quantity for _, _, quantity in part],
            "notional": [str(Decimal(price) * Decimal(quantity)) for _, price, quantity in part],
        }
        world.log.append(0, [("BHP", time_ns) for time_ns, _, _ in part], more=more)
        world.read_tail(0)
        if at + 2 * RECORD_ROWS < len(trades):
            world.commit()
            await world.query.refresh()
    world.clock.now_ns = trades[-1][0] + 1
    return world


async def bars(world, start_ns, end_ns, **changes):
    answer = await world.query.bars(
        BarsRequest(symbols=("BHP",), start_ns=start_ns, end_ns=end_ns, limit=100_000, **changes)
    )
    assert answer.meta.next_cursor is None
    return answer.rows


@pytest.mark.parametrize(("zone", "change"), CHANGES)
@pytest.mark.slow
async def test_bars_of_a_week_with_a_change_of_the_clock(tmp_path, trades, zone, change):
    placed = over(change, trades)
    engine = Engine(EngineConfig(allowed=(str(tmp_path),)))
    world = await world_of(tmp_path / "lake", engine, placed)
    start_ns, end_ns = placed[0][0] - DAY_NS, placed[-1][0] + 1
    rows = world.log.rows(world.log.ends)
    frame = pl.DataFrame(
        {
            "time": [time_ns for time_ns, _, _ in placed],
            "price": [int(Decimal(price) * 10_000) for _, price, _ in placed],
            "quantity": [int(quantity) for _, _, quantity in placed],
        }
    ).with_columns(
        local=pl.from_epoch("time", "ns").dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    )
    for interval in ("1m", "15m", "1h", "1d"):
        asked = {"interval": parse_interval(interval), "align": "tz", "zone": zone}
        found = await bars(world, start_ns, end_ns, **asked)
        assert _as_polars(found) == _polars_bars(frame, interval), interval
        assert sum(found["trade_count"].to_pylist()) == len(placed)
        assert sum(found["volume"].to_pylist()) == sum(int(one) for _, _, one in placed)
    edges = zone_edges(parse_interval("4h"), ZoneInfo(zone), start_ns, end_ns)
    for fill in ("none", "null", "prev"):
        asked = {"interval": parse_interval("4h"), "align": "tz", "zone": zone, "fill": fill}
        found = await bars(world, start_ns, end_ns, **asked)
        expected = bars_of_rows(rows, edges, fill=fill, now_ns=world.clock.now_ns)
        assert plain(found.to_pylist()) == expected, fill
    await world.query.close()
    engine.close()


def _polars_bars(frame, interval):
    found = frame.group_by_dynamic("local", every=interval).agg(
        open=pl.col("price").first(),
        high=pl.col("price").max(),
        low=pl.col("price").min(),
        close=pl.col("price").last(),
        volume=pl.col("quantity").sum(),
        count=pl.len(),
    )
    return found.with_columns(local=pl.col("local").dt.timestamp("ns")).rows()


def _as_polars(table):
    names = ("open", "high", "low", "close")
    columns = [[int(price * 10_000) for price in table[name].to_pylist()] for name in names]
    volumes = [int(volume) for volume in table["volume"].to_pylist()]
    return list(
        zip(
            table["bar_start_ns"].to_pylist(),
            *columns,
            volumes,
            table["trade_count"].to_pylist(),
            strict=True,
        )
    )
