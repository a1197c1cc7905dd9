"""`GET /v1/trades/quotes`: over a node that serves trades and quotes."""

import pytest
from aiohttp.test_utils import TestClient, TestServer
from asof_rows import T0, quote_row
from asof_world import SECOND_NS, quoted, with_quotes
from web_support import application

from k2_streams.core.records.stream import QUOTES, TRADES
from k2_streams.query.relations import ServedLog
from k2_streams.web.endpoints import declared

PATH = "/v1/trades/quotes"


@pytest.fixture
async def client(tmp_path):
    """Over a node that serves both."""
    async with with_quotes(tmp_path) as (trades, quotes):
        app = application(trades.query, outputs=(ServedLog(QUOTES, quotes.query),))
        async with TestClient(TestServer(app)) as client:
            client.quotes = quotes
            yield client


async def json_of(client, **parameters):
    response = await client.get(PATH, params=parameters)
    assert response.status == 200, await response.text()
    return await response.json()


def test_it_is_there_where_both_are_served():
    assert PATH in {endpoint.path for endpoint in declared((TRADES, QUOTES))}
    for streams in ((TRADES,), (QUOTES,)):
        assert PATH not in {endpoint.path for endpoint in declared(streams)}


async def test_trades_of_both_parts_with_their_quotes_and_both_proofs(client):
    answer = await json_of(client, symbol="A", markouts="9s,1ns")
    rows, meta = answer["data"], answer["meta"]
    assert [row["bid_price"] for row in rows] == [str(100 + n) for n in range(6)]
    assert {row["quote_age_ns"] for row in rows} == {SECOND_NS}
    assert [row["mid"] for row in rows] == [f"{100 + n}.5" for n in range(6)]
    assert rows[0]["markouts"] == {"1ns": "100.5", "9s": "101.5"}
    assert all(row["quote_complete"] for row in rows)
    assert meta["quotes"]["complete"]
    assert (meta["rows"], meta["rows_lake"], meta["offsets"]) == (6, 3, {"0": 4, "1": 0})
    assert meta["quotes"]["offsets"] == {"0": 1, "1": 0}


async def test_pages_and_tokens_of_both_give_the_same_rows_again(client):
    whole = await json_of(client, symbol="A")
    pinned = {
        "as_of": whole["meta"]["token"],
        "quotes_as_of": whole["meta"]["quotes"]["token"],
    }
    client.quotes.add(0, [quote_row(9, quoted(T0, 1))])
    assert (await json_of(client, symbol="A"))["data"] != whole["data"]
    page = await json_of(client, symbol="A", limit="4", **pinned)
    rows = page["data"]
    page = await json_of(
        client, cursor=page["meta"]["next_cursor"], quotes_as_of=pinned["quotes_as_of"]
    )
    rows += page["data"]
    known = ("price", "bid_price", "quote_time_ns")
    assert [[row[name] for name in known] for row in rows] == [
        [row[name] for name in known] for row in whole["data"]
    ]
    first = await client.get(PATH, params={"symbol": "A", **pinned})
    again = await client.get(
        PATH,
        params={"symbol": "A", **pinned},
        headers={"If-None-Match": first.headers["ETag"]},
    )
    assert again.status == 304


async def test_a_tolerance_leaves_out_what_is_older(client):
    rows = (await json_of(client, symbol="A", tolerance="999ms"))["data"]
    assert {row["bid_price"] for row in rows} == {None}
    rows = (await json_of(client, symbol="A", tolerance="1s", strategy="nearest"))["data"]
    assert {row["quote_age_ns"] for row in rows} == {SECOND_NS}
    rows = (await json_of(client, symbol="A", tolerance="9s", strategy="forward"))["data"]
    assert [row["quote_age_ns"] for row in rows] == [-9 * SECOND_NS] * 5 + [None]


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        ({"strategy": "latest"}, "strategy", "one of backward, forward, nearest"),
        ({"tolerance": "soon"}, "tolerance", "expected a length"),
        ({"tolerance": "8d"}, "tolerance", "at most 7d"),
        ({"markouts": "1s,x"}, "markouts", "lengths as 1s,5m"),
        ({"markouts": "2d"}, "markouts", "up to 1d each"),
        ({"allow_exact_matches": "yes"}, "allow_exact_matches", "true or false"),
        ({"quotes_as_of": "x"}, "quotes_as_of", "expected a token"),
        ({"start": "2025-04-06T02:30", "tz": "Australia/Sydney"}, "start", "not one moment"),
    ],
)
async def test_what_is_wrong_is_refused_with_its_field(client, changes, field, expected):
    response = await client.get(PATH, params={"symbol": "A", **changes})
    error = (await response.json())["error"]
    assert (response.status, error["field"]) == (422, field)
    assert expected in error["message"]
