"""Statements run in processes of their own: what becomes of these, and of whoever asks."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from sql_world import SqlWorld

from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.query.errors import InvalidParameter, TooMuchError
from k2_streams.query.sql import process as statement_process
from k2_streams.query.sql import sandbox as of_sandbox
from k2_streams.query.sql.process import StatementProcess

MIB = 1 << 20
FOREVER = "SELECT count(*) FROM range(100000000) a, range(100000000) b"
#: A text of a gigabyte, of which DuckDB counts nothing.
GROWING = "SELECT length(" + "replace(" * 4 + "'a'" + f", 'a', '{'a' * 180}')" * 4 + ")"


@pytest.fixture
def process():
    made = StatementProcess(64 * MIB, 10.0, SYSTEM_CLOCK)
    made.open()
    yield made.begin()
    made.close()


@pytest.fixture
async def asked(tmp_path):
    made = SqlWorld(tmp_path)
    yield made
    await made.close()


def pid_of(process: StatementProcess) -> int:
    assert process.pid is not None
    return process.pid


async def until(holds) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - of processes, which set no event
            await asyncio.sleep(0.02)


def rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_what_duckdb_does_not_count_is_bounded_all_the_same(process):
    before = rss_bytes()
    with pytest.raises(TooMuchError):
        process.fetch(GROWING)
    assert rss_bytes() - before < 32 * MIB
    process.open()
    assert process.fetch("SELECT 1") == [[1]]


def test_a_constant_of_a_condition_is_bounded_too(process):
    with pytest.raises(TooMuchError):
        process.fetch(f"SELECT x, typeof(x) FROM ({GROWING}) AS constant(x)")  # noqa: S608 - ours


def test_rows_have_a_bound_in_bytes(process, monkeypatch):
    monkeypatch.setattr(statement_process, "RESULT_BYTES", 4 * MIB)
    text = f"SELECT '{'x' * 1_000}' || range::VARCHAR AS t FROM range(100000)"  # noqa: S608 - ours
    with pytest.raises(TooMuchError, match="4 MiB"):
        process.select(text, {}, {}, 100_000)
    assert process.select(text, {}, {}, 1_000).num_rows == 1_000


#: Words of other failures, in names and values; the last one fails when rows have been taken.
REFUSED = (
    "SELECT allocate FROM range(3)",
    "SELECT 'Out of Memory Error: allocate' :: INT FROM range(3)",
    "SELECT 'INTERRUPT Error: Interrupted!' :: INT FROM range(3)",
    (
        "SELECT CASE WHEN range > 200000 THEN ('bad_alloc Interrupted! ' || range) :: INT "
        "ELSE 1 END FROM range(300000)"
    ),
)


@pytest.mark.parametrize("text", REFUSED)
def test_what_duckdb_refuses_is_told_as_that_whenever_it_refuses(process, text):
    """The last one ended the process, and whoever asked was told of memory."""
    before = pid_of(process)
    with pytest.raises(InvalidParameter):
        process.select(text, {}, {}, 1_000_000)
    assert pid_of(process) == before


def test_a_process_that_was_killed_is_started_again(process):
    os.kill(pid_of(process), signal.SIGKILL)
    with pytest.raises(TooMuchError):
        process.fetch("SELECT 1")
    process.open()
    assert process.fetch("SELECT 2") == [[2]]


def test_it_has_nothing_of_the_workers_environment(process):
    names = Path(f"/proc/{pid_of(process)}/environ").read_bytes().split(b"\0")
    assert {name.partition(b"=")[0] for name in names} - {b""} == {
        b"PYTHONPATH", b"ARROW_DEFAULT_MEMORY_POOL", b"MALLOC_ARENA_MAX",
    }  # fmt: skip


def test_it_can_write_no_file_and_open_none(process):
    for text in (
        "COPY (SELECT 1) TO 'k2-statement.csv'",
        "SELECT * FROM read_text('/etc/hostname')",
        "SET memory_limit = '8GB'",
    ):
        with pytest.raises(InvalidParameter):
            process.fetch(text)


async def test_a_statement_that_does_not_hear_is_ended_with_its_process(asked, monkeypatch):
    monkeypatch.setattr(statement_process, "KILL_AFTER_S", -1.0)
    await asked.ask("SELECT 1 AS a")
    waiting = asyncio.create_task(asked.ask(FOREVER))
    await asyncio.sleep(0.5)  # whether it has begun by then or not: it ends
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    answers = await asyncio.gather(*(asked.ask("SELECT 1 AS a") for _ in range(4)))
    assert [one.rows.to_pylist() for one in answers] == [[{"a": 1}]] * 4


async def test_processes_without_statements_end_and_come_again(asked, monkeypatch):
    monkeypatch.setattr(of_sandbox, "IDLE_S", 0.05)
    await asked.ask("SELECT 1 AS a")
    await until(lambda: not asked.sandbox.running)
    assert (await asked.ask("SELECT 2 AS a")).rows.to_pylist() == [{"a": 2}]


async def test_closing_ends_what_runs(tmp_path):
    asked = SqlWorld(tmp_path)
    waiting = asyncio.create_task(asked.ask(FOREVER))
    await until(lambda: asked.sandbox.running)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await asked.close()
    assert asked.sandbox.running == 0
