"""The app `sketches`: the same bytes for any split and crash, and what its paths answer."""

import asyncio
import datetime as dt
import random
import threading
from decimal import Decimal

import pyarrow as pa
import pytest
from aiohttp.test_utils import TestClient, TestServer
from documents import ROOT, blocks
from web_support import META, CannedQueries, application

import k2_client
from k2_streams.core.maintenance.row_sums import hashes_of, mixed
from k2_streams.core.sketches.distinct import Distinct
from k2_streams.core.sketches.heavy_hitters import HeavyHitters
from k2_streams.core.sketches.measures import MEASURES, MINUTE_NS, SKETCHES
from k2_streams.core.sketches.quantiles import Quantiles
from k2_streams.query.relations import ServedLog
from k2_streams.testing import InputMessage
from topologies.sketches import app, sketches

START_NS = 1_767_614_400_000_000_000
KINDS = {measure.name: measure.sketch for measure in MEASURES}


def trade(number, **more):
    return {
        "exchange": "XY"[number % 2],
        "symbol": f"S{number % 7}",
        "trade_id": f"id-{number // 2}",
        "price": Decimal(100),
        "quantity": Decimal(number % 5 + 1) / 8,
        "exchange_time_ns": START_NS + number * 4 * 10**9,
        "receive_time_ns": START_NS + number * 4 * 10**9 + 1_000_000,
        "trading_date": dt.date(2026, 1, 5),
        **more,
    }


def trades(seed, count=120):
    """Eight minutes of two exchanges; some come minutes late, some are cancels, some have no id."""
    chance = random.Random(seed)
    found = []
    for number in range(count):
        more = {}
        if chance.random() < 0.1:
            more["exchange_time_ns"] = START_NS + max(number - 45, 0) * 4 * 10**9
        if chance.random() < 0.1:
            more |= {"action": "cancel", "ref_trade_id": "id-1"}
        elif chance.random() < 0.1:
            more["trade_id"] = None
        found.append(trade(number, **more))
    return found


#: It closes every minute in front of it.
LAST = trade(10_000, action="cancel", ref_trade_id="id-1")


def merged(rows, measure):
    total = KINDS[measure]()
    for row in rows:
        if row["measure"] == measure:
            total.merge(KINDS[measure].decode(row["sketch"]))
    return total


@pytest.mark.usefixtures("quiet_logs")
def test_rows_of_sketches_hold_every_trade_once_whatever_crashes(k2_driver):
    sent = [*trades(1), LAST]
    driver = k2_driver(app, partitions=1)
    driver.input("trades").send_many(sent[:50])
    driver.commit_lake()
    driver.crash()
    driver.restart()
    driver.input("trades").send_many(sent[50:])
    rows = driver.output("sketches").read_all().to_pylist()
    real = [one for one in sent if one.get("action") is None]
    assert dict.fromkeys(KINDS, 0) == {
        measure: len(real) - sum(one["trades"] for one in rows if one["measure"] == measure)
        for measure in KINDS
    }
    assert all(one["minute_ns"] % MINUTE_NS == 0 for one in rows)
    ids = {(one["exchange"], one["symbol"], one["trade_id"]) for one in real if one["trade_id"]}
    assert round(merged(rows, "trade_id").estimate()) == pytest.approx(len(ids), abs=1)
    assert round(merged(rows, "symbol").estimate()) == len(
        {(one["exchange"], one["symbol"]) for one in real}
    )
    volume = {one.name: one.lower for one in merged(rows, "volume").top(7)}
    assert volume == {
        f"S{n}": int(sum(one["quantity"] for one in real if one["symbol"] == f"S{n}") * 10**18)
        for n in range(7)
    }
    assert merged(rows, "quantity").count == merged(rows, "delay_ns").count == len(real)
    assert driver.table("open") == {}, "a closed minute leaves the table"


@pytest.mark.usefixtures("quiet_logs")
def test_how_trades_are_cut_changes_no_byte_of_a_sketch(k2_driver):
    messages = [InputMessage(one) for one in [*trades(3, 60), LAST]]
    k2_driver(app, partitions=2).check_splits(messages)


def hashed(rows):
    return mixed(hashes_of(rows))


# -- the paths -------------------------------------------------------------------------------------


def row(measure, minute, sketch):
    position = {
        "source_partition": 0, "log_partition": 0, "log_offset": minute, "log_row": 0,
        "accepted_time": 0,
    }  # fmt: skip
    return position | {
        "exchange": "X", "measure": measure, "minute_ns": minute * MINUTE_NS, "trades": 3,
        "sketch": sketch.encode(),
    }  # fmt: skip


@pytest.fixture
def asked():
    """What the paths ask for, and a function that answers one with sketches of two minutes."""
    return CannedQueries()


