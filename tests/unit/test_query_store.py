"""Files in an object store: read through the wall and no further; a store that is away is known."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from query_world import T0, FileLake, World
from rows_requests import parse_rows

from k2_streams.core.load.circuit_breaker import BreakerPolicy, BreakerState
from k2_streams.core.records.stream import TRADES
from k2_streams.lake.breaker import Guard
from k2_streams.lake.plan import PlannedFile
from k2_streams.query.engine import Engine, EngineConfig, FilesUnreadableError
from k2_streams.query.errors import LakeUnavailable, QueryTimeoutError, TooMuchError
from k2_streams.query.hybrid import HybridQuery
from k2_streams.query.request import SymbolsRequest
from k2_streams.query.statement import Statement
from k2_streams.query.store_files import StoreFiles

EMPTY = pa.table({"n": pa.array([], pa.int64())})


class FolderStore:
    """A store that is a folder, and can be made to fail."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests = 0
        self.bytes_read = 0
        self.error: OSError | None = None
        self.asked = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def _path(self, path: str) -> Path:
        self.requests += 1
        self.asked.set()
        assert self.gate.wait(30)
        if self.error is not None:
            raise self.error
        assert path.startswith("s3://lake/")
        return self.folder / path.removeprefix("s3://lake/")

    def size(self, path: str) -> int:
        return self._path(path).stat().st_size

    def read(self, path: str, offset: int, size_bytes: int) -> bytes:
        self.bytes_read += size_bytes
        return self._path(path).read_bytes()[offset : offset + size_bytes]


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()
    return FolderStore(folder)


@pytest.fixture
def make(store):
    engines = []

    def make(**limits) -> Engine:
        engines.append(Engine(EngineConfig(store=StoreFiles(store), **limits)))
        return engines[-1]

    yield make
    store.gate.set()
    for engine in engines:
        engine.close()


async def ask(engine: Engine, sql: str, *values) -> list[dict]:
    statement = Statement(sql, values)
    table = await engine.run(lambda session: session.table(statement, EMPTY), reads_lake=True)
    return table.to_pylist()


def put(store: FolderStore, name: str, rows: int = 3) -> str:
    pq.write_table(pa.table({"n": range(rows)}), store.folder / name)
    return f"s3://lake/{name}"


SUM = "SELECT sum(n)::BIGINT AS n FROM read_parquet(?)"


async def test_files_of_the_store_are_read_and_once_at_that(make, store):
    engine, files = make(), [put(store, "a.parquet"), put(store, "b.parquet")]
    assert await ask(engine, SUM, files) == [{"n": 6}]
    read = store.bytes_read
    assert read > 0
    assert await ask(engine, f"{SUM} WHERE n > 0", files) == [{"n": 6}]
    assert store.bytes_read == read, "what was read is kept"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_parquet('{outside}')",
        "SELECT * FROM read_text('/etc/passwd')",
        "COPY (SELECT 1) TO '{outside}.csv'",
        "COPY (SELECT 1) TO 's3://lake/out.csv'",
        "SELECT * FROM read_parquet('http://lake/a.parquet')",
        "SELECT * FROM read_parquet('gcs://lake/a.parquet')",
        "ATTACH 's3://lake/out.db'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
    ],
)
async def test_nothing_else_is(make, store, sql):
    outside = store.folder.parent / "out.parquet"
    pq.write_table(EMPTY, outside)
    refusal = "disabled by configuration|disabled through|has been locked|not written|No such file"
    with pytest.raises(Exception, match=refusal):
        await ask(make(), sql.format(outside=outside))
    assert sorted(path.name for path in store.folder.parent.iterdir()) == ["out.parquet", "store"]
    assert list(store.folder.iterdir()) == []


async def test_a_missing_file_is_told_from_a_store_that_is_away(make, store):
    engine, file = make(), put(store, "a.parquet")
    with pytest.raises(FilesUnreadableError) as missing:
        await ask(engine, SUM, ["s3://lake/gone.parquet"])
    assert not missing.value.away
    store.error = OSError("AWS Error SLOW_DOWN")
    with pytest.raises(FilesUnreadableError, match="SLOW_DOWN") as away:
        await ask(engine, SUM, [file])
    assert away.value.away
    assert "Traceback" not in str(away.value)
    store.error = None
    assert await ask(engine, SUM, [file]) == [{"n": 3}]


async def test_a_damaged_file_is_unreadable_and_the_store_is_not_away(make, store):
    (store.folder / "bad.parquet").write_bytes(b"PAR1 this is not parquet PAR1")
    with pytest.raises(FilesUnreadableError) as damaged:
        await ask(make(), SUM, ["s3://lake/bad.parquet"])
    assert not damaged.value.away


