"""A subscription gives each row of the log once, whatever happens to lake, tail, reader and node.

Records are appended, read by tails, committed, compacted and evicted in any order, while readers
take frames, stall, and go on from any token they were given, on any of two nodes.
"""

import asyncio
import itertools
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from query_world import T0, TOPIC, TOPIC_ID, DictSpill, FileLake, FixedClock, Log

from k2_streams.core.records import stream
from k2_streams.core.records.vector import Range
from k2_streams.query import reading
from k2_streams.query.engine import Engine
from k2_streams.query.gaps import GapsView
from k2_streams.query.hybrid import HybridQuery
from k2_streams.query.lake_view import LakeView
from k2_streams.query.request import RowsRequest
from k2_streams.query.subscription import subscription as subscriptions
from k2_streams.query.subscription.frames import EndFrame, FrameSizes, ProgressFrame, RowsFrame
from k2_streams.query.subscription.request import StreamRequest
from k2_streams.query.tail.store import Tail
from k2_streams.query.token import StreamToken, Token

PARTITIONS, NODES, READERS = 3, 2, 2
PLACE = ("log_partition", "log_offset", "log_row")
partition = st.integers(0, PARTITIONS - 1)
node = st.integers(0, NODES - 1)
reader = st.integers(0, READERS - 1)
trades = st.lists(st.tuples(st.sampled_from("ABC"), st.integers(T0, T0 + 5)), max_size=6)
action = st.one_of(
    st.tuples(st.just("append"), partition, trades, st.integers(0, 3)),
    st.tuples(st.just("append"), partition, trades, st.integers(0, 3)),
    st.tuples(st.just("tail"), node, partition),
    st.tuples(st.just("commit"), st.sets(partition, min_size=1)),
    st.tuples(st.just("load"), node),
    st.tuples(st.just("refresh"), node),
    st.tuples(st.just("compact")),
    st.tuples(st.just("restart"), node),
    st.tuples(st.just("take"), reader, st.integers(1, 4)),
    st.tuples(st.just("take"), reader, st.integers(1, 4)),
    st.tuples(st.just("stall"), reader),
    st.tuples(st.just("resume"), reader, node),
)


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch):
    """A frame of progress comes at once where there are no rows; small files are narrowed too."""
    monkeypatch.setattr(subscriptions, "PROGRESS_EVERY_S", 0.0)
    monkeypatch.setattr(subscriptions, "RETRY_AFTER_S", 0.0)
    monkeypatch.setattr(reading, "NARROWED_ABOVE", 3)


