"""An app that serves outputs alone: each has its path, and what is about raw sources is absent."""

import pyarrow as pa
import pytest
from aiohttp.test_utils import TestClient, TestServer
from web_support import CannedQueries, application

from k2_streams.core.records.stream import Stream
from k2_streams.query.errors import UnknownSymbolError
from k2_streams.query.relations import ServedLog
from k2_streams.query.request import RowsRequest, SnapshotsRequest

SCHEMA = pa.schema(
    [
        pa.field("exchange", pa.string(), nullable=False),
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("account", pa.int64(), nullable=False),
        pa.field("desk", pa.int32(), nullable=False),
        pa.field("time_ns", pa.int64(), nullable=False),
        pa.field("levels", pa.list_(pa.struct([("price", pa.float64()), ("size", pa.int64())]))),
        pa.field("notes", pa.map_(pa.string(), pa.string())),
    ]
)
ROW = {
    "exchange": "X",
    "symbol": "A",
    "account": -(2**63),
    "desk": 7,
    "time_ns": 5,
    "levels": [{"price": 1.5, "size": 2}, None],
    "notes": [("why", 'a "b"')],
}
ALERTS = Stream.of_output("alerts", SCHEMA, key=("exchange", "symbol"), time="time_ns")
POSITIONS = Stream.of_output("positions", SCHEMA, key=("desk", "account"), time="time_ns")


def rows_of(stream: Stream) -> pa.Table:
    position = {
        "source_partition": 0,
        "log_partition": 0,
        "log_offset": 1,
        "log_row": 0,
        "accepted_time": 0,
    }
    return pa.Table.from_pylist([ROW | position], schema=stream.table_schema)


@pytest.fixture
async def served():
    """A client of an app with both outputs, and what each was asked."""
    alerts, positions = (CannedQueries(rows_of(stream)) for stream in (ALERTS, POSITIONS))
    logs = (ServedLog(ALERTS, alerts), ServedLog(POSITIONS, positions))
    async with TestClient(TestServer(application(logs=logs))) as client:
        yield client, alerts, positions


async def test_each_output_has_its_path_and_paths_about_raw_sources_do_not_exist(served):
    client, *_ = served
    document = await (await client.get("/v1/openapi.json")).json()
    assert [path for path in document["paths"] if path.startswith("/v1/")] == [
        "/v1/alerts",
        "/v1/alerts/stream",
        "/v1/openapi.json",
        "/v1/positions",
        "/v1/positions/stream",
        "/v1/snapshots",
        "/v1/sql",
        "/v1/status",
    ]
    for path in ("/v1/gaps", "/v1/lines", "/v1/symbols", "/v1/trades"):
        response = await client.get(path)
        assert response.status == 404
        error = (await response.json())["error"]
        assert error["code"] == "not_found"
        assert "/v1/alerts, /v1/alerts/stream, /v1/openapi.json" in error["message"]


async def test_outputs_are_selected_by_their_own_keys(served):
    client, alerts, positions = served
    assert (await client.get("/v1/alerts?symbol=A&exchange=X&limit=2")).status == 200
    assert alerts.asked == [RowsRequest(symbols=("A",), exchanges=("X",), limit=2)]
    query = "desk=-2147483648&desk=2147483647&account=-9223372036854775808"
    assert (await client.get(f"/v1/positions?{query}")).status == 200
    keys = (("desk", (-(2**31), 2**31 - 1)), ("account", (-(2**63),)))
    assert positions.asked == [RowsRequest(keys=keys)]
    for wrong in ("desk=2147483648", "account=9223372036854775808", "account=1.0", "desk="):
        response = await client.get(f"/v1/positions?{wrong}")
        error = (await response.json())["error"]
        assert (response.status, error["field"]) == (422, wrong.partition("=")[0])


async def test_nested_columns_are_answered_and_described(served):
    client, *_ = served
    (row,) = (await (await client.get("/v1/positions")).json())["data"]
    assert row["levels"] == [{"price": 1.5, "size": 2}, None]
    assert row["notes"] == {"why": 'a "b"'}
    assert row["account"] == -(2**63)
    document = await (await client.get("/v1/openapi.json")).json()
    columns = document["components"]["schemas"]["PositionsRow"]["properties"]
    assert columns["levels"]["type"] == ["array", "null"]
    assert list(columns) == POSITIONS.table_schema.names


async def test_a_value_of_a_key_that_was_never_accepted_is_named_by_its_column(served):
    client, _, positions = served
    positions.error = UnknownSymbolError(("9",), POSITIONS.name_column)
    response = await client.get("/v1/positions?account=9")
    error = (await response.json())["error"]
    assert (response.status, error["code"], error["field"]) == (404, "unknown_symbol", "account")


async def test_snapshots_are_of_the_first_output_unless_another_is_named(served):
    client, alerts, positions = served
    assert (await client.get("/v1/snapshots?limit=3")).status == 200
    assert (alerts.asked, positions.asked) == ([SnapshotsRequest(limit=3)], [])
    assert (await client.get("/v1/snapshots?stream=positions")).status == 200
    assert positions.asked == [SnapshotsRequest()]
    response = await client.get("/v1/snapshots?stream=trades")
    error = (await response.json())["error"]
    assert (response.status, error["field"]) == (422, "stream")
    assert "expected one of alerts, positions" in error["message"]


async def test_an_app_without_a_log_has_status_and_health():
    async with TestClient(TestServer(application(logs=()))) as client:
        assert (await client.get("/v1/status")).status == 200
        assert (await client.get("/health/ready")).status == 200
        assert (await client.get("/v1/snapshots")).status == 404
