"""The paths over a real node: rows of both parts, their proof, formats, pages and validators."""

import asyncio
import csv
import io
import json
import re
from decimal import Decimal

import aiohttp
import pyarrow as pa
import pytest
import yarl
from aiohttp.test_utils import TestClient, TestServer
from lake_rows import NOON_NS
from msgspec.structs import replace
from web_node import IN_LAKE, RECORDS, ROWS, ROWS_A_RECORD, SYMBOLS, served
from web_support import META, CannedQueries, application, trades_table

from k2_streams.core.records.schema import TRADES
from k2_streams.web.declaration.times import FIRST_INTEGER_NS
from k2_streams.web.http import answers


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


async def json_of(client, path, **parameters):
    response = await client.get(path, params=parameters)
    assert response.status == 200, await response.text()
    assert response.headers["Content-Type"] == "application/json"
    return await response.json()


async def test_trades_of_both_parts_with_their_proof(client):
    answer = await json_of(client, "/v1/trades")
    rows, meta = answer["data"], answer["meta"]
    assert len(rows) == meta["rows"] == ROWS
    assert meta["rows_lake"] == 2 * IN_LAKE * ROWS_A_RECORD
    assert meta["rows_tail"] == ROWS - meta["rows_lake"]
    assert meta["offsets"] == {"0": RECORDS, "1": RECORDS}
    assert len({(row["log_partition"], row["log_offset"], row["log_row"]) for row in rows}) == ROWS
    assert [row["exchange_time_ns"] for row in rows] == sorted(
        row["exchange_time_ns"] for row in rows
    )
    assert list(rows[0]) == TRADES.names
    assert rows[0]["price"] == "1.0000000001"
    assert rows[0]["quantity"] == "12345678901234567890.000000000000000001"
    assert rows[0]["exchange_time"] == "2025-11-23T12:00:00.000000Z"


async def test_a_symbol_and_a_range(client):
    start = NOON_NS + 2 * 10**9
    end = NOON_NS + 5 * 10**9
    answer = await json_of(client, "/v1/trades", symbol="AAA", start=start, end=end)
    assert answer["data"]
    for row in answer["data"]:
        assert row["symbol"] == "AAA"
        assert start <= row["exchange_time_ns"] < end


@pytest.mark.parametrize(
    ("path", "parameters", "field"),
    [
        ("/v1/trades", {"limit": "0"}, "limit"),
        ("/v1/trades", {"limit": "250001"}, "limit"),
        ("/v1/trades", {"limit": "ten"}, "limit"),
        ("/v1/trades", {"symbl": "AAA"}, "symbl"),
        ("/v1/trades", {"start": "2025-11-23T12:00:00"}, "start"),
        ("/v1/trades", {"start": "2", "end": "1"}, "start"),
        ("/v1/trades", {"order": "up"}, "order"),
        ("/v1/trades", {"cursor": "nonsense"}, "cursor"),
        ("/v1/trades", {"as_of": "nonsense"}, "as_of"),
        ("/v1/trades", {"format": "xml"}, "format"),
        ("/v1/trades", {"symbol": ""}, "symbol"),
        ("/v1/trades", {"tz": "Nowhere/Land"}, "tz"),
        ("/v1/trades", {"api_key": "k"}, "api_key"),
        ("/v1/gaps", {"state": "ajar"}, "state"),
        ("/v1/symbols", {"limit": "1"}, "limit"),
        ("/v1/snapshots", {"limit": "-1"}, "limit"),
        ("/v1/status", {"verbose": "1"}, "verbose"),
        ("/health/live", {"a": "b"}, "a"),
        ("/v1/openapi.json", {"a": "b"}, "a"),
        ("/metrics", {"a": "b"}, "a"),
        ("/", {"a": "b"}, "a"),
    ],
)
async def test_a_bad_parameter_is_named(client, path, parameters, field):
    response = await client.get(path, params=parameters)
    assert response.status == 422
    error = (await response.json())["error"]
    assert error["code"] == "invalid_parameter"
    assert error["field"] == field


async def test_a_parameter_given_twice_is_refused(client):
    response = await client.get("/v1/trades?limit=1&limit=2")
    assert response.status == 422
    assert (await response.json())["error"]["field"] == "limit"


