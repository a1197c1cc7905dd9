"""Questions about what was known at a time: what they wait for, refuse and show."""

import asyncio

import pytest
from aiohttp.test_utils import TestClient, TestServer
from query_world import T0, TOPIC, World
from tail_world import TailWorld
from web_support import CannedQueries, application

from k2_streams.core.records.events import AnyEvent, Duplicates, GapFilled, GapOpened
from k2_streams.core.records.log_record import CheckpointHeaders
from k2_streams.core.records.stream import TRADES
from k2_streams.core.sequence.gap_history import GapHistory
from k2_streams.query.answer import NodeState
from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.query.errors import BeforeHistoryError, InvalidParameter, NotYetError
from k2_streams.query.gaps import GapsView
from k2_streams.query.hybrid import HybridQuery
from k2_streams.query.read_point import SETTLED_AFTER_S
from k2_streams.query.request import GapsRequest, RowsRequest, SymbolsRequest
from k2_streams.query.token import NOT_KNOWN, Token
from k2_streams.runtime.node.log_topics import LogTopics

US = T0 // 1_000
SETTLED_NS = SETTLED_AFTER_S * 10**9
HOUR_US = 3_600 * 10**6
TOKEN = Token("topic", {0: 5}, 7, 0)


@pytest.fixture
async def world(tmp_path):
    engine = Engine(EngineConfig(allowed=(str(tmp_path),)))
    made = World(tmp_path, engine)
    made.engine = engine
    yield made
    await made.query.close()
    engine.close()


def accept(world: World, partition: int, accepted_us: int, *symbols: str) -> None:
    """A checkpoint that the tail has read."""
    world.log.append(partition, [(name, T0) for name in symbols], accepted_us=accepted_us)
    world.read_tail(partition)
    world.gaps.cover(world.log.ends)


async def known(world: World, known_ns: int) -> list[str]:
    answer = await world.query.rows(RowsRequest(known_at_ns=known_ns))
    return answer.rows.column("symbol").to_pylist()


async def test_a_partition_without_newer_rows_is_known_by_an_end_found_so_much_later(world):
    accept(world, 0, US, "A")
    accept(world, 0, US + 1, "B")
    for late_ns in (0, SETTLED_NS - 1):
        world.tail.observe({0: 4, 1: 0}, T0 + late_ns)
        with pytest.raises(NotYetError) as error:
            await known(world, T0)
        assert error.value.found == {1: T0 + late_ns - SETTLED_NS}
    world.tail.observe({0: 4, 1: 0}, T0 + SETTLED_NS)
    assert await known(world, T0) == ["A"]


async def test_an_end_says_nothing_before_it_has_been_read(world):
    accept(world, 0, US, "A")
    world.log.append(1, [("B", T0)], accepted_us=US)
    world.tail.observe({0: 2, 1: 2}, T0 + SETTLED_NS)
    with pytest.raises(NotYetError):
        await known(world, T0)
    world.read_tail(1)
    assert await known(world, T0) == ["A", "B"]


async def test_a_later_checkpoint_without_rows_is_as_good_as_one_with_rows(world):
    accept(world, 0, US, "A")
    with pytest.raises(NotYetError):
        await known(world, T0 + 999)
    accept(world, 0, US + 1)
    accept(world, 1, US + 1)
    assert await known(world, T0 + 999) == ["A"]


async def test_a_time_waits_for_the_tail_as_long_as_it_may(world):
    accept(world, 0, US, "A")
    accept(world, 0, US + 1)
    asking = asyncio.create_task(world.query.rows(RowsRequest(known_at_ns=T0, wait_ms=5_000)))
    await asyncio.sleep(0)
    accept(world, 1, US + 1, "B")
    assert (await asking).rows.column("symbol").to_pylist() == ["A"]


