"""An answer about any output is plain filtering of its rows, wherever these are by then.

Keys of text and integers, asked as a caller of `/v1/<name>` writes them; rows in memory, on disk,
in the lake, or in two of these; pages, and the same question asked again with its token.
"""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from output_world import OutputWorld
from query_world import DictSpill, FixedClock

from k2_streams.core.records.schema import NAME
from k2_streams.core.records.stream import Stream
from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.query.errors import UnknownSymbolError
from k2_streams.web.endpoints import rows as rows_endpoint

T0 = 1_700_000_000_000_000_000
SCHEMA = pa.schema(
    [
        pa.field("exchange", NAME, nullable=False),
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("desk", pa.int32(), nullable=False),
        pa.field("account", pa.int64(), nullable=False),
        pa.field("at_ns", pa.int64(), nullable=False),
        pa.field("legs", pa.list_(pa.struct([("size", pa.int64())]))),
    ]
)
KEYS = [("exchange", "symbol"), ("symbol", "account"), ("account", "desk"), ("desk",)]
#: Few of each, the largest and smallest among them.
VALUES: dict[str, list[Any]] = {
    "exchange": ["X", "Y"],
    "symbol": ["A", "B B", "ß"],
    "desk": [-(2**31), 0, 2**31 - 1],
    "account": [-(2**63), 7, 2**63 - 1],
}
#: In two days, so in two partitions of a table by day; few, so that rows differ in their place.
TIMES = [T0, T0 + 1, T0 + 86_400 * 10**9]
LEGS = st.none() | st.lists(st.none() | st.builds(dict, size=st.integers(0, 3)), max_size=2)
ROW = st.fixed_dictionaries(
    {name: st.sampled_from(values) for name, values in VALUES.items()}
    | {"at_ns": st.sampled_from(TIMES), "legs": LEGS}
)
PARTITION = st.integers(0, 1)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), PARTITION, st.lists(ROW, max_size=4)),
        st.tuples(st.just("commit"), st.sets(PARTITION, min_size=1)),
        st.tuples(st.just("refresh")),
    ),
    min_size=3,
    max_size=9,
)


@st.composite
def questions(draw: Any, key: tuple[str, ...]) -> dict[str, list[str]]:
    """A query string's parameters."""
    asked = {
        name: draw(st.lists(st.sampled_from(VALUES[name]).map(str), min_size=1, max_size=2))
        for name in draw(st.sets(st.sampled_from(key)))
    }
    start, end = sorted(draw(st.tuples(*[st.sampled_from([*TIMES, TIMES[-1] + 1])] * 2)))
    if draw(st.booleans()):
        asked |= {"start": [str(start)], "end": [str(end)]}
    asked["order"] = [draw(st.sampled_from(["asc", "desc"]))]
    asked["limit"] = [str(draw(st.integers(1, 5)))]
    return asked


@st.composite
def runs(draw: Any) -> tuple[Stream, list[tuple[Any, ...]], list[dict[str, list[str]]], int]:
    """An output, what happens to it, what is asked then, and the tail's memory."""
    key = draw(st.sampled_from(KEYS))
    stream = Stream.of_output("found", SCHEMA, key=key, time="at_ns")
    asked = draw(st.lists(questions(key), min_size=1, max_size=4))
    return stream, draw(ACTIONS), asked, draw(st.sampled_from([0, 2**28]))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, Path]]:
    folder = tmp_path_factory.mktemp("lake")
    engine = Engine(EngineConfig(allowed=(str(folder),)), FixedClock())
    yield engine, folder
    engine.close()


class Asker:
    """Asks as `/v1/found` does, and compares."""

    def __init__(self, world: OutputWorld) -> None:
        self.world = world
        (self.endpoint,) = rows_endpoint.endpoints((world.stream,))
        self.answered: list[tuple[dict[str, list[str]], str, list[dict[str, Any]]]] = []

    async def page(self, asked: dict[str, list[str]]) -> Any:
        call = self.endpoint.call(asked, None)  # type: ignore[arg-type] # reads no site
        return await self.world.query.rows(rows_endpoint.rows_request(call.parameters, call.given))

    async def ask(self, asked: dict[str, list[str]]) -> None:
        expected = self.expected(asked)
        column, unknown = self.world.stream.name_column, None
        try:
            page = await self.page(asked)
        except UnknownSymbolError as error:
            unknown = error
        if unknown is not None:
            known = {str(row[column]) for row in self.world.rows if self.is_of(row, asked, column)}
            assert set(unknown.symbols) == set(asked[column]) - known != set()
            assert unknown.column == column
            return
        token, found = page.meta.token, page.rows.to_pylist()
        while page.meta.next_cursor is not None:
            assert page.rows.num_rows == int(asked["limit"][0])
            page = await self.page({"cursor": [page.meta.next_cursor]})
            found += page.rows.to_pylist()
        assert found == expected
        self.answered.append((asked, token, found))

    async def ask_again(self) -> None:
        for asked, token, found in self.answered:
            page = await self.page({**asked, "limit": ["100"], "as_of": [token]})
            assert page.rows.to_pylist() == found

    def is_of(self, row: dict[str, Any], asked: dict[str, list[str]], but: str = "") -> bool:
        names = [name for name in self.world.stream.key if name in asked and name != but]
        return all(str(row[name]) in asked[name] for name in names)

    def expected(self, asked: dict[str, list[str]]) -> list[dict[str, Any]]:
        start = int(asked.get("start", ["0"])[0])
        end = int(asked.get("end", [str(2**63)])[0])
        rows = self.world.in_order(
            lambda row: self.is_of(row, asked) and start <= row["at_ns"] < end
        )
        return rows[::-1] if asked["order"] == ["desc"] else rows


@given(runs())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_an_answer_about_an_output_is_plain_filtering_of_its_rows(
    engine: tuple[Engine, Path],
    run: tuple[Stream, list[tuple[Any, ...]], list[dict[str, list[str]]], int],
) -> None:
    stream, actions, asked, memory_bytes = run

    async def check(folder: Path) -> None:
        world = OutputWorld(stream, folder, engine[0], memory_bytes=memory_bytes, spill=DictSpill())
        asker = Asker(world)
        for action in actions:
            match action:
                case ("add", partition, rows):
                    world.add(partition, rows)
                case ("commit", partitions):
                    world.commit_to_the_end(*partitions)
                case _:
                    await world.query.refresh()
        for one in asked:
            await asker.ask(one)
        world.commit_to_the_end(0, 1)
        await world.query.refresh()
        assert world.tail.rows == 0
        await asker.ask_again()
        await world.close()

    with tempfile.TemporaryDirectory(dir=engine[1]) as folder:
        asyncio.run(check(Path(folder)))
