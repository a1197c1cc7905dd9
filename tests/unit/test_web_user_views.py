"""A user's own view: the access rules, limits and errors of the built-in endpoints are its own."""

import asyncio
from typing import Annotated

import msgspec
import pyarrow as pa
import pytest
from aiohttp import web
from web_support import META, CannedQueries, services, trades_table

from k2_streams.core.records.stream import QUOTES, TRADES, Stream
from k2_streams.query.answer import about
from k2_streams.query.errors import BusyError
from k2_streams.query.relations import ServedLog
from k2_streams.query.request import RowsRequest
from k2_streams.query.token import Cursor, Key, Token
from k2_streams.web.declaration.endpoint import (
    Body,
    Endpoint,
    JsonAnswer,
    NoParameters,
    Rows,
    TableAnswer,
    TextAnswer,
)
from k2_streams.web.declaration.shared_parameters import Symbols
from k2_streams.web.endpoints import declared
from k2_streams.web.http.room import size_of
from k2_streams.web.server import HANDLER_ARGS, install

KEY = "k-of-a-desk"


class LargestParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Which trades."""

    symbol: Symbols
    count: Annotated[int, msgspec.Meta(ge=1, le=10, description="Trades at most.")] = 3


class Largest(msgspec.Struct, frozen=True):
    """The largest price of the newest trades."""

    symbol: str
    price: str
    token: Annotated[str, about("Of the read point.")]


async def largest(call):
    request = RowsRequest(symbols=call.parameters.symbol, limit=call.parameters.count)
    answer = await call.rows("trades", request)
    price = max(answer.rows.column("price").to_pylist())
    return Largest(call.parameters.symbol[0], f"{price:.2f}", answer.meta.token)


def view(handler=largest, **changes):
    """The view `/largest`, with what a test changes."""
    declaration = {
        "path": "/largest",
        "summary": "The largest price of the newest trades.",
        "handler": handler,
        "parameters": LargestParameters,
        "answer": JsonAnswer(Largest),
        "relations": ("trades",),
        **changes,
    }
    return Endpoint(**declaration)


@pytest.fixture
def client_of(client_of):
    """Makes clients for an application with views."""

    async def make(*views, query=None, **changes):
        app = web.Application(handler_args=HANDLER_ARGS)
        install(app, services(query, **changes), views)
        return await client_of(app)

    return make


async def error_of(response):
    return (await response.json())["error"]


async def test_a_view_reads_the_relations_that_it_declares(client_of):
    queries = CannedQueries()
    client = await client_of(view(), query=queries)
    response = await client.get("/largest?symbol=AAA&count=2")
    assert response.status == 200
    assert await response.json() == {"symbol": "AAA", "price": "61839.63", "token": META.token}
    assert queries.asked == [RowsRequest(symbols=("AAA",), limit=2)]
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    head = await client.head("/largest?symbol=AAA")
    assert (head.status, await head.read()) == (200, b"")


@pytest.mark.parametrize(
    ("query", "field"),
    [("", "symbol"), ("symbol=A&count=11", "count"), ("symbol=A&nonsense=1", "nonsense")],
)
async def test_parameters_of_a_view_are_checked_as_declared(client_of, query, field):
    queries = CannedQueries()
    client = await client_of(view(), query=queries)
    response = await client.get(f"/largest?{query}")
    assert response.status == 422
    error = await error_of(response)
    assert (error["code"], error["field"]) == ("invalid_parameter", field)
    assert queries.asked == []


async def test_a_view_needs_a_key_and_keeps_the_rate_limit(client_of):
    client = await client_of(view(), keys=(KEY,), rate_limit_per_s=2)
    assert (await client.get("/largest?symbol=A")).status == 401
    headers = {"X-API-Key": KEY, "X-Correlation-ID": "mine"}
    statuses = []
    for _ in range(3):
        response = await client.get("/largest?symbol=A", headers=headers)
        statuses.append(response.status)
        assert response.headers["X-Correlation-ID"] == "mine"
    assert statuses == [200, 200, 429]


async def test_without_keys_a_view_answers_this_machine_alone(client_of):
    client = await client_of(view())
    for headers in ({"Host": "10.0.0.7"}, {"X-Forwarded-For": "203.0.113.7"}):
        assert (await client.get("/largest?symbol=A", headers=headers)).status == 403


async def test_a_view_ends_at_the_time_limit_of_a_request(client_of):
    async def slow(_call):
        await asyncio.Event().wait()

    client = await client_of(view(slow), answer_timeout_s=0.01)
    response = await client.get("/largest?symbol=A")
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert (await error_of(response))["code"] == "timeout"


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [
        (BusyError("queries wait", 4.0), 503, "busy"),
        (RuntimeError(KEY), 500, "internal"),
        (KeyError("symbol"), 500, "internal"),
    ],
)
async def test_errors_of_a_view_have_the_common_body(client_of, raised, status, code):
    async def failing(_call):
        raise raised

    client = await client_of(view(failing))
    response = await client.get("/largest?symbol=A")
    assert response.status == status
    body = await response.json()
    assert body["error"]["code"] == code
    assert body["correlation_id"] == response.headers["X-Correlation-ID"]
    assert KEY not in await response.text()


async def test_a_relation_that_is_not_declared_cannot_be_read(client_of):
    queries = CannedQueries()
    client = await client_of(view(relations=()), query=queries)
    response = await client.get("/largest?symbol=A")
    assert (response.status, (await error_of(response))["code"]) == (500, "internal")
    assert queries.asked == []


async def test_a_view_reads_no_more_rows_than_an_answer_may_have(client_of):
    async def greedy(call):
        await call.rows("trades", RowsRequest(limit=250_001))

    queries = CannedQueries()
    client = await client_of(view(greedy), query=queries)
    assert (await client.get("/largest?symbol=A")).status == 500
    assert queries.asked == []


async def test_rows_that_a_view_reads_hold_room_until_it_has_answered(client_of):
    started, ended = asyncio.Event(), asyncio.Event()

    async def holding(call):
        answer = await call.rows("trades", RowsRequest(limit=10_000))
        started.set()
        await ended.wait()
        return Rows(answer.rows, answer.meta)

    answer = TableAnswer("HeldRow", trades_table(1).schema, type(META))
    held = view(holding, answer=answer, parameters=NoParameters)
    client = await client_of(held, answers_bytes=2 * size_of(10_000, 2_048))
    first = asyncio.ensure_future(client.get("/largest"))
    await started.wait()
    response = await client.get("/largest")
    assert (response.status, (await error_of(response))["code"]) == (503, "busy")
    ended.set()
    assert (await first).status == 200
    assert (await client.get("/largest")).status == 200


async def test_a_view_that_answers_with_a_table_has_every_format(client_of):
    class Row(msgspec.Struct):
        symbol: str
        trades: int

    class RowsMeta(msgspec.Struct):
        rows: int

    async def counted(_call):
        table = pa.table({"symbol": ["A"], "trades": [3]})
        return Rows(table, RowsMeta(1))

    client = await client_of(
        view(counted, answer=TableAnswer("CountRow", Row, RowsMeta), parameters=NoParameters)
    )
    body = await (await client.get("/largest")).json()
    assert body == {"data": [{"symbol": "A", "trades": 3}], "meta": {"rows": 1}}
    assert await (await client.get("/largest?format=csv")).text() == "symbol,trades\r\nA,3\r\n"
    arrow = await (await client.get("/largest?format=arrow")).read()
    assert pa.ipc.open_stream(arrow).read_all().to_pylist() == [{"symbol": "A", "trades": 3}]


async def test_a_view_may_be_a_page(client_of):
    async def page(_call):
        return Body("<p>ä</p>", {"Content-Security-Policy": "default-src 'none'"})

    client = await client_of(view(page, answer=TextAnswer(), parameters=NoParameters))
    response = await client.get("/largest")
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["Content-Security-Policy"] == "default-src 'none'"
    assert await response.text() == "<p>ä</p>"


async def test_an_answer_that_is_not_as_declared_is_an_error(client_of):
    async def other(_call):
        return Rows(trades_table(1), META)

    async def none(_call):
        return None

    table = TableAnswer("OtherRow", trades_table(1).schema, type(META))
    for wrong in (view(other), view(none), view(none, answer=table)):
        client = await client_of(wrong)
        assert (await client.get("/largest?symbol=A")).status == 500


async def test_the_openapi_document_describes_a_view(client_of):
    client = await client_of(view())
    document = await (await client.get("/v1/openapi.json")).json()
    operation = document["paths"]["/largest"]["get"]
    assert operation["summary"] == "The largest price of the newest trades."
    named = {one["name"]: one for one in operation["parameters"]}
    assert named["symbol"]["required"] is True
    assert named["count"]["schema"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 10,
        "default": 3,
    }
    assert "Largest" in document["components"]["schemas"]
    assert {"403", "413", "422", "429", "500", "503"} <= set(operation["responses"])


@pytest.mark.parametrize("path", ["largest", "/Largest", "/a//b", "/a?b", "/../etc", "/{symbol}"])
def test_a_path_of_another_form_is_refused(path):
    with pytest.raises(ValueError, match="expected lower case"):
        view(path=path)


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ([view(path="/v1/largest")], "reserved"),
        ([view(path="/health/mine")], "reserved"),
        ([view(path="/metrics")], "served already"),
        ([view(), view()], "served already"),
        ([view(relations=("bars",))], "does not serve: expected one of trades"),
    ],
)
def test_a_view_that_cannot_be_served_is_refused_at_start(views, message):
    with pytest.raises(ValueError, match=message):
        install(web.Application(), services(), views)


def test_a_public_view_reads_no_relation():
    with pytest.raises(ValueError, match="public"):
        view(is_public=True)
    assert view(is_public=True, relations=()).is_public


POSITIONS = pa.schema(
    [
        pa.field("account", pa.string(), nullable=False),
        pa.field("desk", pa.int32(), nullable=False),
        pa.field("event_time_ns", pa.int64(), nullable=False),
        pa.field("limit", pa.int64(), nullable=False),
        pa.field("symbol", pa.int64(), nullable=False),
    ]
)


def output(*key):
    return Stream.of_output("positions", POSITIONS, key=key, time="event_time_ns")


async def test_an_output_is_selected_by_the_columns_of_its_key(client_of):
    positions = output("desk", "account")
    queries = CannedQueries(table=positions.table_schema.empty_table())
    client = await client_of(outputs=(ServedLog(positions, queries),))
    assert (await client.get("/v1/positions?account=b&desk=-7&account=a")).status == 200
    assert (await client.get("/v1/positions")).status == 200
    assert queries.asked == [
        RowsRequest(keys=(("desk", (-7,)), ("account", ("a", "b")))),
        RowsRequest(),
    ]
    for query, field in (
        ("desk=many", "desk"),
        ("desk=2147483648", "desk"),
        ("symbol=A", "symbol"),
    ):
        response = await client.get(f"/v1/positions?{query}")
        assert (response.status, (await error_of(response))["field"]) == (422, field)
    document = await (await client.get("/v1/openapi.json")).json()
    named = {one["name"] for one in document["paths"]["/v1/positions"]["get"]["parameters"]}
    assert {"account", "desk", "start", "limit"} < named
    assert not named & {"symbol", "exchange", "view"}


async def test_a_cursor_is_of_the_key_that_was_asked(client_of):
    positions = output("account")
    first = RowsRequest(keys=(("account", ("a",)),))
    token = Token("t", {0: 1}, 1, 0)
    cursor = Cursor(
        token=token,
        after=Key(1, 0, 0, 0),
        symbols=(),
        exchanges=(),
        start_ns=None,
        end_ns=None,
        descending=False,
        limit=50,
        asked=first.asked(),
        keys=first.keys,
    )
    queries = CannedQueries(table=positions.table_schema.empty_table())
    client = await client_of(outputs=(ServedLog(positions, queries),))
    own = {"cursor": cursor.encode(), "account": "a"}
    assert (await client.get("/v1/positions", params=own)).status == 200
    assert queries.asked[0].keys == first.keys
    response = await client.get("/v1/positions", params={**own, "account": "b"})
    assert (response.status, (await error_of(response))["field"]) == (422, "cursor")


@pytest.mark.parametrize(
    ("key", "message"),
    [(("limit",), "rename the column"), (("symbol",), "expected text")],
)
def test_a_key_column_that_cannot_be_a_parameter_is_refused(key, message):
    with pytest.raises(ValueError, match=message):
        declared((TRADES, output(*key)))


async def test_a_further_stream_has_its_endpoint_without_code(client_of):
    class Quotes(CannedQueries):
        """Answers for another stream."""

    quotes = Quotes(table=QUOTES.table_schema.empty_table())
    client = await client_of(view(relations=("quotes",)), outputs=(ServedLog(QUOTES, quotes),))
    response = await client.get("/v1/quotes?limit=5")
    assert (await response.json())["data"] == []
    assert quotes.asked == [RowsRequest(limit=5)]
    assert (await client.get("/v1/quotes?view=corrected")).status == 422
    document = await (await client.get("/v1/openapi.json")).json()
    assert set(document["paths"]) > {"/v1/trades", "/v1/quotes", "/largest"}
    row = document["components"]["schemas"]["QuotesRow"]
    assert list(row["properties"]) == QUOTES.table_schema.names
