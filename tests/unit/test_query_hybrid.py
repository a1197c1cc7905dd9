"""The hybrid query at its seams: waiting, files that go, a lake that is away, ranges, the proof."""

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from query_world import T0, TOPIC, TOPIC_ID, DictSpill, World, make_batch
from rows_requests import parse_rows
from tick_model import with_ticks

from k2_streams.core.records import stream
from k2_streams.core.records.events import GapFilled, GapOpened
from k2_streams.core.records.expand import expand
from k2_streams.core.records.schema import TRADES
from k2_streams.core.records.vector import Range, TopicOffsets, Vector
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.table import Lake
from k2_streams.query import lake_refresh, reading, tick_lookup
from k2_streams.query.answer import NodeState
from k2_streams.query.errors import (
    BehindError,
    InvalidParameter,
    LakeUnavailable,
    NotYetError,
    TooMuchError,
    UnknownSymbolError,
)
from k2_streams.query.gaps import GapsView
from k2_streams.query.hybrid import HybridQuery
from k2_streams.query.lake_view import LakeView
from k2_streams.query.request import (
    GapsRequest,
    RowsRequest,
    SnapshotsRequest,
    SymbolsRequest,
)
from k2_streams.query.tail.store import Tail
from k2_streams.query.token import Token

SECOND = 1_000_000_000


@pytest.fixture
async def world(engine, tmp_path):
    world = World(engine[1] / tmp_path.name, engine[0])
    yield world
    await world.view.close()


def numbers(answer) -> list[int]:
    return answer.rows.column("sequence").to_pylist()


async def ask(world: World, **parameters: str):
    return await world.query.rows(parse_rows(parameters))


async def test_nothing_at_all_is_an_empty_answer(world):
    answer = await ask(world)
    assert answer.rows.num_rows == 0
    assert answer.rows.schema == TRADES
    assert (answer.meta.snapshot, answer.meta.offsets) == (None, {0: 0, 1: 0})
    assert answer.meta.complete


async def test_both_parts_are_told_apart(world):
    world.add(0, [("A", T0), ("A", T0 + 2)])
    world.commit()
    await world.query.refresh()
    world.add(0, [("A", T0 + 1)])
    answer = await ask(world, symbol="A")
    assert numbers(answer) == [1, 3, 2]
    assert (answer.meta.rows, answer.meta.rows_lake, answer.meta.rows_tail) == (3, 2, 1)
    assert answer.rows.schema == TRADES
    assert answer.meta.offsets == {0: 4, 1: 0}


async def test_rows_the_tail_has_not_evicted_yet_are_not_doubled(world):
    world.add(0, [("A", T0)])
    world.commit()
    await world.view.refresh()  # seen, not evicted
    assert world.tail.rows == 1
    answer = await ask(world)
    assert (answer.meta.rows_lake, answer.meta.rows_tail) == (1, 0)


async def test_a_snapshot_older_than_the_tail_is_loaded_anew(world):
    world.add(0, [("A", T0)])
    await world.view.refresh()
    world.commit()
    world.tail.seek(0, 2)  # this node's tail began at a newer vector than its queries know
    assert numbers(await ask(world)) == [1]


async def test_no_snapshot_that_holds_what_is_gone_is_a_503_after_three_loads(world):
    world.add(0, [("A", T0)])
    await world.view.refresh()
    loads = []
    head = world.lake.head
    world.lake.head = lambda: (loads.append(1), head())[1]
    world.tail.seek(0, 2)
    with pytest.raises(BehindError) as caught:
        await ask(world)
    assert (caught.value.evicted, caught.value.held, len(loads)) == (2, 0, 3)


async def test_a_tail_that_is_not_ready_is_not_yet(world):
    world.tail.seek(0, 0, ready_at=4)
    with pytest.raises(NotYetError) as caught:
        await ask(world)
    assert (caught.value.wanted, caught.value.found) == ({0: 4}, {0: 0})
    world.tail.append(0, Range(0, 4), [])
    await ask(world)


