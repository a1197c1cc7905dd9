"""The level under random walks of lag and memory: up at once, down one at a time, never a flap."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_streams.core.load.degradation import (
    CALM_LAG,
    CALM_MEMORY,
    TRANSITIONS,
    Degradation,
    LagClock,
    Level,
    Policy,
    Signals,
    called_for,
    defers,
    step,
)

POLICY = Policy()


@st.composite
def walks(draw: Any) -> list[tuple[float, Signals]]:
    """Steps of time with signals that wander, jump, and stay near the triggers."""
    moves = draw(
        st.lists(
            st.tuples(
                st.sampled_from([0.1, 1.0, 1.0, 7.0, 29.0, 31.0]),
                st.sampled_from([0.0, 0.4, 0.5, 0.6, 0.99, 1.0, 1.01, 2.0, 5.0]),
                st.sampled_from(list(POLICY.triggers)[:3]),
                st.floats(0.5, 1.0),
                st.one_of(st.none(), st.floats(0, 60)),
                st.integers(0, 40).map(lambda n: n == 0),
            ),
            min_size=1,
            max_size=60,
        )
    )
    now_s, walk = 0.0, []
    for elapsed_s, share, level, memory, lag_s, full in moves:
        now_s += elapsed_s
        lag = int((POLICY.triggers[level].lag_records or 0) * share)
        walk.append((now_s, Signals(lag, lag_s, memory, full)))
    return walk


@settings(max_examples=300, deadline=None)
@given(walks())
def test_every_walk_keeps_the_rules(walk: list[tuple[float, Signals]]) -> None:
    """Up at once; down by one, only when calm and rested; every change is in the table."""
    state = Degradation(Level.NORMAL, 0.0)
    changed_s = 0.0
    for now_s, signals in walk:
        before, state = state, step(state, signals, now_s, POLICY)
        wanted = called_for(signals, POLICY)
        assert state.level >= wanted
        if state.level == before.level:
            assert state is before
            continue
        assert state.level in TRANSITIONS[before.level]
        assert state.since_s == now_s
        if state.level > before.level:
            assert state.level == wanted
        else:
            assert state.level == before.level - 1
            assert now_s - changed_s >= POLICY.cool_down_s
            trigger = POLICY.triggers[before.level]
            assert trigger.lag_records is None or (
                signals.lag_records < CALM_LAG * trigger.lag_records
            )
            assert signals.memory_share < CALM_MEMORY * trigger.memory_share
            assert not signals.downstream_full
        changed_s = now_s


@settings(max_examples=100, deadline=None)
@given(walks())
def test_when_all_is_calm_the_way_back_ends_at_normal(walk: list[tuple[float, Signals]]) -> None:
    """From wherever a walk ended: one level a cool-down, down to NORMAL, and it stays there."""
    state = Degradation(Level.NORMAL, 0.0)
    for now_s, signals in walk:
        state = step(state, signals, now_s, POLICY)
    now_s = max(walk[-1][0], state.since_s)
    seen = [state.level]
    while state.level is not Level.NORMAL:
        now_s += POLICY.cool_down_s + 1e-6
        state = step(state, Signals(), now_s, POLICY)
        seen.append(state.level)
    assert seen == sorted(seen, reverse=True)
    assert seen == [Level(n) for n in range(seen[0], -1, -1)]
    assert step(state, Signals(), now_s + 1e6, POLICY) is state


@given(st.integers(0, 10**9), st.one_of(st.none(), st.floats(0, 1e9)))
def test_lag_alone_never_breaks_the_circuit(lag_records: int, lag_s: float | None) -> None:
    """A paused source cannot shrink its lag: the worker would never come back."""
    assert called_for(Signals(lag_records, lag_s), POLICY) <= Level.AGGRESSIVE
    assert called_for(Signals(memory_share=0.95), POLICY) is Level.CIRCUIT_BREAK
    assert called_for(Signals(downstream_full=True), POLICY) is Level.CIRCUIT_BREAK


def test_the_table_lists_every_transition_and_no_other_is_made() -> None:
    """Ten ways up, four down; none of two levels down."""
    pairs = {(level, other) for level, others in TRANSITIONS.items() for other in others}
    assert len(pairs) == 14
    assert all(other > level or other == level - 1 for level, other in pairs)


@pytest.mark.parametrize(
    ("signals", "level"),
    [
        (Signals(99_999), Level.NORMAL),
        (Signals(100_000), Level.SOFT),
        (Signals(500_000), Level.GRACEFUL),
        (Signals(1_000_000), Level.AGGRESSIVE),
        (Signals(10**12), Level.AGGRESSIVE),
        (Signals(lag_s=5.0), Level.SOFT),
        (Signals(lag_s=10.0), Level.GRACEFUL),
        (Signals(lag_s=math.inf), Level.AGGRESSIVE),
        (Signals(memory_share=0.70), Level.SOFT),
        (Signals(memory_share=0.80), Level.GRACEFUL),
        (Signals(memory_share=0.90), Level.AGGRESSIVE),
        (Signals(memory_share=0.949), Level.AGGRESSIVE),
        (Signals(memory_share=0.95), Level.CIRCUIT_BREAK),
    ],
)
def test_what_calls_for_which_level(signals: Signals, level: Level) -> None:
    """The default triggers, at their edges."""
    assert called_for(signals, POLICY) is level


def test_triggers_in_records_scale_with_a_capped_capacity() -> None:
    """2,000 records a second instead of 100,000: a fiftieth."""
    scaled = POLICY.scaled(2_000)
    lags = [scaled.triggers[level].lag_records for level in list(Level)[1:]]
    assert lags == [2_000, 10_000, 20_000, None]
    assert scaled.triggers[Level.SOFT].lag_s == POLICY.triggers[Level.SOFT].lag_s
    assert POLICY.scaled(None) is POLICY


def test_what_each_level_puts_off() -> None:
    """Tier 1 never waits."""
    deferred = {level: [tier for tier in (1, 2, 3) if defers(level, tier)] for level in Level}
    assert deferred == {
        Level.NORMAL: [],
        Level.SOFT: [],
        Level.GRACEFUL: [3],
        Level.AGGRESSIVE: [2, 3],
        Level.CIRCUIT_BREAK: [2, 3],
    }


def test_lag_in_seconds_is_what_waits_over_the_rate_while_there_was_work() -> None:
    """An idle worker's first records are no overload; a standstill is."""
    clock = LagClock(floor_records=100)
    assert clock.measure(50, 0, 0.0) is None
    assert clock.measure(5_000, 0, 1.0) is None  # work has just come
    assert clock.measure(4_000, 400, 5.0) is None
    assert clock.measure(3_000, 1_000, 6.0) == pytest.approx(15.0)  # 1,000 in 5 s
    assert clock.measure(3_000, 11_000, 16.0) == pytest.approx(3.0)  # 10,000 in the last 10 s
    assert clock.measure(50, 12_000, 17.0) is None  # and it begins anew
    assert clock.measure(5_000, 12_000, 18.0) is None
    assert clock.measure(5_000, 12_000, 24.0) == math.inf
