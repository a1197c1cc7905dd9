"""What an API key may read: no path gives a row, a name or a count of anything else."""

import asyncio
import io
from collections.abc import Mapping

import pyarrow as pa
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from query_world import T0
from sql_world import US, SqlWorld
from web_support import LINE, CannedQueries, application, services

from k2_streams.core.query.entitlement import Entitlement
from k2_streams.core.records.events import GapOpened
from k2_streams.core.records.stream import QUOTES, TRADES
from k2_streams.query.entitlement import EntitledQueries
from k2_streams.query.errors import NotEntitledError
from k2_streams.query.ledger.coverage import CoverageRequest
from k2_streams.query.relations import ServedLog
from k2_streams.query.subscription.request import StreamRequest
from k2_streams.web.endpoints import declared
from k2_streams.web.http.api_keys import ApiKey, KeyRing, digest_of
from k2_streams.web.pages import page_endpoints
from k2_streams.web.server import HANDLER_ARGS, install
from k2_streams.web.services import LinesFound

#: Per path a query that the key of everything gets an answer to.
ASKED = {
    "/v1/trades": {},
    "/v1/bars": {"symbol": "A", "interval": "1s", "start": str(T0), "end": str(T0 + 10**9)},
    "/v1/gaps": {},
    "/v1/symbols": {},
    "/v1/sql": {"query": "SELECT exchange, symbol FROM trades", "full": "true"},
    "/v1/snapshots": {},
    "/v1/status": {},
    "/v1/lines": {},
    "/metrics": {},
}
#: Those of a node that serves quotes, and of one with a ledger: tried with canned answers.
OF_TWO_LOGS = {"/v1/quotes", "/v1/trades/quotes", "/v1/quotes/stream"}
STREAM = "/v1/trades/stream"
#: An event time after which no exchange misses anything.
BEHIND_GAPS = T0 + 10_000
KEYS = {
    "all": Entitlement(),
    "x": Entitlement(exchanges=frozenset({"X"})),
    "y": Entitlement(exchanges=frozenset({"Y"})),
    "gaps": Entitlement(relations=frozenset({"gaps"})),
    "trades": Entitlement(relations=frozenset({"trades"})),
    "metrics": Entitlement(relations=frozenset({"metrics"})),
}


def ring() -> KeyRing:
    return KeyRing(ApiKey(name, digest_of(f"text-{name}"), one) for name, one in KEYS.items())


async def newest(request):
    return {"rows": (await request.rows("trades", limit=100)).rows.num_rows}


class Asking:
    """A server over trades of two exchanges, asked with one key or another."""

    def __init__(self, client: TestClient) -> None:
        self._client = client

    async def get(self, key: str, path: str, more: Mapping[str, str] = {}, **query: str):
        headers = {"X-API-Key": f"text-{key}", **more}
        return await self._client.get(
            path, params={**ASKED.get(path, {}), **query}, headers=headers
        )

    async def answer(self, key: str, path: str, **query: str):
        response = await self.get(key, path, **query)
        assert response.status == 200, await response.text()
        return await response.json()

    async def error(self, key: str, path: str, **query: str):
        response = await self.get(key, path, **query)
        return response.status, (await response.json())["error"]["code"]


@pytest.fixture
async def asking(tmp_path):
    made = SqlWorld(tmp_path)
    for number in range(12, 18):
        rows = [("A", T0 + number * 1_000), ("ONLY_Y", T0 + number * 1_000 + 1)]
        made.world.log.append(
            number % 2, rows, accepted_us=US + number, more={"exchange": ["Y", "Y"]}
        )
        made.world.read_tail(number % 2)
    gap = GapOpened(
        scope="Y:A", session="0", first=2, last=3, size="small", exchange_time_ns=T0,
        previous_time_ns=T0, next_time_ns=T0 + 1, accepted_time_us=US + 13,
    )  # fmt: skip
    made.world.gaps.apply(gap, 1, 1)
    made.world.gaps.cover(made.world.log.ends)
    lines = LinesFound([LINE, type(LINE)(**{**_fields(LINE), "exchange": "Y"})], [0], 1)
    app = web.Application(handler_args=HANDLER_ARGS)
    served = services(
        made.world.query, keys=ring(), sandbox=made.sandbox, clock=made.world.clock,
        lines=lambda: lines, rate_limit_per_s=100_000,
    )  # fmt: skip
    install(app, served, page_endpoints([("/newest", newest)], ["trades"]))
    client = TestClient(TestServer(app))
    await client.start_server()
    yield Asking(client)
    await client.close()
    await made.close()