async def test_read_your_writes_waits_for_the_record(world):
    world.add(0, [("A", T0)])
    asked = asyncio.create_task(ask(world, min_offsets="0:7", wait_ms="5000"))
    await asyncio.sleep(0.01)
    world.log.append(0, [("A", T0 + 1)])
    world.read_tail(0, raw_next=7)  # raw offset 7 itself is not judged yet
    await asyncio.sleep(0.01)
    assert not asked.done()
    world.log.append(0, [("A", T0 + 2)])
    world.read_tail(0, raw_next=8)
    assert numbers(await asked) == [1, 2, 3]


async def test_an_append_on_another_thread_wakes_who_waits(world):
    asked = asyncio.create_task(ask(world, min_offsets="1:0", wait_ms="5000"))
    await asyncio.sleep(0.01)
    thread = threading.Thread(target=world.read_tail, args=(1, 1))
    thread.start()
    await asyncio.to_thread(thread.join)
    async with asyncio.timeout(60):
        await asked


@pytest.mark.parametrize("partition", [0, 9])
async def test_waiting_is_bounded(world, partition):
    with pytest.raises(NotYetError) as caught:
        await ask(world, min_offsets=f"{partition}:5", wait_ms="20")
    assert caught.value.wanted == {partition: 6}


async def test_a_token_ahead_of_this_node_waits_too(world):
    token = Token(TOPIC_ID, {0: 4}, T0, 0).encode()
    with pytest.raises(NotYetError):
        await ask(world, as_of=token)
    asked = asyncio.create_task(ask(world, as_of=token, wait_ms="5000"))
    await asyncio.sleep(0.01)
    for time in range(3):
        world.add(0, [("A", T0 + time)])
    answer = await asked
    assert numbers(answer) == [1, 2]
    assert (answer.meta.pinned, answer.meta.token) == (True, token)


async def test_a_token_of_another_log_is_refused(world):
    with pytest.raises(InvalidParameter) as caught:
        await ask(world, as_of=Token("another", {}, T0, 0).encode())
    assert caught.value.field == "as_of"


async def test_a_lake_of_another_topic_of_the_same_name_answers_nothing(world):
    head = world.lake.commit(world.log, {})
    vector = Vector({TOPIC: TopicOffsets("another", {0: 3})})
    world.lake.heads[-1] = replace(head, vector=vector)
    with pytest.raises(LakeUnavailable, match="another"):
        await ask(world)


async def test_a_catalog_that_is_away_does_not_end_queries(world):
    world.add(0, [("A", T0)])
    world.commit()
    await world.query.refresh()
    world.lake.away = True
    world.add(0, [("A", T0 + 1)])
    assert numbers(await ask(world)) == [1, 2]
    with pytest.raises(LakeUnavailable):
        await world.query.refresh()
    with pytest.raises(LakeUnavailable):
        await world.query.snapshots(SnapshotsRequest())


async def test_a_commit_is_looked_for_at_once_and_a_catalog_away_then_ends_nothing(
    world, monkeypatch
):
    """The look after a commit ended the worker, when the catalog was locked just then."""
    monkeypatch.setattr(lake_refresh, "REFRESH_EVERY_S", 3_600.0)
    refresh = world.query.lake_refresh
    running = asyncio.create_task(refresh.run())
    async with asyncio.timeout(60):
        while world.view.head is None:  # noqa: ASYNC110 - nothing tells of a refresh
            await asyncio.sleep(0.001)
        for away in (True, False):
            world.lake.away = away
            world.add(0, [("A", T0)])
            world.commit()
            refresh.soon()
            while refresh.is_wanted:  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.001)
        while world.tail.rows:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.001)
    assert not running.done()
    running.cancel()


async def test_a_catalog_away_from_the_start_is_a_503(world):
    world.lake.away = True
    with pytest.raises(LakeUnavailable):
        await ask(world)


@pytest.mark.parametrize("compactions", [1, 2, 3])
async def test_files_that_compaction_replaced_are_planned_anew(world, compactions):
    for time in range(3):
        world.add(0, [("A", T0 + time)])
        world.commit()
    await world.query.refresh()
    files = world.lake.files[world.lake.heads[-1].snapshot_id]
    plan = world.lake.plan
    left = iter(range(compactions))

    def plan_then_compact(snapshot_id: int, **wanted: object) -> list:
        planned = plan(snapshot_id, **wanted)
        if next(left, None) is not None:
            world.lake.compact()
        return planned

    world.lake.plan = plan_then_compact
    assert numbers(await ask(world)) == [1, 2, 3]
    assert next(left, None) is None
    assert not any(map(exists, files))


