"""`GET /v1/bars`: what it takes, what it refuses, and what it answers over a real node."""

import aiohttp
import pyarrow as pa
import pytest
from lake_rows import NOON_NS
from web_node import RECORDS, ROWS_A_RECORD, served
from web_support import application

from k2_streams.core.records.stream import QUOTES, TRADES
from k2_streams.query.bars.answer import BARS
from k2_streams.web.endpoints import declared

SECOND_NS = 10**9
ALL = {"symbol": "AAA", "exchange": "SYN", "interval": "1s", "start": str(NOON_NS), "end": "last"}


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Where an application over a node is served."""
    folder = tmp_path_factory.mktemp("node")
    with served(folder, lambda query: application(query, rate_limit_per_s=10_000)) as url:
        yield url


@pytest.fixture
async def client(address):
    """A client of it."""
    async with aiohttp.ClientSession(address) as session:
        yield session


async def json_of(client, **parameters):
    response = await client.get("/v1/bars", params=parameters)
    assert response.status == 200, await response.text()
    return await response.json()


def test_where_no_trades_are_served_there_are_no_bars():
    assert "/v1/bars" in {endpoint.path for endpoint in declared((TRADES, QUOTES))}
    assert "/v1/bars" not in {endpoint.path for endpoint in declared((QUOTES,))}


async def test_bars_of_both_parts_with_their_proof(client):
    answer = await json_of(client, **ALL)
    bars, meta = answer["data"], answer["meta"]
    assert [bar["bar_start_ns"] for bar in bars] == [
        NOON_NS + n * SECOND_NS for n in range(RECORDS)
    ]
    assert list(bars[0]) == BARS.names
    assert bars[0]["bar_start"].startswith("2025-11-23T12:00:00")
    trades = await client.get("/v1/trades", params={"symbol": "AAA"})
    ids = [row["message_id"] for row in (await trades.json())["data"]]
    assert sum(bar["trade_count"] for bar in bars) == len(ids) <= 2 * RECORDS * ROWS_A_RECORD
    assert (bars[0]["first_message_id"], bars[-1]["last_message_id"]) == (ids[0], ids[-1])
    assert {bar["volume"] for bar in bars} != {"0"}
    assert meta["offsets"] == {"0": RECORDS, "1": RECORDS}
    # A gap of the symbol has no lower edge in time: every bar up to its upper one may lack it.
    assert [bar["complete"] for bar in bars] == [False] + [True] * (RECORDS - 1)
    assert bars[0]["missing"] == 2
    assert not meta["complete"]


async def test_a_page_goes_on_where_the_last_one_ended(client):
    whole = await json_of(client, **ALL, fill="prev")
    page = await json_of(client, **ALL, fill="prev", limit="2")
    bars = page["data"]
    while page["meta"]["next_cursor"] is not None:
        page = await json_of(
            client, symbol="AAA", interval="1s", cursor=page["meta"]["next_cursor"]
        )
        assert page["meta"]["pinned"]
        bars += page["data"]
    assert bars == whole["data"]


async def test_the_formats_are_those_of_all_tables(client):
    response = await client.get("/v1/bars", params={**ALL, "format": "arrow"})
    table = pa.ipc.open_stream(await response.read()).read_all()
    assert table.schema.remove_metadata() == BARS
    assert table.num_rows == RECORDS
    response = await client.get("/v1/bars", params={**ALL, "format": "csv"})
    assert (await response.text()).splitlines()[0].replace('"', "").split(",") == BARS.names


async def test_a_pinned_answer_is_not_sent_twice(client):
    token = (await json_of(client, **ALL))["meta"]["token"]
    first = await client.get("/v1/bars", params={**ALL, "as_of": token})
    assert first.headers["Cache-Control"] == "private, no-cache"
    known = {"If-None-Match": first.headers["ETag"]}
    again = await client.get("/v1/bars", params={**ALL, "as_of": token}, headers=known)
    assert again.status == 304
    other = await client.get(
        "/v1/bars", params={**ALL, "as_of": token, "fill": "null"}, headers=known
    )
    assert other.status == 200


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        ({"symbol": None}, "symbol", "required"),
        ({"interval": None}, "interval", "required"),
        ({"interval": "7m"}, "interval", "divides a day"),
        ({"interval": "1w"}, "interval", "session or all"),
        ({"start": None, "end": None}, "start", "expected start or window"),
        ({"start": "0"}, "interval", "at most 1,000,000 bars"),
        ({"align": "tz"}, "align", "expected tz="),
        ({"align": "local"}, "align", "one of utc, tz, session"),
        ({"align": "tz", "tz": "Sydney"}, "tz", "Australia/Sydney"),
        ({"start": "2025-04-06T02:30", "tz": "Australia/Sydney"}, "start", "not one moment"),
        ({"start": "2024-10-06T02:30", "tz": "Australia/Sydney"}, "start", "not one moment"),
        ({"interval": "session"}, "interval", "expected calendar="),
        ({"calendar": "XASX"}, "calendar", "with align=session"),
        ({"fill": "zero"}, "fill", "one of none, null, prev"),
        ({"conditions": "eligible"}, "conditions", "K2_CONDITIONS_FILE"),
        ({"limit": "250001"}, "limit", "1 to 250000"),
        ({"cursor": "x"}, "cursor", "a cursor of an earlier answer of bars"),
        ({"window": "1h"}, "window", "cannot be combined with start"),
        ({"order": "desc"}, "order", "unknown parameter"),
    ],
)
async def test_what_is_wrong_is_refused_with_its_field_and_what_was_expected(
    client, changes, field, expected
):
    asked = {name: value for name, value in {**ALL, **changes}.items() if value is not None}
    response = await client.get("/v1/bars", params=asked)
    error = (await response.json())["error"]
    assert (response.status, error["code"], error["field"]) == (422, "invalid_parameter", field)
    assert expected in error["message"]


async def test_a_cursor_stands_alone_and_is_not_one_of_trades(client):
    cursor = (await json_of(client, **ALL, limit="1"))["meta"]["next_cursor"]
    own = {"symbol": "AAA", "interval": "1s"}
    for changes, field in (({"exchange": "SYN"}, "exchange"), ({"interval": "2s"}, "cursor")):
        response = await client.get("/v1/bars", params={**own, "cursor": cursor, **changes})
        assert (response.status, (await response.json())["error"]["field"]) == (422, field)
    trades = await client.get("/v1/trades", params={"limit": "1"})
    other = (await trades.json())["meta"]["next_cursor"]
    response = await client.get("/v1/bars", params={**own, "cursor": other})
    assert (response.status, (await response.json())["error"]["field"]) == (422, "cursor")


async def test_an_unknown_symbol_is_404_and_a_sum_without_room_413(client):
    response = await client.get("/v1/bars", params={**ALL, "symbol": "ZZZ"})
    assert (response.status, (await response.json())["error"]["code"]) == (404, "unknown_symbol")
    response = await client.get("/v1/bars", params={**ALL, "interval": "all"})
    assert (response.status, (await response.json())["error"]["code"]) == (413, "query_too_large")
