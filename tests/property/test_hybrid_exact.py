"""A hybrid answer at any watermark holds exactly the rows below it, once each, now and later."""

import asyncio
import itertools
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from query_world import T0, DictSpill, World
from rows_requests import parse_rows

from k2_streams.query import file_steps, reading, tick_lookup
from k2_streams.query.answer import Answer
from k2_streams.query.engine import Engine
from k2_streams.query.errors import UnknownSymbolError
from k2_streams.query.request import RowsRequest, SymbolsRequest
from k2_streams.query.token import Token

PARTITIONS = 3
SYMBOLS = ("A", "B", "C")
partition = st.integers(0, PARTITIONS - 1)
# Few times, so that many rows differ in their place alone.
trades = st.lists(st.tuples(st.sampled_from(SYMBOLS), st.integers(T0, T0 + 5)), max_size=6)

appended = st.tuples(st.just("append"), partition, trades, st.integers(0, 2))
tailed = st.tuples(st.just("tail"), partition)
committed = st.tuples(st.just("commit"), st.sets(partition, min_size=1))
loaded = st.tuples(st.just("load"))  # the node has seen a snapshot, and not evicted yet
refreshed = st.tuples(st.just("refresh"))
compacted = st.tuples(st.just("compact"))
restarted = st.tuples(st.just("restart"))
change = st.one_of(appended, tailed, committed, loaded, refreshed, compacted, restarted)
asked = st.tuples(
    st.just("ask"),
    st.sampled_from([(), ("A",), ("A", "C")]),
    st.booleans(),  # descending
    st.integers(1, 7),  # limit of a page
    st.sampled_from([(None, None), (T0 + 1, None), (T0 + 1, T0 + 4), (None, T0 + 3)]),
    st.lists(change, max_size=3),  # while the answer is being made
)


@pytest.fixture(autouse=True)
def narrow_windows(monkeypatch) -> None:
    """A few records meet what thousands would."""
    monkeypatch.setattr(tick_lookup, "FIRST_OFFSETS", 2)
    monkeypatch.setattr(reading, "NARROWED_ABOVE", 3)
    monkeypatch.setattr(file_steps, "FIRST_FILES", 1)