def exists(path: str) -> bool:
    return Path(path).exists()


async def test_files_that_stay_away_are_a_503(world):
    world.add(0, [("A", T0)])
    world.commit()
    await world.query.refresh()
    world.lake.lose(1)
    with pytest.raises(LakeUnavailable, match="cannot be read"):
        await ask(world)


async def test_batches_spilled_and_evicted_while_they_are_read_are_found_in_the_lake(
    engine, tmp_path
):
    world = World(engine[1] / tmp_path.name, engine[0], memory_bytes=0, spill=DictSpill())
    world.add(0, [("A", T0)])
    await world.query.refresh()
    world.commit()

    def evict() -> None:
        world.view._head = world.lake.heads[-1]
        world.tail.evict(world.view._head.vector)

    once = iter([evict])
    files = world.view.files

    async def files_while_evicting(head, selection):
        next(once, lambda: None)()
        return await files(head, selection)

    world.view.files = files_while_evicting
    answer = await ask(world)
    assert (numbers(answer), answer.meta.rows_lake) == ([1], 1)
    await world.view.close()


async def test_an_unknown_symbol_is_told_from_an_empty_range(world):
    world.add(0, [("A", T0)])
    world.commit()
    await world.query.refresh()
    world.add(1, [("B", T0)])
    for symbol in ("A", "B"):
        assert (await ask(world, symbol=symbol, start=str(T0 + 5))).rows.num_rows == 0
    with pytest.raises(UnknownSymbolError) as caught:
        await world.query.rows(RowsRequest(symbols=("A", "Z")))
    assert caught.value.symbols == ("Z",)
    with pytest.raises(UnknownSymbolError):
        await ask(world, symbol="A", exchange="Y")


async def test_as_of_a_token_before_its_first_trade_a_symbol_is_unknown(world):
    before = (await ask(world)).meta.token
    world.add(0, [("A", T0)])
    # The node remembers that it knows the symbol now; then it did not.
    assert numbers(await ask(world, symbol="A", start=str(T0 + 1))) == []
    with pytest.raises(UnknownSymbolError):
        await ask(world, symbol="A", as_of=before)


async def test_hostile_symbols_are_values(world):
    hostile = "x' OR 1=1; DROP TABLE t; --"
    world.add(0, [("A", T0), (hostile, T0 + 1)])
    world.commit()
    await world.query.refresh()
    assert numbers(await ask(world, symbol=hostile)) == [2]


@pytest.mark.parametrize(
    ("parameters", "found", "range_"),
    [
        ({"window": "4s"}, [7, 8, 9], (T0 + 6 * SECOND, T0 + 10 * SECOND)),
        ({"window": "2s", "end": str(T0 + 5 * SECOND)}, [4, 5], (T0 + 3 * SECOND, T0 + 5 * SECOND)),
        ({"window": "2s", "end": "last"}, [8, 9], (T0 + 6 * SECOND + 1, T0 + 8 * SECOND + 1)),
        ({"end": "last", "symbol": "B"}, [2, 4, 6, 8], (None, T0 + 7 * SECOND + 1)),
        ({"start": str(T0 + 7 * SECOND)}, [8, 9], (T0 + 7 * SECOND, None)),
        ({"end": str(T0 + SECOND)}, [1], (None, T0 + SECOND)),
    ],
)
@pytest.mark.parametrize("committed", [False, True])
async def test_ranges(world, parameters, found, range_, committed):
    world.clock.now_ns = T0 + 10 * SECOND
    for second in range(9):
        world.add(second % 2, [("AB"[second % 2], T0 + second * SECOND)])
        if committed and second == 6:
            world.commit()
            await world.query.refresh()
    answer = await ask(world, **parameters)
    assert numbers(answer) == found
    assert (answer.meta.start_ns, answer.meta.end_ns) == range_


