"""Answers to statements: what is read for them, at which read point, and what proves it."""
# ruff: noqa: S608 - statements are what is tested

import asyncio
import time

import duckdb
import msgspec
import pyarrow as pa
import pytest
from aiohttp.test_utils import TestClient, TestServer
from query_world import T0
from sql_world import US, SqlWorld
from web_support import application

from k2_streams.query.errors import InvalidParameter, TooMuchError
from k2_streams.query.relations import ServedLog
from k2_streams.query.request import RowsRequest
from k2_streams.query.sql import query as sql_query
from k2_streams.query.sql.allowed import FUNCTIONS, TABLE_FUNCTIONS
from k2_streams.query.sql.query import SqlRequest
from k2_streams.query.token import Token

SINCE = f"exchange_time_ns >= {T0}"
ALL = f"SELECT * FROM trades WHERE {SINCE}"
SLOW = "SELECT count(*) FROM range(100000) a, range(100000) b, range(1000) c"


@pytest.fixture
async def asked(tmp_path):
    made = SqlWorld(tmp_path)
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (f"SELECT 1 FROM trades WHERE {SINCE}", {"start_ns": T0}),
        (
            f"SELECT 1 FROM trades WHERE {SINCE} AND exchange_time_ns < {T0 + 5} AND symbol = 'A'",
            {"start_ns": T0, "end_ns": T0 + 5, "symbols": ("A",)},
        ),
        (
            f"SELECT 1 FROM trades t WHERE t.exchange_time_ns > {T0} AND exchange IN ('Y', 'X')",
            {"start_ns": T0 + 1, "exchanges": ("X", "Y")},
        ),
        (
            (
                f"SELECT 1 FROM trades WHERE exchange_time BETWEEN make_timestamptz({US}) "
                f"AND make_timestamptz({US + 1})"
            ),
            {"start_ns": T0, "end_ns": T0 + 2_000},
        ),
        (
            "SELECT 1 FROM trades WHERE exchange_time = '2023-11-14T22:13:20Z'",
            {"start_ns": T0, "end_ns": T0 + 1_000},
        ),
        (f"SELECT 1 FROM trades WHERE {SINCE} OR symbol = 'A'", {}),
        (f"SELECT 1 FROM trades WHERE NOT {SINCE}", {}),
        (f"SELECT 1 FROM trades WHERE exchange_time_ns >= {T0}.5", {}),
        (f"SELECT 1 FROM trades WHERE {SINCE} AND symbol <> 'A'", {"start_ns": T0}),
        (f"SELECT 1 FROM trades WHERE {SINCE} AND upper(symbol) = 'A'", {"start_ns": T0}),
        (
            (
                f"SELECT 1 FROM trades WHERE {SINCE} AND symbol = 'A' UNION ALL "
                f"SELECT 1 FROM trades WHERE exchange_time_ns >= {T0 - 9} AND symbol = 'B'"
            ),
            {"start_ns": T0 - 9, "symbols": ("A", "B")},
        ),
        (
            f"SELECT 1 FROM trades WHERE {SINCE} AND symbol = 'A' UNION ALL SELECT 1 FROM trades",
            {},
        ),
        (
            (
                f"SELECT 1 FROM range(1) r ASOF JOIN trades t ON r.range >= t.exchange_time_ns "
                f"WHERE t.{SINCE} AND t.symbol = 'A'"
            ),
            {},
        ),
        (
            f"SELECT 1 FROM range(1) r POSITIONAL JOIN trades t WHERE t.{SINCE}",
            {},
        ),
        (f"SELECT 1 FROM range(1) r LEFT JOIN trades t ON t.{SINCE}", {}),
        (f"SELECT 1 FROM range(1) r JOIN trades t ON t.{SINCE}", {"start_ns": T0}),
        (
            f"SELECT 1 FROM trades WHERE {SINCE} AND exchange_time_ns < 5",
            {"start_ns": T0, "end_ns": T0},
        ),
    ],
)
@pytest.mark.slow
async def test_only_rows_are_read_that_a_statement_can_need(asked, text, wanted):
    seen = []

    class Watched:
        async def rows(self, request):
            seen.append(request)
            return await asked.world.query.rows(request)

    watched = sql_query.SqlQuery(
        [ServedLog(asked.world.query.stream, Watched())], asked.sandbox, asked.world.clock
    )
    await watched.answer(SqlRequest(text=text, is_full=True))
    (request,) = seen
    plain = RowsRequest(limit=sql_query.MAX_READ_ROWS, checks_names=False)
    assert request == msgspec.structs.replace(plain, **wanted)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM trades",
        f"SELECT * FROM trades WHERE exchange_time_ns < {T0}",
        f"SELECT * FROM trades a JOIN trades b USING (symbol) WHERE a.{SINCE}",
        "SELECT * FROM trades WHERE exchange_time_ns >= 1.5",
    ],
)
async def test_without_a_bound_in_time_nothing_is_read_unless_all_is_wanted(asked, text):
    with pytest.raises(InvalidParameter, match="full=true") as error:
        await asked.ask(text)
    assert error.value.field == "query"
    assert "exchange_time_ns >=" in error.value.message


