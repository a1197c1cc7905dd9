"""Whatever is put off, drained, committed and lost in a crash: as if nothing had waited."""

import json
from typing import Any

import pytest
from deferral_world import Raw, World  # type: ignore[import-not-found]
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_streams.core.load.degradation import Level
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.kafka.log_reader import Record
from k2_streams.runtime.deferral import record as deferred

BASE_NS = 1_700_000_000_000_000_000


def value(symbol: str, sequence: int, hours: int) -> bytes:
    return json.dumps(
        {
            "exchange": "X",
            "symbol": symbol,
            "price": "1.25",
            "quantity": "3",
            "exchange_time_ns": BASE_NS + hours * 3_600 * 10**9 + sequence,
            "sequence": sequence,
        }
    ).encode()


GOOD = st.builds(
    lambda symbol, sequence, hours: (f"X:{symbol}".encode(), value(symbol, sequence, hours)),
    st.sampled_from("ABCD"),
    st.integers(0, 30),
    st.sampled_from([0, 0, 0, 2]),
)
BAD = st.sampled_from(
    [
        (b"X:B", b"{"),
        (b"X:C", None),
        (None, b"{}"),
        (b"no scope", b"{}"),
        (b"X:C", value("A", 3, 0)),
        (b"X:C", b" " * 300_000),
    ]
)
HEADERS = st.sampled_from(
    [(), (), (), (("feed", b"nobody"),), (("k2.offset", b"7"), ("trace", b"\xff"))]
)


@st.composite
def sources(draw: Any) -> list[Raw]:
    made = draw(st.lists(st.one_of(GOOD, GOOD, GOOD, BAD), min_size=20, max_size=50))
    return [
        # The broker's time is the record's own: two and a half hours from the first to the last.
        Raw(offset, BASE_NS // 10**6 + 250_000 * offset, key, content, draw(HEADERS))
        for offset, (key, content) in enumerate(made)
    ]


LEVELS = [Level.NORMAL, Level.NORMAL, Level.SOFT, Level.GRACEFUL, Level.AGGRESSIVE]
WORK = st.tuples(
    st.just("work"), st.sampled_from([*LEVELS, *Level]), st.integers(1, 8), st.integers(0, 12)
)
STEPS = st.lists(
    st.one_of(
        WORK,
        WORK,
        st.tuples(st.just("drain"), st.integers(1, 8)),
        st.tuples(st.just("commit")),
        st.tuples(st.just("commit")),
        st.tuples(st.just("crash")),
    ),
    min_size=15,
    max_size=40,
)


def to_the_end(world: World) -> None:
    """NORMAL from now on, until all is worked and nothing waits."""
    for _ in range(1_000):
        world.work(Level.NORMAL, 7, 5)
        world.drain(5)
        world.commit()
        if world.position.next_offset == len(world.source) and not world.deferral.backlog.records:
            return
    raise AssertionError("does not end")


def plain(source: list[Raw]) -> dict[str, Any]:
    world = World(source)
    world.work(Level.NORMAL, len(source), len(source))
    world.commit()
    outcome: dict[str, Any] = world.outcome()
    return outcome


def walk(source: list[Raw], steps: list[tuple[Any, ...]]) -> World:
    world = World(source)
    for name, *arguments in steps:
        getattr(world, name)(*arguments)
        if name != "commit":
            continue
        waiting = world.waiting()
        assert world.state.records == len(waiting)
        lowest = min(waiting, default=None)
        assert (lowest is None) == (world.state.from_offset is None)
        assert lowest is None or world.state.from_offset <= lowest
    return world


@settings(max_examples=200, deadline=None)
@given(sources(), STEPS)
def test_verdicts_rows_and_order_are_as_without_deferral(
    source: list[Raw], steps: list[tuple[Any, ...]]
) -> None:
    """Any levels, splits, budgets, drains, checkpoints and crashes, in any order."""

    world = walk(source, steps)
    to_the_end(world)
    assert world.outcome() == plain(source)


@settings(max_examples=100, deadline=None)
@given(sources())
def test_a_record_comes_back_as_it_was_deferred(source: list[Raw]) -> None:
    """Key, value, headers whatever they are called, place and broker's time: the original's."""
    for record in source:
        out = deferred.encode(TRADES_INPUT.deferred, record, 3)
        back = Record(999, out.key, out.value, out.headers, 5)
        assert deferred.decode(back, 3) == record
        assert deferred.decode(back, 2) is None


def test_what_a_stranger_put_there_is_passed_over() -> None:
    """It was never taken from the source, so it is not worked; what waits is not disturbed."""

    source = [Raw(i, BASE_NS // 10**6, b"X:C", value("C", i, 0), ()) for i in range(4)]
    world = World(source)
    world.work(Level.GRACEFUL, 4, 4)
    world.commit()
    forged = deferred.encode(TRADES_INPUT.deferred, source[1], 0)
    other = deferred.encode(TRADES_INPUT.deferred, Raw(0, 0, b"X:D", value("D", 9, 0), ()), 0)
    bare = forged._replace(headers=())
    world.log[1:1] = [bare, other]
    world.log.insert(4, forged)  # once more: drained already by then
    to_the_end(world)
    assert world.outcome() == plain(source)


@pytest.mark.parametrize("level", [Level.NORMAL, Level.SOFT, Level.GRACEFUL])
def test_a_key_whose_records_never_stop_is_handed_over_all_the_same(level: Level) -> None:
    """Each checkpoint's records would else wait behind the ones before, for ever."""

    keys = ["X:B"] if level is Level.GRACEFUL else ["X:B", "X:C"]
    source = [
        Raw(
            i,
            BASE_NS // 10**6,
            keys[i % len(keys)].encode(),
            value(keys[i % len(keys)][2:], i, 0),
            (),
        )
        for i in range(400)
    ]
    world = World(source)
    world.work(Level.AGGRESSIVE, 40, 40)
    world.commit()
    world.work(level, 4, 4)
    held = 0
    while world.deferral.backlog.records:
        assert world.position.next_offset < 200, "never handed over"
        world.drain(100)
        held += world.work(level, 4, 4) == 0
        world.commit()
    assert held, "the source was not held for it"
    assert world.work(level, 4, 4) == 4
    assert not world.epoch.newly_deferred, "and the key is worked again"


def test_what_the_level_puts_off_anyway_does_not_hold_the_source() -> None:
    """Tier 3 at GRACEFUL: its backlog may come and go, tier 1 is not made to wait for it."""

    source = [Raw(i, BASE_NS // 10**6, b"X:C", value("C", i, 0), ()) for i in range(40)]
    world = World(source)
    for _ in range(10):
        world.drain(100)
        assert world.work(Level.GRACEFUL, 4, 4) == 4
        world.commit()
    assert world.deferral.backlog.records