async def test_a_time_before_the_first_row_is_refused(world):
    accept(world, 0, US, "A")
    accept(world, 1, US, "B")
    for request in (
        world.query.rows(RowsRequest(known_at_ns=T0 - 1)),
        world.query.symbols(SymbolsRequest(known_at_ns=T0 - 1)),
        world.query.gaps(GapsRequest(known_at_ns=T0 - 1)),
    ):
        with pytest.raises(BeforeHistoryError) as error:
            await request
        assert (error.value.code, error.value.field) == ("before_history", "known_at")


async def test_a_time_that_lies_ahead_is_refused(world):
    accept(world, 0, US, "A")
    world.clock.now_ns = T0
    with pytest.raises(NotYetError):
        await known(world, T0 + SETTLED_NS)
    with pytest.raises(InvalidParameter, match="has passed"):
        await known(world, T0 + SETTLED_NS + 1)


async def test_a_partition_that_was_idle_for_days_is_found_in_the_lake(world):
    accept(world, 0, US, "A")
    accept(world, 1, US, "B")
    world.commit()
    for hour in (1, 99, 101):
        accept(world, 1, US + hour * HOUR_US, f"B{hour}")
        world.commit()
    accept(world, 0, US + 101 * HOUR_US, "A101")
    world.commit()
    await world.query.refresh()
    assert world.tail.rows == 0
    world.clock.now_ns = T0 + 101 * HOUR_US * 1_000
    assert sorted(await known(world, T0 + 100 * HOUR_US * 1_000)) == ["A", "B", "B1", "B99"]


async def test_its_token_asks_for_the_same_rows_and_windows_end_at_the_time(world):
    accept(world, 0, US, "A")
    accept(world, 0, US + 1, "B")
    accept(world, 1, US + 1, "C")
    answer = await world.query.rows(RowsRequest(known_at_ns=T0 + 5, window_ns=1_000))
    assert (answer.meta.end_ns, answer.meta.pinned) == (T0 + 5, True)
    assert answer.meta.offsets == {0: 1, 1: 0}
    again = await world.query.rows(RowsRequest(as_of=Token.decode(answer.meta.token)))
    assert again.rows.column("symbol").to_pylist() == ["A"]
    assert again.meta.known_at_ns is None


async def test_what_was_deferred_at_a_time_is_not_known_once_something_ever_was(world):
    accept(world, 0, US, "A")
    accept(world, 0, US + 1)
    accept(world, 1, US + 1)
    answer = await world.query.rows(RowsRequest(known_at_ns=T0))
    assert (answer.meta.deferred, answer.meta.complete) == (0, True)
    query = HybridQuery(
        world.tail,
        world.view,
        world.engine,
        world.gaps,
        clock=world.clock,
        stream=TRADES,
        state=lambda: NodeState(has_deferred=True),
    )
    answer = await query.rows(RowsRequest(known_at_ns=T0))
    assert (answer.meta.deferred, answer.meta.complete) == (NOT_KNOWN, False)


def gap(world: World, event: AnyEvent, position: int) -> None:
    world.gaps.apply(event, 0, position)


SCOPE = {"scope": "X:A", "session": "0", "first": 2, "last": 3, "exchange_time_ns": T0}


async def test_before_a_repair_the_gap_is_open_and_the_answer_incomplete(world):
    gap(world, GapOpened(**SCOPE, size="small", accepted_time_us=US), 1)
    accept(world, 0, US, "A")
    gap(world, GapFilled(**SCOPE, accepted_time_us=US + 10), 2)
    accept(world, 0, US + 10, "A")
    accept(world, 0, US + 11)
    accept(world, 1, US + 11)
    for known_us, state in ((US, "open"), (US + 9, "open"), (US + 10, "filled")):
        known_ns = known_us * 1_000
        answer = await world.query.rows(RowsRequest(known_at_ns=known_ns))
        assert [one.state for one in answer.meta.gaps] == [state]
        assert answer.meta.complete == (state == "filled")
        listed = await world.query.gaps(GapsRequest(known_at_ns=known_ns))
        assert [one.state for one in listed.gaps] == [state]
        assert (listed.meta.token, listed.meta.complete) == (answer.meta.token, True)
        symbols = await world.query.symbols(SymbolsRequest(known_at_ns=known_ns))
        assert symbols.symbols[0].counts.missing == (2 if state == "open" else 0)
        assert symbols.meta.complete == (state == "filled")
    # A token names rows: what is said of gaps with it is as known now.
    answer = await world.query.rows(RowsRequest(known_at_ns=T0))
    now = await world.query.rows(RowsRequest(as_of=Token.decode(answer.meta.token)))
    assert [one.state for one in now.meta.gaps] == ["filled"]


