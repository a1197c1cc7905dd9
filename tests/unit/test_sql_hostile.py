"""Statements that mean harm: each is refused by its name, or ends within its limits."""

import asyncio
import contextlib
import time

import pytest
from sql_world import SqlWorld, statements

from k2_streams.query.errors import InvalidParameter, QueryTimeoutError, TooMuchError
from k2_streams.query.sql.parsing import MAX_STATEMENT_BYTES
from k2_streams.query.sql.sandbox import Sandbox

#: Texts that are large or deep.
SHAPES = [
    "SELECT " + "(" * 20_000 + "1" + ")" * 20_000,
    "SELECT " + "1+" * 15_000 + "1",
    "SELECT " + "NOT " * 15_000 + "true",
    "SELECT " + "- " * 20_000 + "1",
    "SELECT * FROM " + "(SELECT * FROM " * 2_000 + "trades" + ")" * 2_000,
    "SELECT " + "[" * 20_000 + "1" + "]" * 20_000,
    "SELECT " + "CASE WHEN true THEN " * 2_500 + "1" + " END" * 2_500,
    "SELECT 1" + "::INT" * 10_000,
    "SELECT '" + "a" * MAX_STATEMENT_BYTES + "'",
    "SELECT \x00",
    "SELECT '\ud800'",
]
REFUSED = [
    "",
    *statements("not_one_select"),
    *statements("tables"),
    *statements("functions"),
    *SHAPES,
]
BOUNDED = statements("bounded")
LIMIT_S = 0.5


@pytest.fixture
async def asked(tmp_path):
    made = SqlWorld(tmp_path)
    yield made
    await made.close()


def test_there_are_enough_of_them():
    assert len({*REFUSED, *BOUNDED}) == len(REFUSED) + len(BOUNDED) >= 200


async def test_each_is_refused_with_the_field_and_the_reason(asked):
    for text in REFUSED:
        with pytest.raises(InvalidParameter) as error:
            await asked.ask(text, is_full=True)
        assert error.value.field == "query", text
        assert error.value.message, text
    # The sandbox is as it was: it answers.
    assert (await asked.ask("SELECT 1 AS a")).rows.to_pylist() == [{"a": 1}]


@pytest.mark.slow
async def test_each_that_is_allowed_ends_within_its_limits(tmp_path):
    asked = SqlWorld(tmp_path, memory_bytes=64 << 20, timeout_s=LIMIT_S)
    for text in BOUNDED:
        started_s = time.monotonic()
        with pytest.raises((QueryTimeoutError, TooMuchError)):
            await asked.ask(text)
        assert time.monotonic() - started_s < 20 * LIMIT_S, text
    answer = None
    async with asyncio.timeout(60):
        while answer is None:  # a process that does not hear is ended after a second
            with contextlib.suppress(QueryTimeoutError):
                answer = await asked.ask("SELECT 1 AS a")
    assert answer.rows.to_pylist() == [{"a": 1}]
    await asked.close()


async def test_the_wall_holds_without_the_check(asked):
    """Each wall alone is enough: the sandbox reaches no file, and cannot be changed."""

    for text in (
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM glob('/*')",
        "COPY (SELECT 1) TO '/tmp/k2-sandbox.csv'",
        "ATTACH '/tmp/k2-sandbox.db'",
        "INSTALL httpfs",
        "SET threads = 8",
        "SET enable_external_access = true",
    ):
        sandbox: Sandbox = asked.sandbox
        with pytest.raises(Exception, match=r"(?i)disabled|locked|permission|not allowed"):
            await sandbox.run(lambda process, text=text: process.fetch(text))
