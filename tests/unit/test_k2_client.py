"""The client against a served node: results, proofs, pages of one read point, two addresses."""

import inspect
import json
import re
import tomllib
from datetime import UTC, datetime
from importlib.metadata import requires

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp.test_utils import TestServer
from documents import ROOT
from packaging.requirements import Requirement
from query_world import T0
from sql_world import US, SqlWorld
from web_node import ROWS, served
from web_support import application

import k2_client
from k2_client.operations import META_HEADER
from k2_streams.web.http import formats

MAX_PACKAGES = 8
SINCE = f"exchange_time_ns >= {T0}"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with served(tmp_path_factory.mktemp("node"), application) as found:
        yield found


@pytest.fixture
def client(address):
    with k2_client.connect(address) as found:
        yield found


@pytest.fixture
async def world(tmp_path):
    made = SqlWorld(tmp_path)
    yield made
    await made.close()


def test_rows_come_with_their_proof(client):
    assert len(client.trades()) == ROWS
    result = client.trades("AAA")
    assert result.arrow()["symbol"].unique().to_pylist() == ["AAA"]
    assert result.proof["rows"] == len(result)
    assert json.loads(result.arrow().schema.metadata[b"k2.meta"]) == result.proof
    assert client.trades("AAA", as_of=result).arrow().equals(result.arrow())


def test_what_is_missing_is_an_error_that_lists_the_gaps(client):
    result = client.trades(["AAA", "BBB"])
    assert not result.complete
    with pytest.raises(k2_client.IncompleteError, match=r"SYN:AAA lacks 5-5, 7-7") as raised:
        result.require_complete()
    assert raised.value.gaps == tuple(result.gaps)
    whole = client.trades("BBB")
    assert whole.require_complete() is whole


def test_times_have_their_nanoseconds_and_prices_the_form_that_is_wanted(client):
    decimal = client.trades("AAA").arrow()
    assert decimal.schema.field("exchange_time").type == pa.timestamp("ns", "UTC")
    assert decimal["exchange_time"].cast(pa.int64()).equals(decimal["exchange_time_ns"])
    names = ["price", "quantity"]
    text = client.trades("AAA", prices="str", columns=names).arrow()
    floats = client.trades("AAA", prices="float64", columns=names).arrow()
    assert text.column_names == names
    for price, written, number in zip(
        decimal["price"].to_pylist(), text["price"].to_pylist(), floats["price"].to_pylist(),
        strict=True,
    ):  # fmt: skip
        assert written == format(price.normalize(), "f")
        assert number == float(price)


def test_a_wrong_column_or_form_names_those_there_are(client):
    with pytest.raises(ValueError, match="there is no column 'prize': expected of message_id"):
        client.trades("AAA", columns=["prize"])
    with pytest.raises(ValueError, match="prices"):
        client.trades("AAA", prices="float32")


def test_other_libraries_read_a_result(client, tmp_path):
    result = client.trades("AAA")
    assert pl.DataFrame(result)["price"].sum() == sum(result.arrow()["price"].to_pylist())
    assert result.polars()["exchange_time"].dtype == pl.Datetime("ns", "UTC")
    frame = result.pandas()
    assert str(frame["exchange_time"].dtype) == "timestamp[ns, tz=UTC][pyarrow]"
    connection = duckdb.connect()
    assert result.duckdb("t", connection).count("*").fetchall() == [(len(result),)]
    assert connection.execute("SELECT max(price) FROM t").fetchone()[0] == frame["price"].max()
    written = result.parquet(tmp_path / "trades.parquet")
    assert json.loads(pq.read_schema(written).metadata[b"k2.meta"])["token"] == result.token
    assert pq.read_table(written)["price"].equals(result.arrow()["price"])
    assert list(tmp_path.iterdir()) == [written]


def test_lists_and_other_paths(client):
    assert client.symbols().arrow()["symbol"].to_pylist() == ["AAA", "BBB"]
    assert set(client.gaps(state=["open", "filled"]).arrow()["state"].to_pylist()) == {
        "open",
        "filled",
    }
    assert client.snapshots(stream="trades").arrow()["operation"].to_pylist() == ["append"] * 2
    assert client.json("/v1/status")["level"] == "NORMAL"
    since = datetime(2020, 1, 1, tzinfo=UTC)
    assert len(client.trades("AAA", start=since, end="last")) == len(client.trades("AAA"))


def test_a_refusal_names_what_to_correct(client):
    with pytest.raises(k2_client.QuestionRefusedError, match="window") as raised:
        client.trades("AAA", window="fortnight")
    assert raised.value.field == "window"
    with pytest.raises(k2_client.QuestionRefusedError, match="/v1/trades"):
        client.rows("nothing")


def test_relations_are_those_of_statements(client):
    relations = client.relations()
    assert {"trades", "gaps", "symbols", "snapshots"} <= set(relations)
    assert relations["trades"]["price"] == "decimal"
    assert relations["trades"]["exchange_time"] == "date-time"
    assert relations["gaps"]["missing"] == "array"
    for name, columns in relations.items():
        rows = client.sql(f"SELECT * FROM {name} LIMIT 1", full=True)  # noqa: S608 - a name of ours
        assert rows.arrow().column_names == list(columns), name


def test_a_statement_has_parameters_and_a_token(client):
    query = "SELECT symbol, count(*) AS n FROM trades WHERE exchange_time_ns >= $t GROUP BY ALL"
    result = client.sql(query, {"t": 0})
    assert result.token.startswith("trades:")
    assert not result.complete
    assert {gap["scope"] for gap in result.gaps} == {"SYN:AAA"}
    again = client.sql(query, {"t": 0}, as_of=result)
    assert again.arrow().sort_by("symbol").equals(result.arrow().sort_by("symbol"))