async def test_what_was_known_before_the_events_that_are_kept_is_said_to_be_incomplete(tmp_path):
    engine = Engine(EngineConfig(allowed=(str(tmp_path),)))
    world = World(tmp_path, engine, gaps=GapsView(history=GapHistory(max_events=1)))
    accept(world, 0, US, "A")
    gap(world, GapOpened(**SCOPE, size="small", accepted_time_us=US + 5), 1)
    gap(world, GapFilled(**SCOPE, accepted_time_us=US + 9), 2)
    accept(world, 0, US + 10)
    accept(world, 1, US + 10)
    before = await world.query.rows(RowsRequest(known_at_ns=T0))
    assert (before.meta.gaps_complete, before.meta.complete) == (False, False)
    then = await world.query.rows(RowsRequest(known_at_ns=T0 + 5_000))
    assert [one.state for one in then.meta.gaps] == ["open"]
    assert then.meta.gaps_complete
    await world.query.close()
    engine.close()


def test_of_repeated_messages_the_history_keeps_the_count_alone():
    history = GapHistory()
    repeated = Duplicates(scope="X:A", session="0", count=3, ranges=[(1, 3)], accepted_time_us=5)
    history.add(repeated)
    assert history.at(4, ["X:A"]).counts("X:A").duplicates == 0
    assert history.at(5, ["X:A"]).counts("X:A").duplicates == 3
    assert repeated.ranges == [(1, 3)]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"as_of": TOKEN}, "known_at"),
        ({"min_offsets": {0: 1}}, "min_offsets"),
    ],
)
@pytest.mark.parametrize("request_", [RowsRequest, SymbolsRequest])
def test_a_time_goes_with_no_other_read_point(request_, fields, field):
    with pytest.raises(InvalidParameter) as error:
        request_(known_at_ns=T0, **fields)
    assert error.value.field == field


async def test_a_reader_looks_up_ends_and_whether_a_record_was_ever_deferred():
    beside = LogTopics("k2.dead-letter", None, "k2.trades.deferred")
    world = TailWorld(TRADES, beside)
    world.checkpoint([], CheckpointHeaders(3, None, 0, 0, 0, 0))
    await world.follow(lambda: any(p.read_to_ns for p in world.tail.view().partitions.values()))
    assert world.tail.view().partitions[0].read_to_ns == world.clock.time_ns()
    assert not world.reader.has_deferred
    assert world.topics.read == {TOPIC, "k2.dead-letter"}
    world = TailWorld(TRADES, beside)
    world.topics.append("k2.trades.deferred", b"")
    await world.follow(lambda: world.reader.has_deferred)


async def test_the_parameter_is_a_time_as_others_are():
    queries = CannedQueries()
    async with TestClient(TestServer(application(queries))) as client:
        for path in ("/v1/trades", "/v1/symbols", "/v1/gaps"):
            url = f"{path}?known_at=2026-11-23T10:00:00&tz=Australia/Sydney"
            assert (await client.get(url)).status == 200, path
            assert queries.asked.pop().known_at_ns == 1_795_388_400_000_000_000
        refused = await client.get(f"/v1/trades?known_at={T0}&as_of={TOKEN.encode()}")
        error = (await refused.json())["error"]
        assert (refused.status, error["field"]) == (422, "known_at")
        queries.error = BeforeHistoryError(T0)
        refused = await client.get(f"/v1/gaps?known_at={T0}")
        error = (await refused.json())["error"]
        assert (refused.status, error["code"]) == (422, "before_history")