async def test_all_of_a_relation_is_read_if_that_is_said(asked):
    answer = await asked.ask("SELECT count(*) AS n FROM trades", is_full=True)
    assert answer.rows.to_pylist() == [{"n": 60}]


async def test_conditions_on_renamed_columns_are_about_what_they_rename(asked):
    """Were it the column of that name, no row of it would be read, and none be missing."""
    renamed = "trades AS t(id, symbol, exchange)"
    answer = await asked.ask(f"SELECT id FROM {renamed} WHERE t.exchange = 'A' AND {SINCE}")
    wanted = await asked.ask(f"SELECT 1 FROM trades WHERE symbol = 'A' AND {SINCE}")
    assert answer.rows.num_rows == wanted.rows.num_rows > 0
    assert answer.meta.complete is wanted.meta.complete is False
    nothing = await asked.ask(f"SELECT id FROM {renamed} WHERE symbol = 'A' AND {SINCE}")
    assert nothing.rows.num_rows == 0


async def test_every_relation_that_is_named_has_its_proof(asked):
    text = (
        f"SELECT (SELECT count(*) FROM trades WHERE {SINCE} AND symbol = 'A') AS rows, "
        "(SELECT count(*) FROM gaps) AS gaps, (SELECT sum(trades) FROM symbols) AS counted, "
        "(SELECT count(*) FROM snapshots) AS snapshots"
    )
    answer = await asked.ask(text)
    assert answer.rows.to_pylist() == [{"rows": 24, "gaps": 1, "counted": 60, "snapshots": 1}]
    proof = answer.meta.relations
    assert list(proof) == ["gaps", "snapshots", "symbols", "trades"]
    assert (proof["trades"]["rows"], proof["trades"]["start_ns"]) == (24, T0)
    assert [gap["state"] for gap in proof["trades"]["gaps"]] == ["open"]
    assert proof["symbols"]["token"] == proof["trades"]["token"]
    assert answer.meta.token == f"trades:{proof['trades']['token']}"
    assert not answer.meta.complete


async def test_relations_are_read_as_known_at_a_time(asked):
    text = f"SELECT count(*) AS n, (SELECT count(*) FROM gaps) AS g FROM trades WHERE {SINCE}"
    for known_us, rows, gaps in ((US, 5, 0), (US + 2, 15, 0), (US + 3, 20, 1)):
        answer = await asked.ask(text, known_at_ns=known_us * 1_000)
        assert answer.rows.to_pylist() == [{"n": rows, "g": gaps}]
        assert answer.meta.known_at_ns == known_us * 1_000
        token = Token.decode(answer.meta.token.removeprefix("trades:"))
        again = await asked.ask(
            f"SELECT count(*) AS n FROM trades WHERE {SINCE}", as_of={"": token}
        )
        assert again.rows.to_pylist() == [{"n": rows}]


async def test_more_rows_than_the_limit_are_said_to_be_there(asked):
    answer = await asked.ask(ALL, limit=7)
    assert (answer.rows.num_rows, answer.meta.rows, answer.meta.truncated) == (7, 7, True)
    assert not (await asked.ask(ALL, limit=60)).meta.truncated


async def test_more_rows_than_may_be_read_are_too_much(asked, monkeypatch):
    monkeypatch.setattr(sql_query, "MAX_READ_ROWS", 59)
    with pytest.raises(TooMuchError, match="exchange, symbol, exchange_time_ns"):
        await asked.ask(f"SELECT count(*) FROM trades WHERE {SINCE}")


async def test_parameters_are_bound(asked):
    text = "SELECT count(*) AS n FROM trades WHERE exchange_time_ns >= $since AND symbol = $who"
    answer = await asked.ask(text, parameters={"since": T0, "who": "A"})
    assert answer.rows.to_pylist() == [{"n": 24}]
    assert answer.meta.relations["trades"]["rows"] == 24
    hostile = await asked.ask(text, parameters={"since": T0, "who": "' OR 1=1 --"})
    assert hostile.rows.to_pylist() == [{"n": 0}]
    for given, field in (({"since": T0}, "p.who"), ({"since": T0, "who": "A", "x": 1}, "p.x")):
        with pytest.raises(InvalidParameter) as error:
            await asked.ask(text, parameters=given)
        assert error.value.field == field


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"SELECT nope FROM trades WHERE {SINCE}", 'column "nope" not found'),
        (f"SELECT price FROM trade WHERE {SINCE}", "there is no relation trade: expected one of"),
        (f"SELECT symbol, symbol FROM trades WHERE {SINCE}", "give one another name with AS"),
        ("SELECT INTERVAL 1 DAY AS a", "cast it to VARCHAR"),
        (f"SELECT 'x'::INT FROM trades WHERE {SINCE}", "Could not convert string 'x'"),
    ],
)
async def test_an_error_says_what_to_correct(asked, text, message):
    with pytest.raises(InvalidParameter) as error:
        await asked.ask(text)
    assert message in error.value.message
    assert "LINE 1" not in error.value.message


