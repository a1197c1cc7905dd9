"""A user's pages: what they read and show, and that the server's rules are theirs."""

import asyncio
import logging
from decimal import Decimal

import pyarrow as pa
import pytest
from aiohttp import web
from web_support import META, CannedQueries, services

from k2_streams.core.records.stream import Stream
from k2_streams.query.errors import BusyError
from k2_streams.query.relations import ServedLog
from k2_streams.query.request import RowsRequest
from k2_streams.web.declaration.endpoint import EndpointError
from k2_streams.web.pages import POLICY, Page, PageRequest, page_endpoints
from k2_streams.web.server import HANDLER_ARGS, install

KEY = "k-of-a-desk"
SCHEMA = pa.schema(
    [
        pa.field("account", pa.int64(), nullable=False),
        pa.field("time_ns", pa.int64(), nullable=False),
        pa.field("size", pa.decimal128(10, 2)),
    ]
)
FILLS = Stream.of_output("fills", SCHEMA, key=("account",), time="time_ns")


def fills() -> pa.Table:
    position = dict.fromkeys(
        ("source_partition", "log_partition", "log_offset", "log_row", "accepted_time"), 0
    )
    row = {"account": 7, "time_ns": 5, "size": Decimal("1.50"), **position}
    return pa.Table.from_pylist([row], schema=FILLS.table_schema)


@pytest.fixture
def client_of(client_of):
    """Makes clients for an app with one page, `/mine`."""

    async def make(page, queries=None, **changes):
        app = web.Application(handler_args=HANDLER_ARGS)
        logs = (ServedLog(FILLS, queries or CannedQueries(fills())),)
        served = services(logs=logs, **changes)
        install(app, served, page_endpoints([("/mine", page)], served.by_name))
        return await client_of(app)

    return make


async def newest(request: PageRequest):
    """The newest fill of an account."""
    answer = await request.rows(
        "fills", account=request.parameter("account"), window="15m", order="desc", limit=1
    )
    row = answer.rows.select(["account", "size"]).to_pylist()[0]
    return {"path": request.path, "newest": row, "token": answer.meta.token}


async def test_a_page_reads_rows_by_the_parameters_of_their_path(client_of):
    queries = CannedQueries(fills())
    client = await client_of(newest, queries)
    response = await client.get("/pages/mine?account=7&unread=1&unread=2")
    assert response.headers["Content-Type"] == "application/json"
    assert await response.json() == {
        "path": "/pages/mine",
        "newest": {"account": 7, "size": "1.50"},
        "token": META.token,
    }
    asked = RowsRequest(keys=(("account", (7,)),), window_ns=900 * 10**9, limit=1, descending=True)
    assert queries.asked == [asked]
    await client.get("/pages/mine")
    assert queries.asked[1].keys == ()
    head = await client.head("/pages/mine")
    assert (head.status, await head.read()) == (200, b"")


async def test_several_values_and_numbers_are_passed_as_they_are(client_of):
    async def page(request):
        answer = await request.rows("fills", account=[7, "8"], start=0, limit=5)
        return answer.rows.num_rows and [answer.meta.rows]

    queries = CannedQueries(fills())
    client = await client_of(page, queries)
    assert await (await client.get("/pages/mine")).json() == [3]
    assert queries.asked == [RowsRequest(keys=(("account", (7, 8)),), start_ns=0, limit=5)]


@pytest.mark.parametrize(
    ("query", "field"), [("account=x", "account"), ("account=1&account=2", "account")]
)
async def test_a_callers_mistake_is_the_callers(client_of, query, field):
    response = await (await client_of(newest)).get(f"/pages/mine?{query}")
    error = (await response.json())["error"]
    assert (response.status, error["code"], error["field"]) == (422, "invalid_parameter", field)


async def test_html_may_show_its_styles_and_run_no_script_of_its_own(client_of):
    async def page(_request):
        return "<p>ä</p><script>alert(1)</script>"

    response = await (await client_of(page)).get("/pages/mine")
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["Content-Security-Policy"] == POLICY
    assert "script-src 'self';" in POLICY
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"
    assert await response.text() == "<p>ä</p><script>alert(1)</script>"


