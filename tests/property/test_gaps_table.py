"""Gaps that are read from the table of gap events are the fold of the same events in memory."""

import asyncio
import itertools
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_world import EventsWorld
from sequence_inputs import HORIZON_MS, messages, rules

from k2_streams.core.records.events import (
    AnyEvent,
    GapAbandoned,
    GapFilled,
    GapOpened,
    Late,
    stamped,
)
from k2_streams.core.sequence.gaps import GapLedger
from k2_streams.core.sequence.sessions import SessionRule
from k2_streams.core.sequence.step import ScopeMessage, step
from k2_streams.query.gaps import GapsView
from k2_streams.query.ledger import gaps as gaps_of_the_table
from k2_streams.query.ledger.gaps import continued
from k2_streams.query.request import GapsRequest
from k2_streams.query.token import GapsCursor, Token

START_US = 1_700_000_000_000_000
STATES = [(), ("open",), ("filled",), ("abandoned",), ("abandoned", "open")]


def events_of(stream: list[ScopeMessage], rule: SessionRule) -> list[list[AnyEvent]]:
    """What the sequencer finds, by the checkpoint of each message that brought something about."""
    states, found = {}, []
    for number, message in enumerate(stream):
        after = step(states.get(message.scope), message, rule, HORIZON_MS)
        states[message.scope] = after.state
        if after.events:
            found.append([stamped(one, START_US + number) for one in after.events])
    return found


def folded(checkpoints: list[list[AnyEvent]]) -> GapsView:
    view = GapsView()
    for position, one in enumerate(itertools.chain(*checkpoints), 1):
        view.apply(one, 0, position)
    return view