async def test_an_unknown_symbol_404_a_known_one_without_trades_200(client):
    response = await client.get("/v1/trades", params={"symbol": "NOPE"})
    assert response.status == 404
    assert (await response.json())["error"]["code"] == "unknown_symbol"
    answer = await json_of(client, "/v1/trades", symbol="AAA", start="0", end=str(FIRST_INTEGER_NS))
    assert answer["data"] == []


async def test_csv_and_arrow_hold_what_json_holds(client):
    asked = {"symbol": "BBB", "limit": "7"}
    expected = (await json_of(client, "/v1/trades", **asked))["data"]
    response = await client.get("/v1/trades", params=asked, headers={"Accept": "text/csv"})
    assert response.headers["Content-Type"].startswith("text/csv")
    assert response.headers["Vary"] == "Accept"
    lines = list(csv.DictReader(io.StringIO(await response.text(), newline="")))
    assert [line["message_id"] for line in lines] == [row["message_id"] for row in expected]
    assert json.loads(response.headers["X-K2-Meta"])["rows"] == 7
    response = await client.get("/v1/trades", params={**asked, "format": "arrow"})
    assert response.headers["Content-Type"] == "application/vnd.apache.arrow.stream"
    with pa.ipc.open_stream(await response.read()) as reader:
        table = reader.read_all()
    assert json.loads(table.schema.metadata[b"k2.meta"])["rows"] == 7
    assert table["price"].to_pylist() == [Decimal(row["price"]) for row in expected]


async def test_an_unescaped_plus_is_no_time_of_day(client, address):
    """`+` as a form has it is a blank: the offset would be read as a time of day, hours off."""
    for text in ("2025-11-23+10:00", "2025-11-23%2010:00"):
        url = yarl.URL(f"{address}/v1/trades?tz=Australia/Sydney&start={text}", encoded=True)
        response = await client.get(url)
        assert response.status == 422
        assert (await response.json())["error"]["field"] == "start"
    url = yarl.URL(f"{address}/v1/trades?start=2025-11-23T10:00:00%2B10:00", encoded=True)
    assert (await client.get(url)).status == 200


async def test_a_partition_that_does_not_exist_is_a_wrong_parameter(client):
    for path in ("/v1/trades", "/v1/symbols"):
        response = await client.get(path, params={"min_offsets": "0:1,2:1", "wait_ms": "0"})
        assert response.status == 422
        error = (await response.json())["error"]
        assert error["field"] == "min_offsets"
        assert "partition 2" in error["message"]


async def test_head_of_an_answer(client):
    for form in ("json", "csv", "arrow"):
        got = await client.get("/v1/trades", params={"format": form, "symbol": "AAA"})
        head = await client.head("/v1/trades", params={"format": form, "symbol": "AAA"})
        assert (head.status, head.headers["Content-Type"]) == (200, got.headers["Content-Type"])
        assert ("X-K2-Meta" in head.headers) == (form == "csv")
        assert await head.read() == b""


async def test_pages_are_pinned_and_make_up_the_whole(client):
    whole = (await json_of(client, "/v1/trades"))["data"]
    page = await json_of(client, "/v1/trades", limit="17")
    rows, token = page["data"], page["meta"]["token"]
    while cursor := page["meta"]["next_cursor"]:
        page = await json_of(client, "/v1/trades", cursor=cursor)
        assert page["meta"]["token"] == token
        rows += page["data"]
    assert rows == whole


async def test_what_is_pinned_has_validators_and_the_rest_is_not_stored(client):
    response = await client.get("/v1/trades")
    assert response.headers["Cache-Control"] == "no-store"
    assert "ETag" not in response.headers
    token = (await response.json())["meta"]["token"]
    pinned = {"as_of": token, "symbol": "BBB"}
    first = await client.get("/v1/trades", params=pinned)
    etag = first.headers["ETag"]
    assert first.headers["Cache-Control"] == "private, no-cache"
    for known in (etag, etag.removeprefix("W/"), f'"other", {etag}', "*"):
        again = await client.get("/v1/trades", params=pinned, headers={"If-None-Match": known})
        assert again.status == 304
        assert again.headers["ETag"] == etag
        assert "X-Correlation-ID" in again.headers
        assert await again.read() == b""
    other = await client.get("/v1/trades", params=pinned, headers={"If-None-Match": '"other"'})
    assert other.status == 200
    assert (await other.json())["data"] == (await first.json())["data"]
    for changed in ({"symbol": "AAA"}, {"format": "csv"}, {"limit": "3"}):
        response = await client.get("/v1/trades", params={**pinned, **changed})
        assert response.headers["ETag"] != etag
    response = await client.get("/v1/trades", headers={"If-None-Match": "*"})
    assert response.status == 200