@pytest.mark.parametrize(
    ("shown", "content_type", "body"),
    [
        (Page("a,b\n", "text/csv"), "text/csv; charset=utf-8", b"a,b\n"),
        (Page(b"\x89PNG", "image/png"), "image/png", b"\x89PNG"),
        (Page("ä"), "text/html; charset=utf-8", "ä".encode()),
    ],
)
async def test_a_page_may_be_of_any_content_type(client_of, shown, content_type, body):
    async def page(_request):
        return shown

    response = await (await client_of(page)).get("/pages/mine")
    assert response.headers["Content-Type"] == content_type
    assert response.headers["Content-Security-Policy"] == POLICY
    assert await response.read() == body


async def test_a_page_needs_a_key_and_keeps_the_rate_limit(client_of):
    client = await client_of(newest, keys=(KEY,), rate_limit_per_s=2)
    assert (await client.get("/pages/mine")).status == 401
    headers = {"X-API-Key": KEY, "X-Correlation-ID": "mine"}
    answers = [await client.get("/pages/mine", headers=headers) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[0].headers["X-Correlation-ID"] == "mine"


async def test_without_keys_a_page_answers_this_machine_alone(client_of):
    client = await client_of(newest)
    assert (await client.get("/pages/mine", headers={"Host": "10.0.0.7"})).status == 403


async def test_a_page_ends_at_the_time_limit_of_a_request(client_of):
    async def page(_request):
        await asyncio.Event().wait()

    response = await (await client_of(page, answer_timeout_s=0.01)).get("/pages/mine")
    assert (response.status, (await response.json())["error"]["code"]) == (503, "timeout")


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [
        (RuntimeError(KEY), 500, "internal"),
        (LookupError(KEY), 500, "internal"),
        (BusyError("queries wait", 4.0), 503, "busy"),
    ],
)
async def test_an_exception_has_the_common_body_and_never_its_text(client_of, raised, status, code):
    async def page(_request):
        raise raised

    response = await (await client_of(page)).get("/pages/mine")
    body = await response.json()
    assert (response.status, body["error"]["code"]) == (status, code)
    assert body["correlation_id"] == response.headers["X-Correlation-ID"]
    assert KEY not in await response.text()


@pytest.mark.parametrize("relation", ["trades", "status", "../status"])
async def test_a_log_that_is_not_served_cannot_be_read(client_of, relation, caplog):
    async def page(request):
        return await request.rows(relation)

    caplog.set_level(logging.ERROR)
    queries = CannedQueries(fills())
    response = await (await client_of(page, queries)).get("/pages/mine")
    assert (response.status, queries.asked) == (500, [])


async def test_what_a_page_cannot_show_is_an_error(client_of):
    async def page(request):
        return (await request.rows("fills")).rows

    assert (await (await client_of(page)).get("/pages/mine")).status == 500


async def test_the_openapi_document_describes_a_page(client_of):
    client = await client_of(newest)
    document = await (await client.get("/v1/openapi.json")).json()
    operation = document["paths"]["/pages/mine"]["get"]
    assert operation["summary"] == "The newest fill of an account."
    (free, _correlation) = operation["parameters"]
    assert free["schema"] == {"type": "object", "additionalProperties": {"type": "string"}}
    assert {"403", "404", "422", "429", "500", "503"} <= set(operation["responses"])


@pytest.mark.parametrize("path", ["mine", "/Mine", "/a//b", "/a?b", "/../etc", "/{symbol}", "//"])
def test_a_path_of_another_form_is_refused(path):
    with pytest.raises(EndpointError, match="expected"):
        page_endpoints([(path, newest)], ())


def test_a_function_that_would_block_is_refused():
    def page(_request):
        return {}

    with pytest.raises(EndpointError, match="page /mine: expected a function declared with async"):
        page_endpoints([("/mine", page)], ())


def test_two_pages_of_one_path_are_refused():
    served = services()
    pages = page_endpoints([("/mine", newest)] * 2, served.by_name)
    with pytest.raises(EndpointError, match="served already"):
        install(web.Application(), served, pages)