async def test_a_window_asked_again_with_the_token_ends_where_it_ended(world):
    world.clock.now_ns = T0 + 5
    world.add(0, [("A", T0 + n) for n in range(10)])
    first = await ask(world, window="3ns", limit="2")
    world.clock.now_ns = T0 + 8
    again = await ask(world, window="3ns", as_of=first.meta.token)
    assert numbers(first) == [3, 4]
    assert numbers(again) == [3, 4, 5]
    page = await ask(world, cursor=first.meta.next_cursor)
    assert numbers(page) == [5]
    assert (page.meta.token, page.meta.next_cursor) == (first.meta.token, None)


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_part_between_rows_of_one_time_in_different_files(world, order):
    for _ in range(3):
        world.add(0, [("A", T0), ("A", T0)])
        world.commit()
    await world.query.refresh()
    world.add(1, [("A", T0)])
    page = await ask(world, limit="1", order=order)
    found = numbers(page)
    while page.meta.next_cursor is not None:
        page = await ask(world, cursor=page.meta.next_cursor)
        found += numbers(page)
    assert found == ([1, 2, 3, 4, 5, 6, 7] if order == "asc" else [7, 6, 5, 4, 3, 2, 1])


async def test_the_proof_shows_the_gaps_of_the_range(world):
    world.add(0, [("A", T0)])

    def opened(first: int, time_ns: int) -> GapOpened:
        return GapOpened(
            scope="X:A",
            session="0",
            first=first,
            last=first,
            size="small",
            exchange_time_ns=time_ns,
            previous_time_ns=time_ns,
            next_time_ns=time_ns,
        )

    world.gaps.apply(opened(5, T0 + 1), 0, 1)
    world.gaps.apply(opened(9, T0 + 50), 0, 2)
    answer = await ask(world, symbol="A", end=str(T0 + 50))
    assert [gap.first for gap in answer.meta.gaps] == [5]
    assert (answer.meta.gaps_complete, answer.meta.complete) == (False, False)
    world.gaps.cover(answer.meta.offsets)
    answer = await ask(world, symbol="A", end=str(T0 + 50))
    assert (answer.meta.gaps_complete, answer.meta.complete) == (True, False)
    world.gaps.apply(GapFilled(scope="X:A", session="0", first=5, last=5), 0, 3)
    assert (await ask(world, symbol="A", end=str(T0 + 50))).meta.complete
    world.clock.now_ns = T0 + 60
    listed = await world.query.gaps(GapsRequest(window_ns=20))
    assert [gap.first for gap in listed.gaps] == [9]
    assert (listed.meta.gaps, listed.meta.positions, listed.meta.complete) == (1, {0: 3}, True)


async def test_a_range_inside_a_gap_is_not_complete(world):
    """The message before it came twenty minutes before the message after it."""
    world.add(0, [("A", T0)])
    world.gaps.cover({0: 99, 1: 99})
    lost = {"scope": "X:A", "session": "0", "first": 3, "last": 1202, "size": "large"}
    times = {"exchange_time_ns": T0 + 1200, "previous_time_ns": T0, "next_time_ns": T0 + 1200}
    world.gaps.apply(GapOpened(**lost, **times), 0, 1)
    for start, end, complete in (
        (T0 + 300, T0 + 900, False),
        (T0 - 60, T0, True),
        (T0 - 60, T0 + 1, False),
        (T0 + 1200, T0 + 1300, False),
        (T0 + 1201, T0 + 1300, True),
    ):
        meta = (await ask(world, symbol="A", start=str(start), end=str(end))).meta
        assert meta.complete is complete
        assert [(gap.previous_time_ns, gap.next_time_ns) for gap in meta.gaps] == (
            [] if complete else [(T0, T0 + 1200)]
        )


async def test_the_proof_says_how_the_pipeline_stands(engine, world):
    state = NodeState(level="GRACEFUL", lag_records=3, dead_letters=2, stalled=True)
    query = HybridQuery(
        world.tail,
        world.view,
        engine[0],
        world.gaps,
        clock=world.clock,
        stream=stream.TRADES,
        state=lambda: state,
    )
    meta = (await query.rows(RowsRequest())).meta
    assert (meta.level, meta.lag_records) == ("GRACEFUL", 3)
    assert (meta.dead_letters, meta.stalled) == (2, True)