async def got(queries, path, measure, *contents):
    rows = [row(measure, minute, sketch) for minute, sketch in enumerate(contents)]
    queries.table = pa.Table.from_pylist(rows, schema=sketches.stream.table_schema)
    queries.meta = META
    served = application(logs=(ServedLog(sketches.stream, queries),))
    async with TestClient(TestServer(served)) as client:
        response = await client.get(path)
        return response.status, await response.json()


async def test_distinct_ids_are_counted_over_all_sketches_of_the_range(asked):
    one, other = Distinct(), Distinct()
    for sketch, text in ((one, "a"), (other, "b"), (other, "a")):
        rows = pa.record_batch({"id": [text]})
        sketch.add(hashed(rows))
    path = "/v1/distinct?of=trade_id&exchange=X&start=0&end=2000000000000000000"
    status, body = await got(asked, path, "trade_id", one, other)
    assert status == 200
    (found,) = body["data"]
    assert round(found["estimate"]) == 2
    assert found["lower"] < 2 < found["upper"]
    assert body["meta"]["sketches"] == 2
    assert body["meta"]["trades"] == 6
    assert body["meta"]["newest_minute_ns"] == MINUTE_NS
    (request,) = asked.asked
    assert request.keys == (("measure", ("trade_id",)),)
    assert (request.exchanges, request.start_ns) == (("X",), 0)


async def test_sketches_are_merged_beside_the_event_loop(asked, monkeypatch):
    threads = []
    monkeypatch.setattr(Distinct, "merge", lambda *_: threads.append(threading.get_ident()))
    status, _ = await got(asked, "/v1/distinct?of=trade_id", "trade_id", Distinct(), Distinct())
    assert status == 200
    assert len(threads) == 2
    assert threading.get_ident() not in threads


async def test_the_symbols_with_most_volume_come_with_their_bounds(asked):
    sketch = HeavyHitters(3, 10**18, {"A": 5 * 10**18, "B": 7 * 10**18})
    status, body = await got(asked, "/v1/top?measure=volume&n=1", "volume", sketch)
    assert status == 200
    assert body["data"] == [{"symbol": "B", "estimate": 7, "lower": 7, "upper": 8, "error": 1}]


async def test_quantiles_come_with_their_bounds_and_of_nothing_there_are_none(asked):
    sketch = Quantiles()
    sketch.add(pa.array([1.0, 2.0, 4.0]).to_numpy())
    status, body = await got(asked, "/v1/quantiles?of=quantity&q=0.5&q=1", "quantity", sketch)
    assert status == 200
    assert [(one["q"], one["lower"]) for one in body["data"]] == [(0.5, 2), (1, 4)]
    _, body = await got(asked, "/v1/quantiles?of=quantity", "quantity")
    assert body["data"] == []
    assert body["meta"]["newest_minute_ns"] is None
    assert (await got(asked, "/v1/quantiles?q=1.5", "quantity"))[0] == 422


class MeasuredQueries(CannedQueries):
    """Answers with a sketch of the measure that is asked for."""

    async def rows(self, request):
        ((_, (measure,)),) = request.keys
        self.table = pa.Table.from_pylist(
            [row(measure, 1, SKETCHED[measure])], schema=sketches.stream.table_schema
        )
        return await super().rows(request)


def sketched(kind, values):
    sketch = kind()
    sketch.add(values)
    return sketch


SKETCHED = {
    "trade_id": sketched(Distinct, hashed(pa.record_batch({"id": ["a", "b"]}))),
    "volume": HeavyHitters(3, 10**18, {"A": 5 * 10**18, "B": 7 * 10**18}),
    "delay_ns": sketched(Quantiles, pa.array([1.0, 2.0, 4.0]).to_numpy()),
}


async def test_the_guide_asks_sketches_with_the_client(capsys):
    (sample,) = (
        block for block in blocks(ROOT / "docs/how-to/sketch-trades.md") if block.run == "sketches"
    )
    served = application(logs=(ServedLog(sketches.stream, MeasuredQueries()),))
    async with TestServer(served) as server:
        address = str(server.make_url(""))
        text = sample.text.replace("http://127.0.0.1:6266", address)
        await asyncio.to_thread(exec, text, {})
        async with k2_client.AsyncClient(address) as client:
            found = [await client.top("volume", 1), await client.distinct()]
            found.append(await client.quantiles(q=[1], columns=["lower"]))
    printed = capsys.readouterr().out
    assert "2 trades, from 2 to 2" in printed
    assert f"\n{MINUTE_NS} [" in printed
    assert found[0].arrow()["symbol"].to_pylist() == ["B"]
    assert round(found[1].arrow()["estimate"][0].as_py()) == 2
    assert found[2].arrow().to_pylist() == [{"lower": 4.0}]


async def test_the_paths_exist_where_sketches_are_served_alone(asked):
    async with TestClient(TestServer(application())) as client:
        assert (await client.get("/v1/distinct")).status == 404
    assert sketches.stream.log_schema == SKETCHES