class Run:
    """One interleaving."""

    def __init__(self, engine: Engine, folder: Path, memory_bytes: int) -> None:
        self.world = World(
            folder, engine, partitions=PARTITIONS, memory_bytes=memory_bytes, spill=DictSpill()
        )
        self.asked: list[tuple[RowsRequest, str, list[dict]]] = []

    def change(self, action: tuple) -> None:
        world = self.world
        match action:
            case ("append", number, rows, markers):
                world.log.append(number, rows, markers)
            case ("tail", number):
                world.read_tail(number)
            case ("commit", numbers):
                world.commit(*numbers)
            case ("compact",):
                world.lake.compact()
            case ("load",):
                world.view._head = world.lake.heads[-1]
            case ("refresh",):
                # As `HybridQuery.refresh` does: first the head, then the tail.
                world.view._head = world.lake.heads[-1]
                world.tail.evict(world.view._head.vector)
            case ("restart",):
                # The tail begins again at a vector that this node's queries may not have seen.
                head = world.lake.heads[-1]
                for number in range(PARTITIONS):
                    offset = head.vector.next_of("k2.trades", number) or 0
                    end = max(offset, world.tail.view().partitions[number].end)
                    world.tail.seek(number, offset, ready_at=end)
                    world.read_tail(number)

    async def ask(self, action: tuple) -> None:
        _, symbols, descending, limit, (start_ns, end_ns), meanwhile = action
        pending = iter(meanwhile)
        self.world.lake.meanwhile = lambda: [
            self.change(one) for one in itertools.islice(pending, 1)
        ]
        request = RowsRequest(
            symbols=symbols, descending=descending, limit=limit, start_ns=start_ns, end_ns=end_ns
        )
        before = self.world.tail.view().ranges
        try:
            first = await self.world.query.rows(request)
        except UnknownSymbolError:
            held = self.world.lake.heads[-1].vector.topics
            seen = held["k2.trades"].next if held else {}
            below = {p: max(r.end, 0) for p, r in before.items() if not seen.get(p)}
            rows = self.world.log.rows(below)
            assert not set(symbols) <= {row["symbol"] for row in rows}
            return
        # Everything that the tail had before the question is in the answer.
        assert all(first.meta.offsets[p] >= range_.end for p, range_ in before.items())
        pages = await self.pages(first)
        self.check(request, first, pages)
        await self.check_symbols()
        self.asked.append((request, first.meta.token, pages))

    async def pages(self, first: Answer) -> list[dict]:
        rows, page = first.rows.to_pylist(), first
        while page.meta.next_cursor is not None:
            request = parse_rows({"cursor": page.meta.next_cursor})
            page = await self.world.query.rows(request)
            assert page.meta.token == first.meta.token
            assert 1 <= page.meta.rows <= request.limit
            rows += page.rows.to_pylist()
        return rows

    def check(self, request: RowsRequest, answer: Answer, rows: list[dict]) -> None:
        def keep(row: dict) -> bool:
            time = row["exchange_time_ns"]
            return (
                (not request.symbols or row["symbol"] in request.symbols)
                and (request.start_ns is None or time >= request.start_ns)
                and (request.end_ns is None or time < request.end_ns)
            )

        truth = self.world.log.rows(answer.meta.offsets, keep)
        assert rows == (truth[::-1] if request.descending else truth)
        assert answer.meta.rows_lake + answer.meta.rows_tail == answer.meta.rows

    async def check_symbols(self, as_of: Token | None = None) -> None:
        """The list of symbols counts the same rows, and shows the newest of each."""
        answer = await self.world.query.symbols(SymbolsRequest(as_of=as_of))
        newest, counts = {}, Counter()
        for row in self.world.log.rows(answer.meta.offsets):
            newest[row["symbol"]] = row
            counts[row["symbol"]] += 1
        assert [(row.symbol, row.trades) for row in answer.symbols] == sorted(counts.items())
        for row in answer.symbols:
            truth = newest[row.symbol]
            assert (row.last_price, row.sequence) == (truth["price"], truth["sequence"])
            assert row.last_time_ns == truth["exchange_time_ns"]

    async def ask_again(self) -> None:
        """Every answer given before, by its token: the same rows, whatever happened since."""
        self.world.lake.meanwhile = lambda: None
        for request, token, rows in self.asked:
            pinned = RowsRequest(
                symbols=request.symbols,
                descending=request.descending,
                start_ns=request.start_ns,
                end_ns=request.end_ns,
                as_of=Token.decode(token),
            )
            answer = await self.world.query.rows(pinned)
            assert answer.rows.to_pylist() == rows
            assert answer.meta.token == token
            await self.check_symbols(pinned.as_of)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.one_of(change, change, asked), max_size=25),
    st.sampled_from([0, 3_000, 2**28]),
)
def test_any_interleaving_gives_each_row_once_at_any_watermark(engine, actions, memory_bytes):
    async def run() -> None:
        with tempfile.TemporaryDirectory(dir=engine[1]) as folder:
            world_run = Run(engine[0], Path(folder), memory_bytes)
            for action in actions:
                if action[0] == "ask":
                    await world_run.ask(action)
                else:
                    world_run.change(action)
            await world_run.ask(("ask", (), False, 7, (None, None), []))
            await world_run.ask_again()
            world_run.world.commit()
            await world_run.world.query.refresh()
            assert world_run.world.tail.rows == sum(
                batch.rows.num_rows
                for number, part in world_run.world.tail.view().partitions.items()
                for batch in world_run.world.log.between(number, part.range)
            )
            await world_run.ask_again()
            await world_run.world.view.close()

    asyncio.run(run())