@pytest.mark.parametrize(
    ("reached", "complete"),
    [({}, False), ({0: 2}, False), ({0: 2, 1: 1}, False), ({0: 2, 1: 2}, True)],
)
async def test_the_proof_says_whether_the_dead_letters_are_those_of_its_rows(
    engine, world, reached, complete
):
    world.add(0, [("A", T0)])
    world.add(1, [("B", T0)])
    state = NodeState(dead_letters=7, dead_letters_next=reached)
    query = HybridQuery(
        world.tail,
        world.view,
        engine[0],
        world.gaps,
        clock=world.clock,
        stream=stream.TRADES,
        state=lambda: state,
    )
    meta = (await query.rows(RowsRequest())).meta
    assert (meta.offsets, meta.dead_letters_complete) == ({0: 2, 1: 2}, complete)


async def test_an_answer_says_what_waited_at_its_offsets(world):
    """Not what waits now: what was put off then is not in it, nor in an answer pinned there."""
    world.log.append(0, [("A", T0)])
    world.read_tail(0, raw_next=1, deferred=3)
    world.gaps.cover({0: 99, 1: 99})
    first = (await ask(world)).meta
    assert (first.deferred, first.complete) == (3, False)
    world.log.append(0, [("A", T0 + 1)])
    world.read_tail(0, raw_next=5, deferred=0)
    now = (await ask(world)).meta
    assert (now.deferred, now.complete) == (0, True)
    pinned = (await ask(world, as_of=first.token)).meta
    assert (pinned.deferred, pinned.complete, pinned.rows) == (3, False, 1)


async def test_a_token_of_symbols_says_what_waited_there(world):
    """Also asked again with it: the token is passed on, not made of what waits now."""
    world.log.append(0, [("A", T0)])
    world.read_tail(0, raw_next=1, deferred=3)
    world.gaps.cover({0: 99, 1: 99})
    first = (await world.query.symbols(SymbolsRequest())).meta
    assert (first.deferred, first.complete) == (3, False)
    world.log.append(0, [("A", T0 + 1)])
    world.read_tail(0, raw_next=5, deferred=0)
    now = (await world.query.symbols(SymbolsRequest())).meta
    assert (now.deferred, now.complete) == (0, True)
    world.clock.now_ns += SECOND
    pinned = (await world.query.symbols(SymbolsRequest(as_of=Token.decode(first.token)))).meta
    assert (pinned.token, pinned.deferred, pinned.complete) == (first.token, 3, False)
    for token in (first.token, pinned.token):
        rows = (await ask(world, as_of=token)).meta
        assert (rows.deferred, rows.complete) == (3, False)


async def test_what_waited_is_said_by_the_part_that_reaches_further(world):
    """The lake's vector may be ahead of this node's tail."""
    world.log.append(0, [("A", T0)])
    world.read_tail(0, raw_next=1, deferred=3)
    world.log.append(0, [("A", T0 + 1)])
    world.commit()
    vector = world.lake.heads[-1].vector
    held = vector.topics[TOPIC]
    waiting = Vector({TOPIC: TopicOffsets(held.id, held.next, {0: 7})})
    world.lake.heads[-1] = replace(world.lake.heads[-1], vector=waiting)
    await world.view.refresh()
    assert (await ask(world)).meta.deferred == 7
    world.read_tail(0, raw_next=9, deferred=5)
    assert (await ask(world)).meta.deferred == 5


async def test_symbols_are_complete_if_nothing_is_known_to_be_missing_of_them(world):
    world.add(0, [("A", T0), ("B", T0)])
    world.gaps.cover({0: 99, 1: 99})
    gap = {"scope": "X:A", "session": "0", "first": 5, "last": 5}
    world.gaps.apply(GapOpened(**gap, size="small"), 0, 1)

    async def complete(**asked):
        return (await world.query.symbols(SymbolsRequest(**asked))).meta.complete

    assert not await complete()
    assert not await complete(symbols=("A",))
    assert await complete(symbols=("B",))
    world.gaps.apply(GapFilled(**gap), 0, 2)
    assert await complete()