async def test_what_misses_something_is_asked_for_again(client):
    answer = await json_of(client, "/v1/trades", symbol="AAA")
    assert answer["meta"]["complete"] is False
    first = answer["meta"]["gaps"][0]
    assert (first["first"], first["last"], first["state"]) == (5, 7, "open")
    pinned = {"as_of": answer["meta"]["token"], "symbol": "AAA"}
    response = await client.get("/v1/trades", params=pinned)
    assert response.headers["Cache-Control"] == "private, no-cache"
    known = {"If-None-Match": response.headers["ETag"]}
    assert (await client.get("/v1/trades", params=pinned, headers=known)).status == 304


@pytest.mark.parametrize(
    ("settled", "kept"),
    [(True, "private, max-age=86400, immutable"), (False, "private, no-cache")],
)
async def test_only_what_is_settled_is_kept_without_asking(settled, kept):
    queries = CannedQueries(meta=replace(META, pinned=True, settled=settled))
    async with TestClient(TestServer(application(queries))) as client:
        response = await client.get("/v1/trades")
        assert response.headers["Cache-Control"] == kept
        assert response.headers["Vary"] == "Accept"


async def test_where_keys_are_set_nothing_is_kept_without_asking():
    """Also by a key of everything, which may be taken away; a cache tells callers apart."""
    queries = CannedQueries(meta=replace(META, pinned=True, settled=True))
    async with TestClient(TestServer(application(queries, keys=("k",)))) as client:
        headers = {"X-API-Key": "k"}
        for _ in range(2):
            response = await client.get("/v1/trades", headers=headers)
            assert response.headers["Cache-Control"] == "private, no-cache"
            assert response.headers["Vary"] == "Accept, Cookie, Authorization, X-API-Key"
            headers["If-None-Match"] = response.headers["ETag"]
        assert response.status == 304


async def test_another_word_on_gaps_is_another_answer():
    queries = CannedQueries(meta=replace(META, pinned=True, complete=False))
    async with TestClient(TestServer(application(queries))) as client:
        before = (await client.get("/v1/trades")).headers["ETag"]
        queries.meta = replace(queries.meta, gaps=({"first": 5, "last": 7},))
        known = {"If-None-Match": before}
        response = await client.get("/v1/trades", headers=known)
        assert response.status == 200
        assert response.headers["ETag"] != before


async def test_gaps(client):
    answer = await json_of(client, "/v1/gaps", state="open")
    (gap,) = answer["data"]
    assert gap["scope"] == "SYN:AAA"
    assert gap["missing"] == [[5, 5], [7, 7]]
    assert answer["meta"]["gaps"] == 1
    assert len((await json_of(client, "/v1/gaps", symbol="AAA"))["data"]) == 2
    assert (await json_of(client, "/v1/gaps", symbol="BBB"))["data"] == []
    response = await client.get("/v1/gaps", params={"format": "csv"})
    (first, _) = csv.DictReader(io.StringIO(await response.text(), newline=""))
    assert first["missing"] == "[[5,5],[7,7]]"


async def test_symbols(client):
    answer = await json_of(client, "/v1/symbols")
    assert [row["symbol"] for row in answer["data"]] == list(SYMBOLS)
    first = answer["data"][0]
    assert first["gaps_opened"] == 2
    assert first["late"] == 1
    assert first["last_quantity"] == "12345678901234567890.000000000000000001"
    assert sum(row["trades"] for row in answer["data"]) == ROWS