def _fields(line) -> dict:
    return {name: getattr(line, name) for name in line.__struct_fields__}


def exchanges(rows) -> set[str]:
    return {row["exchange"] for row in rows}


def test_every_path_that_asks_for_a_key_is_tried_here():
    """A new one is added to `ASKED`, with a test of what a key that may read less gets from it."""
    one_log = {one.path for one in declared((TRADES,)) if not one.is_public}
    assert one_log == set(ASKED) | {STREAM}
    two_logs = {one.path for one in declared((TRADES, QUOTES)) if not one.is_public}
    assert two_logs - one_log == OF_TWO_LOGS


@pytest.mark.parametrize("path", ["/v1/trades", "/v1/bars", "/v1/gaps", "/v1/symbols", "/v1/sql"])
async def test_rows_are_of_permitted_exchanges_alone(asking, path):
    everything = (await asking.answer("all", path))["data"]
    assert exchanges(everything) == {"X", "Y"}
    for key, exchange in (("x", "X"), ("y", "Y")):
        found = (await asking.answer(key, path))["data"]
        assert found == [row for row in everything if row["exchange"] == exchange]


async def test_lines_are_of_permitted_exchanges_alone(asking):
    assert exchanges((await asking.answer("all", "/v1/lines"))["lines"]) == {"X", "Y"}
    assert exchanges((await asking.answer("y", "/v1/lines"))["lines"]) == {"Y"}


async def test_a_proof_speaks_of_permitted_exchanges_alone(asking):
    gaps = (await asking.answer("y", "/v1/trades"))["meta"]["gaps"]
    assert [gap["scope"] for gap in gaps] == ["Y:A"]
    assert len((await asking.answer("all", "/v1/trades"))["meta"]["gaps"]) == 2


@pytest.mark.parametrize("path", ["/v1/trades", "/v1/bars", "/v1/gaps", "/v1/symbols"])
async def test_an_exchange_that_is_named_and_not_permitted_is_refused(asking, path):
    assert await asking.error("x", path, exchange="Y") == (403, "not_entitled")
    assert exchanges((await asking.answer("x", path, exchange="X"))["data"]) == {"X"}


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT count(*) AS n FROM trades WHERE exchange = 'Y'",
        "SELECT count(*) AS n FROM (SELECT * FROM trades) t WHERE t.exchange <> 'X'",
        "SELECT count(*) AS n FROM symbols WHERE exchange = 'Y'",
        "SELECT count(*) AS n FROM symbols WHERE symbol = 'ONLY_Y'",
        "SELECT count(*) AS n FROM gaps WHERE exchange || '' = 'Y'",
        "SELECT count(DISTINCT exchange) - 1 AS n FROM trades",
        "SELECT count(*) AS n FROM (FROM trades UNION ALL FROM trades) WHERE exchange = 'Y'",
    ],
)
async def test_a_statement_sees_permitted_exchanges_alone(asking, statement):
    assert (await asking.answer("all", "/v1/sql", query=statement))["data"][0]["n"] > 0
    response = await asking.get("x", "/v1/sql", query=statement)
    if response.status == 403:  # the statement names the exchange, so that it is asked for
        assert (await response.json())["error"]["code"] == "not_entitled"
    else:
        assert (await response.json())["data"][0]["n"] == 0