@pytest.mark.parametrize(
    "as_of",
    [{"quotes": Token("t", {}, 0, 0)}, {"": Token("t", {}, 0, 0), "trades": Token("t", {}, 0, 0)}],
)
async def test_a_token_is_needed_of_each_log_that_is_read(asked, as_of):
    with pytest.raises(InvalidParameter) as error:
        await asked.ask(ALL, as_of=as_of)
    assert error.value.field == "as_of"


async def test_an_asker_who_goes_away_leaves_no_statement_behind(asked):
    waiting = [asyncio.create_task(asked.ask(SLOW)) for _ in range(2)]
    await asyncio.sleep(0.3)
    for task in waiting:
        task.cancel()
    started_s = time.monotonic()
    # Both workers are taken until what they did has ended.
    answers = await asyncio.gather(*(asked.ask("SELECT 1 AS a") for _ in range(2)))
    assert [one.rows.to_pylist() for one in answers] == [[{"a": 1}]] * 2
    assert time.monotonic() - started_s < 0.5 * asked.sandbox.timeout_s


def test_every_function_that_is_allowed_is_one():
    known = {
        name
        for (name,) in duckdb.connect()
        .execute("SELECT function_name FROM duckdb_functions()")
        .fetchall()
    }
    #: Names that the parser has of its own.
    own = {"count_star", "position", "extract", "nullif", "if", "ifnull", "coalesce", "grouping"}
    windows = {"rank_dense"}
    assert FUNCTIONS - known - own - windows == set()
    assert known >= TABLE_FUNCTIONS


@pytest.fixture
async def client(asked):
    async with TestClient(TestServer(application(asked.world.query))) as client:
        yield client


async def test_a_statement_is_asked_by_get_and_by_post(client):
    text = (
        "SELECT symbol, sum(quantity) AS q FROM trades WHERE exchange_time_ns >= $t "
        "GROUP BY ALL ORDER BY 1"
    )
    by_get = await client.get("/v1/sql", params={"query": text, "p.t": str(T0)})
    by_post = await client.post(
        f"/v1/sql?p.t={T0}", data=text, headers={"Content-Type": "application/sql"}
    )
    first, second = await by_get.json(), await by_post.json()
    assert by_get.status == by_post.status == 200
    assert first["data"] == second["data"] != []
    assert first["meta"]["relations"]["trades"]["rows"] == 60
    token = first["meta"]["token"]
    arrow = await client.get(
        "/v1/sql", params={"query": text, "p.t": str(T0), "as_of": token, "format": "arrow"}
    )
    table = pa.ipc.open_stream(await arrow.read()).read_all()
    assert [row["symbol"] for row in table.to_pylist()] == [row["symbol"] for row in first["data"]]
    csv = await client.get("/v1/sql", params={"query": text, "p.t": str(T0), "format": "csv"})
    assert (await csv.text()).startswith("symbol,q\r\nA,")


@pytest.mark.parametrize(
    ("path", "body", "kind", "status", "code"),
    [
        ("/v1/sql", b"SELECT 1", "text/plain", 415, "unsupported_media_type"),
        ("/v1/sql", b"SELECT '" + b"a" * 70_000 + b"'", "application/sql", 413, "body_too_long"),
        ("/v1/sql", b"\xff", "application/sql", 422, "invalid_parameter"),
        ("/v1/sql?query=SELECT+1", b"SELECT 1", "application/sql", 422, "invalid_parameter"),
        ("/v1/sql", b"DROP TABLE trades", "application/sql", 422, "invalid_parameter"),
        ("/v1/trades", b"SELECT 1", "application/sql", 413, "body_not_allowed"),
    ],
)
async def test_a_body_is_one_statement_of_a_path_that_takes_it(
    client, path, body, kind, status, code
):
    answer = await client.post(path, data=body, headers={"Content-Type": kind})
    assert (answer.status, (await answer.json())["error"]["code"]) == (status, code)


async def test_a_parameter_of_the_callers_own_is_given_once_and_only_there(client):
    twice = await client.get("/v1/sql?query=SELECT+$a+AS+a&p.a=1&p.a=2")
    assert (await twice.json())["error"]["field"] == "p.a"
    other = await client.get("/v1/trades?p.a=1")
    assert (await other.json())["error"]["field"] == "p.a"
    kinds = await client.get(
        "/v1/sql?query=SELECT+typeof($a)+AS+a,+typeof($b)+AS+b,+$c+AS+c&p.a=1&p.b=1.5&p.c=1e5"
    )
    assert (await kinds.json())["data"] == [{"a": "INTEGER", "b": "DECIMAL(2,1)", "c": "1e5"}]