async def test_snapshots_can_be_asked_as_of(client):
    answer = await json_of(client, "/v1/snapshots")
    newest, oldest = answer["data"]
    assert answer["meta"] == {"snapshots": 2}
    assert newest["rows_total"] == 2 * IN_LAKE * ROWS_A_RECORD
    then = await json_of(client, "/v1/trades", as_of=oldest["token"])
    assert then["meta"]["rows"] == oldest["rows_total"] == IN_LAKE * ROWS_A_RECORD


async def test_status_health_metrics_and_page(client):
    assert (await json_of(client, "/v1/status"))["level"] == "NORMAL"
    assert await json_of(client, "/health/live") == {"status": "live"}
    assert await json_of(client, "/health/ready") == {"status": "ready"}
    response = await client.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain")
    assert "k2_http_requests_total" in await response.text()
    response = await client.get("/")
    assert response.content_type == "text/html"
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    fetched = re.findall(
        r"""<(?:script|link|img)\b[^>]*?(?:src|href)="([^"]+)""", await response.text()
    )
    assert fetched
    assert not [address for address in fetched if "//" in address], "nothing of another host"


@pytest.mark.parametrize("form", ["json", "csv", "arrow"])
async def test_a_long_answer_is_sent_in_pieces_and_whole(form, monkeypatch):
    monkeypatch.setattr("k2_streams.web.http.formats.ROWS_AT_ONCE", 100)
    monkeypatch.setattr("k2_streams.web.http.formats.ARROW_ROWS", 100)
    monkeypatch.setattr("k2_streams.web.http.answers.ROWS_AT_ONCE", 100)
    async with TestClient(TestServer(application(CannedQueries(trades_table(1_050))))) as client:
        response = await client.get("/v1/trades", params={"format": form})
        assert response.headers["Transfer-Encoding"] == "chunked"
        assert "X-Correlation-ID" in response.headers
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        body = await response.read()
    match form:
        case "json":
            assert len(json.loads(body)["data"]) == 1_050
        case "csv":
            assert len(list(csv.reader(io.StringIO(body.decode(), newline="")))) == 1_051
        case "arrow":
            assert pa.ipc.open_stream(body).read_all().num_rows == 1_050


async def test_long_answers_at_once_are_bounded(monkeypatch):
    monkeypatch.setattr(answers, "ROWS_AT_ONCE", 1)
    monkeypatch.setattr(answers, "MAX_LONG_ANSWERS", 0)
    async with TestClient(TestServer(application(CannedQueries()))) as client:
        response = await client.get("/v1/trades")
        assert response.status == 503
        assert (await response.json())["error"]["code"] == "busy"


async def test_an_answer_that_breaks_half_way_breaks_the_connection(monkeypatch):
    def pieces(*_):
        yield b'{"data":['
        raise RuntimeError("broken")

    monkeypatch.setattr(answers, "ROWS_AT_ONCE", 1)
    monkeypatch.setattr(answers, "render", pieces)
    async with TestClient(TestServer(application(CannedQueries()))) as client:
        response = await client.get("/v1/trades")
        with pytest.raises(aiohttp.ClientError):
            await response.read()


async def test_a_reader_that_takes_nothing_is_let_go(monkeypatch):
    let_go = asyncio.Event()

    def abort(request):
        request.transport.abort()
        let_go.set()

    monkeypatch.setattr(answers, "STALLED_READER_S", 0.2)
    monkeypatch.setattr(answers, "MAX_LONG_ANSWERS", 1)
    monkeypatch.setattr(answers, "abort", abort)
    queries = CannedQueries(pa.concat_tables([trades_table(1_000)] * 60))
    async with TestClient(TestServer(application(queries))) as client, asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port, limit=1_024)
        writer.write(b"GET /v1/trades HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await let_go.wait()
        # Its place is free again, and what it got does not look like a whole answer. On a busy
        # machine the next reader, who shares our loop, may well rest for longer than the first.
        monkeypatch.setattr(answers, "STALLED_READER_S", 30.0)
        response = await client.get("/v1/trades")
        assert len((await response.json())["data"]) == 60_000
        received = b""
        while piece := await reader.read(2**20):
            received = received[-100:] + piece
        assert received
        assert not received.endswith(b"0\r\n\r\n")
        writer.close()