async def test_an_answer_is_settled_if_nothing_of_its_gaps_is_expected_to_become_known(world):
    """Each condition alone keeps it from being so."""
    world.log.append(0, [("A", T0), ("A", T0 + 10)])
    world.read_tail(0, raw_next=2, held=1)
    token = (await ask(world)).meta.token

    async def settled(**changed):
        asked = {"symbol": "A", "exchange": "X", "end": str(T0 + 10), "as_of": token}
        asked = {name: value for name, value in {**asked, **changed}.items() if value}
        return (await ask(world, **asked)).meta.settled

    world.gaps.cover({0: 99, 1: 99})
    assert not await settled()  # young
    world.clock.now_ns += 61 * SECOND
    assert not await settled()  # a gap is held
    world.log.append(0, [])
    world.read_tail(0, raw_next=2, held=0)
    assert await settled()
    at = Token.decode(token)
    world.lake.tags["eod"] = Vector({TOPIC: TopicOffsets(at.topic_id, at.next)})
    assert not await settled(as_of="tag:eod")  # the name may be given to another snapshot
    assert not await settled(end=None)
    assert not await settled(end=str(T0 + 11))  # no row behind it
    assert not await settled(exchange=None)
    assert not await settled(symbol=None)
    opened = GapOpened(
        scope="X:A", session="0", first=2, last=2, size="small", exchange_time_ns=T0 + 5
    )
    world.gaps.apply(opened, 0, 1)
    assert not await settled()  # not complete


async def test_symbols_count_on_from_where_they_were(world):
    world.add(0, [("A", T0), ("B", T0 + 5)])
    first = await world.query.symbols(SymbolsRequest())
    world.commit()
    await world.query.refresh()  # evicts; the next count goes on in the tail
    world.add(0, [("A", T0 + 1)])
    again = await world.query.symbols(SymbolsRequest())
    assert [(row.symbol, row.trades, row.sequence) for row in again.symbols] == [
        ("A", 2, 3),
        ("B", 1, 2),
    ]
    old = await world.query.symbols(SymbolsRequest(as_of=Token.decode(first.meta.token)))
    assert old.symbols == first.symbols
    only = await world.query.symbols(SymbolsRequest(symbols=("B",), exchanges=("X",)))
    assert [row.symbol for row in only.symbols] == ["B"]
    with pytest.raises(UnknownSymbolError):
        await world.query.symbols(SymbolsRequest(symbols=("Z",)))


async def test_an_asker_who_goes_away_leaves_the_count_running(world):
    world.add(0, [("A", T0)])
    asked = asyncio.create_task(world.query.symbols(SymbolsRequest()))
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert [row.trades for row in (await world.query.symbols(SymbolsRequest())).symbols] == [1]


async def test_a_snapshot_with_deferred_records_is_not_called_complete(world):
    world.add(0, [("A", T0)])
    world.commit()
    vector = world.lake.heads[-1].vector
    held = vector.topics[TOPIC]
    waiting = Vector({TOPIC: TopicOffsets(held.id, held.next, {0: 4})})
    world.lake.heads[-1] = replace(world.lake.heads[-1], vector=waiting)
    await world.query.refresh()
    (snapshot,) = await world.query.snapshots(SnapshotsRequest())
    past = await ask(world, as_of=snapshot.token)
    assert (past.meta.deferred, past.meta.complete) == (4, False)


async def test_every_type_survives_both_parts(world):
    world.add(0, [("A", T0 + n) for n in range(12)])
    truth = with_ticks(expand(stream.TRADES, [world.log.records[0][0]]).to_pylist())
    assert (await ask(world)).rows.to_pylist() == truth
    world.commit()
    await world.query.refresh()
    assert (await ask(world)).rows.to_pylist() == truth