async def paged(world: EventsWorld, request: GapsRequest) -> list:
    """All pages, each as the cursor of the one before it asks."""
    answer = await world.query.gaps(request)
    found = [*answer.gaps]
    while answer.meta.next_cursor is not None:
        assert answer.meta.gaps <= request.limit
        cursor = GapsCursor.decode(answer.meta.next_cursor)
        answer = await world.query.gaps(continued(cursor))
        found += answer.gaps
    assert (answer.meta.omitted, answer.meta.complete) == (0, True)
    return found


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(messages(huge=False), rules, st.data())
def test_pages_of_the_table_are_the_fold_in_memory(engine, stream, rule, data):
    """Of any selection, in lake and tail, now and as of each earlier answer."""
    checkpoints = events_of(stream, rule)
    times = sorted({one.event_time_ns for one in stream})
    edges = [None, *times[:: max(len(times) // 4, 1)]]
    symbols = data.draw(st.sampled_from([(), ("A",), ("A", "B")]))
    states = data.draw(st.sampled_from(STATES))
    start_ns, end_ns = data.draw(st.sampled_from(edges)), data.draw(st.sampled_from(edges))
    if start_ns is not None and end_ns is not None and end_ns < start_ns:
        start_ns, end_ns = end_ns, start_ns
    chosen = {"symbols": symbols, "states": states, "start_ns": start_ns, "end_ns": end_ns}
    limit = data.draw(st.integers(1, 4))
    commits = data.draw(st.sets(st.integers(0, max(len(checkpoints) - 1, 0)), max_size=2))

    async def run() -> None:
        with tempfile.TemporaryDirectory(dir=engine[1]) as folder:
            world = EventsWorld(Path(folder), engine[0])
            tokens: list[tuple[Token, int]] = []
            for number, checkpoint in enumerate(checkpoints):
                world.publish(checkpoint)
                if number in commits:
                    await world.commit()
                    next_ = dict(world.log.ends)
                    tokens.append((Token("topic-1", next_, world.clock.now_ns, 0), number + 1))
            tokens.append((Token("topic-1", dict(world.log.ends), 0, 0), len(checkpoints)))
            for token, known in tokens:
                wanted, omitted = folded(checkpoints[:known]).find(**chosen, limit=10_000)
                assert omitted == 0
                asked = GapsRequest(**chosen, limit=limit, as_of=token)
                assert await paged(world, asked) == list(wanted)
            await world.query.close()

    asyncio.run(run())


async def test_before_memory_has_read_up_to_the_end_gaps_are_read_from_the_table(engine):
    memory = GapsView()
    world = EventsWorld(engine[1] / "started", engine[0], memory)
    world.findings = GapsView()  # what is published is not in this memory yet
    common = {"scope": "X:A", "session": "0", "exchange_time_ns": 5, "size": "small"}
    first, second = (GapOpened(**common, first=number, last=number) for number in (3, 9))
    world.publish([first, second])
    memory.expect(world.log.ends)
    memory.apply(first, 0, 1)
    half_read = await world.query.gaps(GapsRequest())
    assert [gap.first for gap in half_read.gaps] == [3, 9]
    assert (half_read.meta.complete, half_read.meta.token is None) == (True, False)
    memory.apply(second, 0, 2)
    memory.advance(0, world.log.ends[0])
    read = await world.query.gaps(GapsRequest())
    assert (read.gaps, read.meta.complete, read.meta.token) == (half_read.gaps, True, None)
    await world.query.close()


async def test_what_memory_has_dropped_is_read_from_the_table(engine):
    world = EventsWorld(engine[1] / "dropped", engine[0], GapsView(GapLedger(max_gaps=3)))
    common = {"scope": "X:A", "session": "0", "exchange_time_ns": 5}
    for number in range(10):
        span = {"first": 10 * number, "last": 10 * number + 1}
        world.publish([GapOpened(**common, **span, size="small"), GapFilled(**common, **span)])
        if number == 4:
            await world.commit()
    assert world.findings.forgotten == 7
    answer = await world.query.gaps(GapsRequest(limit=4))
    assert [gap.first for gap in answer.gaps] == [0, 10, 20, 30]
    assert (answer.meta.omitted, answer.meta.complete) == (6, True)
    assert [gap.first for gap in await paged(world, GapsRequest(limit=4))] == [
        10 * number for number in range(10)
    ]
    token = Token.decode(answer.meta.token or "")
    world.publish([GapOpened(**common, first=200, last=200, size="small")])
    again = await paged(world, GapsRequest(limit=100, as_of=token))
    assert [gap.state for gap in again] == ["filled"] * 10
    now = Token("topic-1", dict(world.log.ends), 0, 0)
    still_open = await paged(world, GapsRequest(limit=100, states=("open",), as_of=now))
    assert [gap.first for gap in still_open] == [200], "a filled gap is not among the open ones"
    await world.query.close()


async def test_a_gap_may_have_more_late_numbers_than_a_page_has_events(engine, monkeypatch):
    monkeypatch.setattr(gaps_of_the_table, "MAX_PAGE_EVENTS", 50)
    world = EventsWorld(engine[1] / "late", engine[0], GapsView(GapLedger(max_gaps=0)))
    common = {"scope": "X:A", "session": "0"}
    opened = GapOpened(
        **common, first=1, last=1_000, size="large",
        exchange_time_ns=2_000, previous_time_ns=1, next_time_ns=2_000,
    )  # fmt: skip
    # From both sides, and across what is abandoned later.
    numbers = [*range(400, 0, -1), *range(600, 900), 950]
    late = [Late(**common, sequence=one, exchange_time_ns=10 + one) for one in numbers]
    abandoned = GapAbandoned(
        **common, first=900, last=949, gap_first=1, gap_last=1_000,
        reason="age", exchange_time_ns=0,
    )  # fmt: skip
    world.publish([opened, *late[:200]])
    await world.commit()
    world.publish([*late[200:], abandoned])
    memory = folded([[opened, *late, abandoned]])
    for start_ns, end_ns in [(None, None), (100, 300), (420, 500), (905, 950), (2_001, None)]:
        wanted, _ = memory.find(start_ns=start_ns, end_ns=end_ns, limit=10)
        token = Token("topic-1", dict(world.log.ends), 0, 0)
        asked = GapsRequest(start_ns=start_ns, end_ns=end_ns, as_of=token)
        assert await paged(world, asked) == list(wanted)
    (gap,) = memory.find(limit=1)[0]
    assert gap.missing == ((401, 599), (951, 1_000))
    await world.query.close()


async def test_the_rest_of_an_abandoned_gap_may_come_late_in_a_row(engine):
    world = EventsWorld(engine[1] / "rest", engine[0], GapsView(GapLedger(max_gaps=0)))
    common = {"scope": "X:A", "session": "0", "exchange_time_ns": 5}
    whole = {"first": 1, "last": 10}
    part = {"first": 1, "last": 4, "gap_first": 1, "gap_last": 10}
    events = [
        GapOpened(**common, **whole, size="small", previous_time_ns=1, next_time_ns=5),
        GapAbandoned(**common, **part, reason="limit"),
        *(Late(**common, sequence=number) for number in range(5, 11)),
        GapFilled(**common, **whole),
    ]
    world.publish(events)
    wanted, _ = folded([events]).find(limit=10)
    token = Token("topic-1", dict(world.log.ends), 0, 0)
    assert await paged(world, GapsRequest(as_of=token)) == list(wanted)
    assert [(gap.state, gap.missing) for gap in wanted] == [("abandoned", ())]
    await world.query.close()