@pytest.mark.parametrize("path", ["/v1/trades", "/v1/symbols"])
async def test_a_symbol_of_another_exchange_is_as_unknown_as_one_that_nobody_has(asking, path):
    for symbol in ("ONLY_Y", "NOBODY"):
        assert await asking.error("x", path, symbol=symbol) == (404, "unknown_symbol")
    assert (await asking.answer("y", path, symbol="ONLY_Y"))["data"]


async def test_a_token_gives_no_more_than_the_key_that_asks_with_it(asking):
    token = (await asking.answer("all", "/v1/trades"))["meta"]["token"]
    found = await asking.answer("x", "/v1/trades", as_of=token)
    assert exchanges(found["data"]) == {"X"}
    assert exchanges((await asking.answer("x", "/v1/sql", as_of=token))["data"]) == {"X"}


async def test_a_cursor_gives_no_more_than_the_key_that_asks_with_it(asking):
    first = await asking.answer("all", "/v1/trades", limit="1", order="desc")
    cursor = first["meta"]["next_cursor"]
    assert exchanges((await asking.answer("x", "/v1/trades", cursor=cursor))["data"]) == {"X"}
    narrow = (await asking.answer("y", "/v1/trades", limit="1"))["meta"]["next_cursor"]
    assert await asking.error("x", "/v1/trades", cursor=narrow) == (403, "not_entitled")


async def test_pages_of_a_narrow_key_hold_its_rows_once(asking):
    whole = (await asking.answer("x", "/v1/trades"))["data"]
    rows, query = [], {"limit": "7"}
    while query:
        page = await asking.answer("x", "/v1/trades", **query)
        rows += page["data"]
        cursor = page["meta"]["next_cursor"]
        query = {"cursor": cursor, "order": "asc"} if cursor else {}
    assert rows == whole


async def test_the_bars_of_a_narrow_key_page_alike(asking):
    whole = (await asking.answer("x", "/v1/bars"))["data"]
    assert whole
    first = await asking.answer("all", "/v1/bars", limit="1")
    query = {"symbol": "A", "interval": "1s", "cursor": first["meta"]["next_cursor"]}
    client = asking._client
    response = await client.get("/v1/bars", params=query, headers={"X-API-Key": "text-y"})
    assert exchanges((await response.json())["data"]) <= {"Y"}


async def test_an_answer_that_a_cache_keeps_is_another_one_per_entitlement(asking):
    token = (await asking.answer("all", "/v1/trades"))["meta"]["token"]
    tags = {}
    for key in ("all", "x", "y"):
        # Behind every gap: the proofs are equal, and only the rows are others.
        response = await asking.get(key, "/v1/trades", as_of=token, start=str(BEHIND_GAPS))
        meta = (await response.json())["meta"]
        assert (meta["gaps"], meta["complete"]) == ([], True)
        tags[key] = response.headers["ETag"]
    assert len(set(tags.values())) == 3


async def test_the_bars_that_a_cache_keeps_are_others_per_entitlement(asking):
    token = (await asking.answer("all", "/v1/trades"))["meta"]["token"]
    query = {"as_of": token, "start": str(BEHIND_GAPS), "fill": "none"}
    answers = [await asking.get(key, "/v1/bars", **query) for key in ("all", "y")]
    assert len({answer.headers["ETag"] for answer in answers}) == 2


async def test_a_known_answer_of_another_key_is_sent_and_its_own_is_not(asking):
    token = (await asking.answer("all", "/v1/trades"))["meta"]["token"]
    query = {"as_of": token, "start": str(BEHIND_GAPS)}
    known = (await asking.get("all", "/v1/trades", **query)).headers["ETag"]
    for key, status in (("all", 304), ("x", 200), ("y", 200)):
        response = await asking.get(key, "/v1/trades", {"If-None-Match": known}, **query)
        assert response.status == status
        assert response.headers["Vary"] == "Accept, Cookie, Authorization, X-API-Key"
        assert response.headers["Cache-Control"] == "private, no-cache"


async def test_a_page_of_the_app_reads_what_its_caller_may(asking):
    counts = {key: (await asking.answer(key, "/pages/newest"))["rows"] for key in ("all", "x", "y")}
    assert counts["all"] == counts["x"] + counts["y"]
    assert counts["x"] != counts["y"]
    assert await asking.error("gaps", "/pages/newest") == (403, "not_entitled")