async def test_the_trade_before_a_pages_first_is_looked_up_in_either_part(world):
    """Of the same day and partition, wherever it lies; late ones and corrections are skipped."""
    day = 86_400 * SECOND
    start = T0 // day * day
    more = {
        "price": ["5", "9", "1"],
        "late": [False, True, False],
        "action": [None, None, "cancel"],
    }
    world.log.append(0, [("A", start + 9), ("A", start + 9), ("A", start + 9)], more=more)
    world.log.append(1, [("A", start + 1)], more={"price": ["99"]})
    world.read_tail(0)
    world.read_tail(1)
    world.commit()
    await world.query.refresh()
    for time, price in ((start + 5, "6"), (start + 6, "6"), (start + 7, "4"), (start + day, "7")):
        world.log.append(0, [("A", time)], more={"price": [price]})
        world.read_tail(0)

    async def found(**more) -> list:
        answer = await world.query.rows(RowsRequest(symbols=("A",), start_ns=start + 5, **more))
        return answer.rows.column("tick_direction").to_pylist()

    expected = ["up", "same", "down", None, None, None, None]
    assert await found() == expected
    assert await found(limit=2) == expected[:2]
    world.commit()
    await world.query.refresh()
    assert await found() == expected


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_long_pages_end_where_they_should(world, monkeypatch, order):
    """The time of the last row is found first; rows of both parts, one of them a tie."""
    monkeypatch.setattr(reading, "NARROWED_ABOVE", 1)
    world.add(0, [("A", T0 + n) for n in (0, 2, 4, 5)])
    world.commit()
    await world.query.refresh()
    world.add(0, [("A", T0 + n) for n in (1, 3, 5, 6)])
    for limit in range(2, 9):
        page = await ask(world, order=order, limit=str(limit))
        pages = [page]
        while pages[-1].meta.next_cursor is not None:
            pages.append(await ask(world, cursor=pages[-1].meta.next_cursor))
        assert [len(numbers(one)) for one in pages[:-1]] == [limit] * (len(pages) - 1)
        assert len(pages) == -(-8 // limit)
        found = [n for one in pages for n in numbers(one)]
        expected = [1, 5, 2, 6, 3, 4, 7, 8]
        assert found == (expected if order == "asc" else expected[::-1])


async def test_a_lookup_that_needs_too_much_memory_leaves_ticks_null(world, monkeypatch):
    def refuse(*_: object) -> None:
        raise TooMuchError("no")

    world.add(0, [("A", T0 + n) for n in range(3)])
    monkeypatch.setattr(tick_lookup.tick_statement, "ticks", refuse)
    assert (await ask(world)).rows.column("tick_direction").null_count == 3


async def test_too_many_rows_to_look_among_leave_ticks_null(world, monkeypatch):
    monkeypatch.setattr(tick_lookup, "MAX_ROWS", 2)
    world.add(0, [("A", T0 + n) for n in range(3)])
    assert (await ask(world)).rows.column("tick_direction").null_count == 3


async def test_a_real_lake(engine, tmp_path):
    """Through pyiceberg: commits, snapshots, time travel by a snapshot's own token."""
    folder = engine[1] / tmp_path.name
    folder.mkdir()
    config = LakeConfig(f"sqlite:///{folder}/catalog.db", str(folder / "warehouse"))
    sink = Lake(config, stream=stream.TRADES)
    sink.ensure()
    tail = Tail(stream.TRADES, topic_id=TOPIC_ID)
    tail.seek(0, 0)
    clock = World(folder / "unused", engine[0]).clock
    view = LakeView(lambda: Lake(config, stream=stream.TRADES))
    query = HybridQuery(tail, view, engine[0], GapsView(), clock=clock, stream=stream.TRADES)
    for number in range(4):
        batch = make_batch(
            [("A", T0 + number * 86_400 * SECOND), ("B", T0)],
            partition=0,
            offset=number,
            first_sequence=1 + 2 * number,
        )
        range_ = Range(number, number + 1)
        tail.append(0, range_, [batch])
        if number < 3:
            sink.append(
                expand(sink.stream, [batch]), {0: range_}, topic_id=TOPIC_ID, commit_id=f"c{number}"
            )
    await query.refresh()
    assert tail.rows == 2
    answer = await query.rows(RowsRequest(symbols=("A",)))
    assert numbers(answer) == [1, 3, 5, 7]
    assert (answer.meta.rows_lake, answer.meta.rows_tail) == (3, 1)
    window = await query.rows(parse_rows({"symbol": "A", "window": "1d", "end": "last"}))
    assert numbers(window) == [7]
    rows = await query.snapshots(SnapshotsRequest())
    assert [row.offsets for row in rows] == [{0: 3}, {0: 2}, {0: 1}]
    assert [row.refs for row in rows] == [["main"], [], []]
    for row, found in zip(rows, ([1, 3, 5], [1, 3], [1]), strict=True):
        past = await query.rows(RowsRequest(symbols=("A",), as_of=Token.decode(row.token)))
        assert numbers(past) == found
    sink.close()
    await view.close()
