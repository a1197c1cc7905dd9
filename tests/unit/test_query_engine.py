"""The wall around DuckDB: what it cannot reach, and that time, memory and queue are bounded."""

import asyncio
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from k2_streams.query.engine import Engine, EngineConfig, FilesUnreadableError, QuerySession
from k2_streams.query.errors import BusyError, QueryTimeoutError, TooMuchError
from k2_streams.query.statement import Statement

EMPTY = pa.table({"n": pa.array([], pa.int64())})
FOREVER = "SELECT count(*) FROM range(1000000000000) a, range(1000000) b"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "warehouse"
    folder.mkdir()
    pq.write_table(pa.table({"n": [1, 2, 3]}), folder / "in.parquet")
    pq.write_table(pa.table({"n": [1]}), tmp_path / "out.parquet")
    return folder


@pytest.fixture
def make(folder):
    engines = []

    def make(**limits) -> Engine:
        engines.append(Engine(EngineConfig(allowed=(str(folder),), **limits)))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


async def ask(engine: Engine, sql: str, *values) -> list[dict]:
    table = await engine.run(lambda session: session.table(Statement(sql, values), EMPTY))
    return table.to_pylist()


async def test_files_of_the_warehouse_are_read(make, folder):
    sql = "SELECT sum(n)::BIGINT AS n FROM read_parquet(?)"
    assert await ask(make(), sql, [str(folder / "in.parquet")]) == [{"n": 6}]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_parquet('{outside}')",
        "SELECT * FROM read_parquet('{inside}/../out.parquet')",
        "SELECT * FROM '{outside}'",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM glob('/etc/*')",
        "COPY (SELECT 1) TO '{outside}.csv'",
        "ATTACH '{outside}.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
        "SET lock_configuration = false",
        "SET memory_limit = '10GB'",
        "SELECT * FROM folder",  # a Python variable of the caller's
    ],
)
async def test_nothing_beyond_it_is(make, folder, sql):
    outside = folder.parent / "out.parquet"
    refusal = "disabled by configuration|disabled through|has been locked|does not exist|cannot be"
    with pytest.raises(Exception, match=refusal):
        await ask(make(), sql.format(outside=outside, inside=folder))
    assert sorted(path.name for path in folder.parent.iterdir()) == ["out.parquet", "warehouse"]


async def test_footers_are_kept_and_make_room(make, folder):
    """Without a bound on them a worker's memory would grow with every file ever committed."""
    columns = {f"column{n}": [n] for n in range(200)}
    files = [str(folder / f"{n}.parquet") for n in range(100)]
    for file in files:
        pq.write_table(pa.table({"n": [1], **columns}), file)
    count = "SELECT count(*) AS n FROM read_parquet(?) WHERE n = 1"
    engine = make(memory_bytes=16_000_000, threads=1)
    assert engine.memory().footers_bytes < 100_000
    peaks = []
    for some in range(10, 101, 10):
        assert await ask(engine, count, files[some - 10 : some]) == [{"n": 10}]
        peaks.append(engine.memory().footers_bytes)
    assert peaks[0] > 1_000_000, "they are kept"
    assert max(peaks) <= 16_000_000 < 10 * peaks[0], "and no more of them than there is room"
    assert engine.memory().used_bytes >= engine.memory().footers_bytes


async def test_a_missing_file_is_told_from_a_wrong_query(make, folder):
    with pytest.raises(FilesUnreadableError):
        await ask(make(), "SELECT * FROM read_parquet(?)", [str(folder / "gone.parquet")])


async def test_a_damaged_file_is_unreadable(make, folder):
    (folder / "bad.parquet").write_bytes(b"PAR1 this is not parquet PAR1")
    with pytest.raises(FilesUnreadableError):
        await ask(make(), "SELECT * FROM read_parquet(?)", [str(folder / "bad.parquet")])


async def test_a_column_comes_in_pieces_of_all_files(make, folder):
    table = pa.table({"n": pa.array(range(200_000), pa.timestamp("us", "UTC"))})
    files = [str(folder / f"{n}.parquet") for n in range(2)]
    for file in files:
        pq.write_table(table, file)

    def work(session: QuerySession) -> list[int]:
        pieces = list(session.integers(Statement("SELECT n FROM read_parquet(?)", (files,))))
        assert len(pieces) > 1
        return sorted(value for piece in pieces for value in piece.tolist())

    assert await make().run(work) == sorted([*range(200_000)] * 2)


@pytest.mark.parametrize("interrupted", [False, True])
async def test_what_goes_wrong_while_pieces_are_taken_is_told_as_elsewhere(
    make, folder, interrupted
):
    """An error is then Arrow's, with DuckDB's text."""
    good, bad = folder / "good.parquet", folder / "bad.parquet"
    pq.write_table(pa.table({"n": pa.array(range(2_000_000))}), good, row_group_size=100_000)
    bad.write_bytes(b"PAR1 this is not parquet PAR1")
    files = [str(good), str(bad)]

    def work(session: QuerySession) -> None:
        pieces = session.integers(Statement("SELECT n FROM read_parquet(?)", (files,)))
        next(pieces)
        if interrupted:
            session.interrupt()
        for _ in pieces:
            pass

    with pytest.raises(QueryTimeoutError if interrupted else FilesUnreadableError):
        await make(threads=1).run(work)


async def test_a_query_past_its_time_is_interrupted_and_its_worker_works_on(make):
    engine = make(workers=1, timeout_s=0.2)
    with pytest.raises(QueryTimeoutError):
        await ask(engine, FOREVER)
    async with asyncio.timeout(20):
        while True:  # the worker is free once DuckDB has noticed
            try:
                assert await ask(engine, "SELECT 1 AS n") == [{"n": 1}]
                break
            except QueryTimeoutError:
                continue


async def test_an_asker_who_goes_away_frees_the_worker(make):
    engine = make(workers=1, timeout_s=30)
    asked = asyncio.create_task(ask(engine, FOREVER))
    await asyncio.sleep(0.1)
    asked.cancel()
    async with asyncio.timeout(20):
        assert await ask(engine, "SELECT 1 AS n") == [{"n": 1}]


async def test_memory_is_bounded(make):
    engine = make(memory_bytes=64_000_000)
    with pytest.raises(TooMuchError):
        await ask(engine, "SELECT list(i) FROM range(100000000) t(i)")
    assert await ask(engine, "SELECT 1 AS n") == [{"n": 1}]


async def test_the_queue_is_bounded(make):
    engine = make(workers=1, max_waiting=1)
    begun, go_on = threading.Event(), threading.Event()

    def hold(_: QuerySession) -> int:
        begun.set()
        assert go_on.wait(20)
        return 1

    first = asyncio.create_task(engine.run(hold))
    second = asyncio.create_task(engine.run(lambda _: 2))
    await asyncio.to_thread(begun.wait, 20)
    with pytest.raises(BusyError):
        await engine.run(lambda _: 3)
    go_on.set()
    assert [await first, await second] == [1, 2]
    assert await engine.run(lambda _: 4) == 4


async def test_times_come_back_in_utc(make):
    sql = "SELECT TIMESTAMPTZ '2024-01-02 03:04:05+00' AS t"
    table = await make().run(lambda session: session.table(Statement(sql, ()), EMPTY))
    assert table.column("t")[0].as_py().isoformat() == "2024-01-02T03:04:05+00:00"