async def test_a_wrong_question_is_not_blamed_on_the_store(make, store):
    with pytest.raises(Exception, match="nowhere") as wrong:
        await ask(make(), "SELECT nowhere FROM read_parquet(?)", [put(store, "a.parquet")])
    assert not isinstance(wrong.value, FilesUnreadableError)


async def test_memory_is_bounded_whatever_the_store_holds(make, store):
    pq.write_table(pa.table({"n": range(2_000_000)}), store.folder / "big.parquet")
    engine = make(memory_bytes=16_000_000, store_threads=2)
    with pytest.raises(TooMuchError):
        await ask(engine, "SELECT list(n) FROM read_parquet(?)", ["s3://lake/big.parquet"])
    assert await ask(engine, SUM, [put(store, "a.parquet")]) == [{"n": 3}]


async def test_the_tail_is_answered_while_the_store_keeps_its_workers_waiting(make, store):
    engine, file = make(store_workers=1), put(store, "a.parquet")
    store.gate.clear()
    waiting = [asyncio.create_task(ask(engine, SUM, [file])) for _ in range(3)]
    async with asyncio.timeout(20):
        assert await asyncio.to_thread(store.asked.wait, 15)
        assert await engine.run(lambda _: "of the tail") == "of the tail"
        assert not any(task.done() for task in waiting)
        store.gate.set()
        assert await asyncio.gather(*waiting) == [[{"n": 3}]] * 3


class StoredLake(FileLake):
    """A lake whose files are in a store."""

    def plan(self, snapshot_id, **wanted):
        planned = super().plan(snapshot_id, **wanted)
        return [PlannedFile(f"s3://lake/{Path(one.path).name}", 0, 0) for one in planned]


@contextlib.asynccontextmanager
async def built(engine: Engine, store: FolderStore) -> AsyncIterator[World]:
    world = World(store.folder, engine)
    world.lake = StoredLake(store.folder)
    world.reads = Guard(BreakerPolicy(failures=2, open_s=3_600.0), world.clock)
    world.query = HybridQuery(
        world.tail,
        world.view,
        engine,
        world.gaps,
        clock=world.clock,
        stream=TRADES,
        reads=world.reads,
    )
    world.add(0, [("A", T0), ("A", T0 + 1)])
    world.commit()
    await world.query.refresh()
    world.add(0, [("A", T0 + 2), ("B", T0 + 3)])
    yield world
    store.gate.set()
    await world.view.close()


@pytest.fixture
async def world(make, store):
    """Two rows in the lake, one in the tail."""
    async with built(make(), store) as world:
        yield world


@pytest.fixture
async def impatient_world(make, store):
    """The same, where a question may take a second."""
    async with built(make(timeout_s=1.0), store) as world:
        yield world


async def rows(world: World, **parameters: str) -> list[int]:
    answer = await world.query.rows(parse_rows(parameters))
    return answer.rows.column("sequence").to_pylist()


async def test_an_answer_of_both_parts(world):
    assert await rows(world, symbol="A") == [1, 2, 3]
    totals = await world.query.symbols(SymbolsRequest())
    assert [(row.symbol, row.trades) for row in totals.symbols] == [("A", 3), ("B", 1)]
    assert world.reads.state is BreakerState.CLOSED


async def test_a_store_that_is_away_is_503_and_then_left_alone_while_the_tail_answers(world, store):
    store.error = OSError("AWS Error NETWORK_CONNECTION")
    for _ in range(2):
        with pytest.raises(LakeUnavailable, match="NETWORK_CONNECTION"):
            await rows(world, symbol="A")
    assert world.reads.state is BreakerState.OPEN
    asked = store.requests
    with pytest.raises(LakeUnavailable, match="circuit breaker is open") as alone:
        await rows(world, symbol="A")
    assert store.requests == asked
    assert alone.value.retry_after_s > 60
    assert await rows(world, symbol="B") == [4], "no file of the lake is needed"


async def test_a_store_that_never_answers_opens_the_breaker_too(impatient_world, store):
    world = impatient_world
    store.gate.clear()
    for _ in range(2):
        with pytest.raises(LakeUnavailable, match="has not answered"):
            await rows(world, symbol="A")
    assert world.reads.state is BreakerState.OPEN
    assert await rows(world, symbol="B") == [4]


async def test_a_question_that_is_too_much_does_not_open_it(make, store):
    engine = make(timeout_s=0.2)
    file = put(store, "a.parquet")
    forever = "SELECT count(*) FROM read_parquet(?) a, range(1000000000000) b, range(1000000) c"
    with pytest.raises(QueryTimeoutError):
        await ask(engine, forever, [file])
    assert engine.store_waits_s == 0.0


async def test_a_file_that_is_gone_makes_a_question_plan_once_more(world):
    world.commit()
    world.lake.compact()  # the snapshot that this node knows names files that are no more
    assert await rows(world, symbol="A") == [1, 2, 3]
    assert world.reads.state is BreakerState.CLOSED