class SmallRoom:
    """Room for a few rows, so that a record is read in parts."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def take(self, *, is_paced: bool) -> int:
        assert not is_paced
        return self.rows

    def holds(self, size_bytes: int) -> None:
        pass

    def give_back(self) -> None:
        pass

    is_ample = True


class QueryNode:
    """One node: a tail and a view of the lake."""

    def __init__(self, lake: FileLake, engine: Engine, memory_bytes: int) -> None:
        self.tail = Tail(
            stream.TRADES, topic_id=TOPIC_ID, memory_bytes=memory_bytes, spill=DictSpill()
        )
        for number in range(PARTITIONS):
            self.tail.seek(number, 0)
        self.view = LakeView(lambda: lake)
        self.query = HybridQuery(
            self.tail, self.view, engine, GapsView(), clock=FixedClock(), stream=stream.TRADES
        )


@dataclass
class StreamReader:
    """A client: what it has, and the tokens that it was given with it."""

    request: StreamRequest
    frames: object = None
    source: object = None
    given: list = field(default_factory=list)
    tokens: list = field(default_factory=list)
    end: EndFrame | None = None


class Run:
    def __init__(self, engine: Engine, folder: Path, request: StreamRequest, limits: tuple) -> None:
        self.room_rows, most_rows, memory_bytes = limits
        self.sizes = FrameSizes(most_rows, at_once=2)
        self.log, self.lake = Log(), FileLake(folder)
        self.nodes = [QueryNode(self.lake, engine, memory_bytes) for _ in range(NODES)]
        self.readers = [StreamReader(request) for _ in range(READERS)]
        self.accepted = dict.fromkeys(range(PARTITIONS), 1_000_000)

    async def act(self, action: tuple) -> None:
        await getattr(self, action[0])(*action[1:])

    async def append(self, number: int, rows: list, later_us: int) -> None:
        self.accepted[number] += later_us
        self.log.append(number, rows, accepted_us=self.accepted[number])

    async def tail(self, at: int, number: int) -> None:
        self.read_tail(self.nodes[at], number)

    async def commit(self, numbers: set[int]) -> None:
        self.lake.commit(self.log, {p: self.log.ends.get(p, 0) for p in numbers})

    async def compact(self) -> None:
        self.lake.compact()

    async def load(self, at: int) -> None:
        self.nodes[at].view._head = self.lake.heads[-1]

    async def refresh(self, at: int) -> None:
        await self.nodes[at].query.refresh()

    async def restart(self, at: int) -> None:
        query_node, head = self.nodes[at], self.lake.heads[-1]
        for number in range(PARTITIONS):
            offset = head.vector.next_of(TOPIC, number) or 0
            end = max(offset, query_node.tail.view().partitions[number].end)
            query_node.tail.seek(number, offset, ready_at=end)
            self.read_tail(query_node, number)

    async def take(self, at: int, count: int) -> None:
        for _ in range(count):
            await self.take_frame(self.readers[at])

    async def stall(self, at: int) -> None:
        if self.readers[at].source is not None:
            self.readers[at].source.release()

    async def resume(self, at: int, other: int) -> None:
        await self.open(self.readers[at], self.nodes[other])

    def read_tail(self, query_node: QueryNode, number: int) -> None:
        start = query_node.tail.view().partitions[number].end
        range_ = Range(start, max(start, self.log.ends.get(number, 0)))
        query_node.tail.append(number, range_, self.log.between(number, range_))

    async def open(self, one: StreamReader, query_node: QueryNode) -> None:
        """Begin, or go on from the last token."""
        if one.frames is not None:
            await one.frames.aclose()
        request = one.request
        if one.tokens:
            begin = StreamToken.decode(one.tokens[-1])
            assert begin.rows == len(one.given)
            request = StreamRequest(
                begin=begin, end=request.end, order=request.order, symbols=request.symbols
            )
        one.source = await query_node.query.subscribe(request)
        one.frames = one.source.frames(SmallRoom(self.room_rows), self.sizes)

    async def take_frame(self, one: StreamReader) -> None:
        if one.frames is None:
            await self.open(one, self.nodes[0])
        frame = await anext(one.frames, None)
        match frame:
            case None:
                return
            case RowsFrame(token=token, rows=rows, cuts=cuts):
                assert 1 <= rows.num_rows <= self.sizes.rows * self.sizes.at_once
                if cuts and len(one.given) % 3 == 0:  # the connection breaks off within it
                    ((count, token),) = cuts
                    rows = rows.slice(0, count)
                    await one.frames.aclose()
                    one.frames = None
                one.given += rows.to_pylist()
                one.tokens.append(token.encode())
            case ProgressFrame(token=token):
                one.tokens.append(token)
            case EndFrame(token=token):
                one.tokens.append(token)
                one.end = frame

    async def finish(self) -> None:
        """All is read everywhere; every reader takes what is left."""
        for number, query_node in itertools.product(range(PARTITIONS), self.nodes):
            self.read_tail(query_node, number)
        for one in self.readers:
            await self.open(one, self.nodes[-1])
            idle = 0
            while one.end is None and idle < 5:
                before = len(one.given)
                await self.take_frame(one)
                idle = 0 if len(one.given) > before else idle + 1
            await one.frames.aclose()

    async def close(self) -> None:
        for query_node in self.nodes:
            await query_node.view.close()


def check(run: Run, one: StreamReader, below: dict[int, int]) -> None:
    """A reader has each row below these offsets once, in order."""
    request = one.request
    truth = run.log.rows(below, lambda row: not request.symbols or row["symbol"] in request.symbols)
    if request.order == "event":
        assert one.given == truth
    else:
        by_place = sorted(truth, key=lambda row: [row[name] for name in PLACE])
        assert sorted(one.given, key=lambda row: [row[name] for name in PLACE]) == by_place
        for number in range(PARTITIONS):
            places = [
                [row[name] for name in PLACE] for row in one.given if row["log_partition"] == number
            ]
            assert places == sorted(places)


LIMITS = st.tuples(st.sampled_from([2, 5, 100]), st.integers(1, 4), st.sampled_from([0, 2**28]))
EXACT = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@EXACT
@given(st.lists(action, max_size=40), st.sampled_from([(), ("A",)]), LIMITS)
def test_what_a_reader_took_is_every_row_of_the_log_once(engine, actions, symbols, limits):
    async def scenario() -> None:
        with tempfile.TemporaryDirectory(dir=engine[1]) as folder:
            request = StreamRequest(begin="begin", symbols=symbols)
            run = Run(engine[0], Path(folder), request, limits)
            for each in actions:
                await run.act(each)
            await run.finish()
            for one in run.readers:
                check(run, one, run.log.ends)
            await run.close()

    asyncio.run(scenario())


@EXACT
@given(
    st.lists(action, max_size=20),
    st.lists(action, max_size=20),
    st.sampled_from(["log", "event"]),
    LIMITS,
)
def test_a_finite_range_ends_with_what_an_answer_at_its_token_has(
    engine, before, meanwhile, order, limits
):
    async def scenario() -> None:
        with tempfile.TemporaryDirectory(dir=engine[1]) as folder:
            request = StreamRequest(begin="begin", end="end", order=order)
            run = Run(engine[0], Path(folder), request, limits)
            for each in before:
                if each[0] not in {"take", "resume", "stall"}:
                    await run.act(each)
            for one in run.readers:
                await run.open(one, run.nodes[0])
                await run.take_frame(one)
            for each in meanwhile:
                await run.act(each)
            query = run.nodes[-1].query
            await run.finish()
            for one in run.readers:
                end = Token.decode(one.end.as_of)
                check(run, one, end.next)
                assert one.end.rows == len(one.given)
                whole = await query.subscribe(StreamRequest(begin="begin", end=end))
                frames = [frame async for frame in whole.frames(SmallRoom(100), FrameSizes(100))]
                assert (frames[-1].rows, frames[-1].checksum) == (one.end.rows, one.end.checksum)
                answer = await query.rows(RowsRequest(as_of=end, limit=100_000))
                if order == "event":
                    assert one.given == answer.rows.to_pylist()
            await run.close()

    asyncio.run(scenario())
