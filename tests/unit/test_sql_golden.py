"""Statements give what plain DuckDB gives over a full copy of the relations."""

import duckdb
import pyarrow as pa
import pytest
from query_world import T0
from sql_world import US, SqlWorld, statements

from k2_streams.core.records.stream import TRADES
from k2_streams.query.sql.answer import answerable
from k2_streams.query.sql.sandbox import Sandbox
from k2_streams.query.token import Token

ANSWERED = statements("answered")


@pytest.fixture(scope="module")
def sandbox():
    made = Sandbox()
    yield made
    made.close()


@pytest.fixture
async def asked(tmp_path, sandbox):
    made = SqlWorld(tmp_path, sandbox)
    await made.world.query.refresh()
    yield made
    await made.close()


@pytest.fixture
def copy(asked):
    connection = duckdb.connect(":memory:", config={"threads": 1})
    connection.execute("SET TimeZone = 'UTC'")
    rows = asked.world.log.rows(asked.world.log.ends)
    connection.register("trades", pa.Table.from_pylist(rows, schema=TRADES.table_schema))
    return connection


def test_there_are_enough_of_them():
    assert len(set(ANSWERED)) == len(ANSWERED) >= 40


@pytest.mark.parametrize("text", ANSWERED)
@pytest.mark.slow
async def test_a_statement_gives_what_a_full_copy_gives(asked, copy, text):
    answer = await asked.ask(text)
    expected = answerable(copy.sql(text).to_arrow_table())
    assert answer.rows.to_pylist() == expected.to_pylist()
    assert answer.rows.schema.types == expected.schema.types
    assert not answer.meta.truncated
    if not answer.meta.token:
        return
    # The same token, wherever the rows are meanwhile: the same bytes.
    tokens = {
        name: Token.decode(token)
        for name, _, token in (part.rpartition(":") for part in answer.meta.token.split(","))
    }
    asked.world.commit()
    await asked.world.query.refresh()
    asked.add(0, [("A", T0 + 1), ("D", T0 + 5_000)], US + 99)
    again = await asked.ask(text, as_of=tokens)
    assert again.rows.equals(answer.rows)
    assert again.meta.token == answer.meta.token