def test_more_rows_of_a_statement_than_its_limit_are_an_error_unless_one_is_given(client):
    query = "SELECT * FROM range(200000)"
    with pytest.raises(k2_client.TooManyRowsError, match="100,000 rows"):
        client.sql(query)
    assert client.sql(query, limit=5).truncated


@pytest.mark.parametrize("form", ["json", "arrow", "csv", "parquet", "markdown"])
def test_each_format_of_a_statement_has_its_proof(client, form):
    found = client.sql_document("SELECT 1 AS one, 'a|b' AS two", form=form)
    assert found.proof["complete"]
    assert found.proof["rows"] == 1
    assert found.body


def test_a_proof_that_is_not_there_is_unreadable(client, monkeypatch):
    monkeypatch.setattr("k2_client.operations.META_HEADER", "X-None")
    with pytest.raises(k2_client.UnreadableError):
        client.sql_document("SELECT 1 AS one", form="csv")
    assert META_HEADER == formats.META_HEADER


class Between:
    """A transport, with something that happens after each answer."""

    def __init__(self, transport, happens):
        self._transport = transport
        self._happens = happens
        self.asked = []

    async def send(self, step):
        self.asked.append(step.address)
        outcome = await self._transport.send(step)
        await self._happens(len(self.asked))
        return outcome

    async def close(self):
        await self._transport.close()


def between(client, happens):
    client._transport = Between(client._transport, happens)
    return client._transport


async def test_pages_are_one_cut_however_many_rows_come_meanwhile(world):
    async with TestServer(application(world.world.query)) as server:
        address = str(server.make_url("")).rstrip("/")
        async with k2_client.AsyncClient(address) as client:
            whole = await client.trades()

        async def more_rows(number):
            world.add(number % 2, [("A", T0 + number)] * 3, US + 100 + number)

        async with k2_client.AsyncClient(address, page_rows=7) as client:
            transport = between(client, more_rows)
            paged = await client.trades()
            assert len(transport.asked) > 5
            assert len(await client.trades()) > len(whole)
    assert paged.arrow().equals(whole.arrow())
    assert paged.token == whole.token


async def test_a_node_that_ends_between_two_pages_is_not_noticed(world):
    first = TestServer(application(world.world.query))
    async with first, TestServer(application(world.world.query)) as second:
        addresses = [str(one.make_url("")).rstrip("/") for one in (first, second)]
        async with k2_client.AsyncClient(addresses, page_rows=7) as client:
            whole = await client.trades(limit=1_000)

            async def end_first(number):
                if number == 2:
                    await first.close()

            transport = between(client, end_first)
            paged = await client.trades()
    assert set(transport.asked[:2]) == {addresses[0]}
    assert addresses[1] in transport.asked
    assert paged.arrow().equals(whole.arrow())


def in_order(rows):
    place = ("log_partition", "log_offset", "log_row")
    return rows.replace_schema_metadata().sort_by([(name, "ascending") for name in place])


async def test_a_stream_gives_the_rows_of_an_answer(address, client):
    expected = in_order(client.trades("AAA").arrow())
    frames = list(client.stream("trades", "AAA", start="begin", end="end"))
    async with k2_client.AsyncClient(address) as other:
        awaited = [one async for one in other.stream("trades", "AAA", start="begin", end="end")]
    for found in (frames, awaited):
        assert found[0].kind == "progress"
        assert found[-1].kind == "end"
        assert found[-1].fields["rows"] == expected.num_rows
        assert in_order(pa.concat_tables(frame.rows for frame in found)).equals(expected)


def test_a_stream_goes_on_from_the_token_of_a_frame(client):
    frames = list(client.stream("trades", start="begin", end="end"))
    at = next(n for n, frame in enumerate(frames) if frame.kind == "rows")
    rest = list(client.stream("trades", start=frames[at].token, end="end"))
    both = pa.concat_tables(frame.rows for frame in (*frames[: at + 1], *rest))
    assert in_order(both).equals(in_order(client.trades().arrow()))


async def test_silence_ends_at_the_timeout():
    import asyncio  # noqa: PLC0415 - of this test alone

    async def silent(_reader, writer):
        await asyncio.sleep(30)
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = k2_client.AsyncClient(f"http://127.0.0.1:{port}", timeout_s=0.1, patience_s=0.1)
    with pytest.raises(k2_client.UnavailableError, match="/v1/trades"):
        await client.trades()
    await client.close()
    server.close()


def test_both_clients_have_the_same_methods_and_options():
    def signatures(kind):
        return {
            name: inspect.signature(method).parameters
            for name, method in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")
        }

    assert signatures(k2_client.Client) == signatures(k2_client.AsyncClient)


def project(folder):
    return tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]


def test_the_client_brings_few_packages_and_none_of_the_server():
    def closure(texts, found):
        for text in texts:
            one = Requirement(text)
            name = re.sub(r"[-_.]+", "-", one.name).lower()
            if (one.marker is None or one.marker.evaluate({"extra": ""})) and name not in found:
                found.add(name)
                closure(requires(name) or [], found)
        return found

    direct = project("client")["dependencies"]
    assert {Requirement(text).name for text in direct} == {"httpx", "pyarrow"}
    assert len(closure(direct, set())) <= MAX_PACKAGES


def test_server_and_client_are_of_one_version():
    server = project(".")
    assert project("client")["version"] == server["version"]
    assert f"k2-client=={server['version']}" in server["dependencies"]