@pytest.mark.parametrize("path", sorted(ASKED))
async def test_a_key_of_one_relation_reads_nothing_else(asking, path):
    may_read = {
        "gaps": {"/v1/gaps"},
        "trades": {"/v1/trades", "/v1/bars", "/v1/sql"},
        "metrics": {"/metrics"},
    }
    for key, paths in may_read.items():
        response = await asking.get(key, path)
        assert response.status == (200 if path in paths else 403), (key, await response.text())


async def test_a_statement_reads_permitted_relations_alone(asking):
    for query in ("SELECT 1 FROM gaps", "SELECT 1 FROM trades, symbols", "SELECT 1 FROM snapshots"):
        assert await asking.error("trades", "/v1/sql", query=query) == (403, "not_entitled")


async def test_what_has_no_exchange_is_refused_to_a_key_of_some(asking):
    assert await asking.error("x", "/v1/snapshots") == (403, "not_entitled")
    assert await asking.error("x", "/v1/sql", query="SELECT 1 FROM snapshots") == (
        403, "not_entitled",
    )  # fmt: skip


async def test_arrow_and_csv_are_narrowed_alike(asking):
    body = await (await asking.get("x", "/v1/trades", format="arrow")).read()
    assert set(pa.ipc.open_stream(io.BytesIO(body)).read_all()["exchange"].to_pylist()) == {"X"}
    text = await (await asking.get("y", "/v1/trades", format="csv")).text()
    assert "X|" not in text


async def test_quotes_are_joined_only_for_a_key_that_may_read_both():
    trades, quotes = CannedQueries(), CannedQueries()
    app = application(trades, outputs=(ServedLog(QUOTES, quotes),), keys=ring())
    async with TestClient(TestServer(app)) as client:
        for path, status in (("/v1/trades/quotes", 403), ("/v1/quotes", 403), ("/v1/trades", 200)):
            response = await client.get(path, headers={"X-API-Key": "text-trades"})
            assert response.status == status
    assert quotes.asked == []


class Kept:
    """Queries that keep what they are asked."""

    def __init__(self) -> None:
        self.asked = []

    async def coverage(self, request):
        self.asked.append(request)

    async def subscribe(self, request):
        self.asked.append(request)


async def test_coverage_and_streams_are_narrowed():
    kept, token = Kept(), StreamRequest().asked()
    queries = EntitledQueries(kept, TRADES, KEYS["x"])
    await queries.coverage(CoverageRequest())
    await queries.subscribe(StreamRequest())
    coverage, stream = kept.asked
    assert coverage.exchanges == ("X",)
    assert stream.selected == (("exchange", ("X",)),)
    assert stream.asked() == token  # a token says nothing of what its reader may read
    for asked in (
        queries.coverage(CoverageRequest(exchanges=("Y",))),
        queries.subscribe(StreamRequest(exchanges=("X", "Y"))),
        EntitledQueries(kept, TRADES, KEYS["gaps"]).subscribe(StreamRequest()),
        EntitledQueries(kept, TRADES, KEYS["trades"]).coverage(CoverageRequest()),
    ):
        with pytest.raises(NotEntitledError):
            await asked
    assert len(kept.asked) == 2


async def test_a_stream_is_refused_to_a_key_of_other_relations(asking):
    assert await asking.error("gaps", STREAM) == (403, "not_entitled")
    assert await asking.error("x", STREAM, exchange="Y") == (403, "not_entitled")


async def test_a_narrow_key_costs_no_other_keys_rows(asking):
    """Keys are asked with at the same time, and none sees the other's answer."""
    keys = ["all", "x", "y"] * 5
    found = await asyncio.gather(*(asking.answer(key, "/v1/trades") for key in keys))
    expected = {"all": {"X", "Y"}, "x": {"X"}, "y": {"Y"}}
    assert [exchanges(one["data"]) for one in found] == [expected[key] for key in keys]
