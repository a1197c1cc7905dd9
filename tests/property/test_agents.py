"""An agent gives the same outputs, table and timers for any split of its input."""

from typing import Any

import numpy as np
import pytest
from agent_world import (  # type: ignore[import-not-found]
    POISON,
    TOTALS,
    MemoryRows,
    Model,
    Row,
    World,
    batch_of,
    totals,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from k2_streams.topology.context import Context
from k2_streams.topology.declarations import OnError
from k2_streams.topology.errors import AgentFailedError, AgentStoppedError, StateReadError

AMOUNTS = [1, 2, 3, 3, 4, 5, 6, 6, 9, 12, 15]


def rows_of(amounts: list[int]) -> st.SearchStrategy[list[Row]]:
    row = st.builds(Row, st.sampled_from("AB"), st.integers(0, 200), st.sampled_from(amounts))
    return st.lists(row, min_size=1, max_size=30)


def by_model(rows: list[Row]) -> dict[str, Any]:
    model = Model()
    for number, row in enumerate(rows):
        model.process(number, row)
    return vars(model)


def by_engine(rows: list[Row], cuts: set[int], restarts: set[int]) -> dict[str, Any]:
    world, start = World(), 0
    for end in sorted({*cuts, *restarts, len(rows)} - {0}):
        world.process(rows[start:end])
        if end in restarts:
            world.restart()
        start = end
    return world.state()


@settings(max_examples=200, deadline=None)
@given(rows_of(AMOUNTS), st.data())
@example([Row("A", 100, 3), Row("A", 90, 4), Row("A", 101, 9), Row("B", 5, 3)], None)
@example([Row("A", 10, 12), Row("A", 75, 15), Row("A", 80, 1), Row("A", 300, 1)], None)
def test_any_split_gives_what_row_by_row_gives(rows: list[Row], data: Any) -> None:
    """Timers in the past, at a row's own time, replaced and deleted within a batch; restarts."""
    offsets = st.sets(st.integers(1, len(rows)))
    expected = by_model(rows)
    assert by_engine(rows, set(), set()) == expected
    assert by_engine(rows, set(range(len(rows))), set()) == expected
    if data is not None:
        assert by_engine(rows, data.draw(offsets), data.draw(offsets)) == expected


@settings(max_examples=200, deadline=None)
@given(rows_of([*AMOUNTS, POISON, POISON]), st.data())
def test_a_failing_row_is_a_dead_letter_and_leaves_nothing(rows: list[Row], data: Any) -> None:
    """The others come out as if it had only moved the watermark."""
    cuts = data.draw(st.sets(st.integers(1, len(rows))))
    expected = by_model(rows)
    assert by_engine(rows, cuts, set()) == expected


#: Sets a timer at 31.
GOOD, BAD = Row("A", 1, 9), Row("A", 2, POISON)


def test_a_failing_call_leaves_nothing() -> None:
    """Neither in the table nor in the timers, and nothing is emitted."""
    world = World()
    with pytest.raises(AgentFailedError, match="agent totals, rows 0 to 1: ValueError: poison"):
        world.runner.process(batch_of([GOOD, BAD]), np.zeros(2, np.int64))
    assert world.state()["totals"] == world.state()["timers"] == {}
    assert world.runner.pending_timers == 0
    world.process([GOOD])
    assert world.state()["totals"] == {"A": 9}


def test_a_value_that_a_failing_call_has_changed_is_read_as_it_was() -> None:
    """Each call gets an object of its own."""
    world = World()
    world.process([GOOD])
    with pytest.raises(AgentFailedError):
        world.runner.process(batch_of([BAD]), np.zeros(1, np.int64))
    world.process([Row("A", 3, 1)])
    assert world.state()["totals"] == {"A": 10}


def test_the_policy_stop_passes_no_row() -> None:
    """What is in front of the row at fault is processed, and nothing behind it."""
    world = World(OnError.STOP)
    with pytest.raises(AgentStoppedError, match="agent totals: ValueError: poison") as stopped:
        world.process([GOOD, BAD, Row("B", 3, 4)])
    assert stopped.value.agent == "totals"
    assert world.state()["totals"] == {"A": 9}
    assert world.effects.dead == []


def test_what_passes_when_it_is_tried_again_is_no_dead_letter() -> None:
    """A row that is left alone gets one more try."""
    tries = []

    def flaky(batch: Any, ctx: Context) -> None:
        tries.append(batch.num_rows)
        if len(tries) <= 2:
            raise OSError("short of memory")
        totals(batch, ctx)

    world = World(function=flaky)
    world.process([GOOD, Row("B", 2, 4)])
    assert world.state()["totals"] == {"A": 9, "B": 4}
    assert world.effects.dead == []
    assert tries == [2, 1, 1, 1]


def test_a_store_that_cannot_be_read_is_no_rows_fault() -> None:
    """However `on_error` says: the task is over, and its successor reads it again."""

    class Broken(MemoryRows):
        def get(self, key: str) -> bytes | None:
            raise OSError("disk")

    world = World()
    world.table = Broken()
    world.restart()
    with pytest.raises(StateReadError, match="table totals, key 'A': disk"):
        world.process([GOOD])


def test_a_timer_that_fails_stops_the_partition_whatever_the_policy() -> None:
    """There is no row that could be a dead letter."""

    def failing(_key: str, _time_ns: int, _ctx: Context) -> None:
        raise KeyError("timer")

    world = World(on_timer=failing)
    world.process([GOOD])
    with pytest.raises(AgentStoppedError, match="KeyError"):
        world.process([Row("B", 500, 1)])


def test_timers_in_the_past_have_a_limit() -> None:
    """An agent that sets one whenever one fires never comes to the row."""

    def again(key: str, time_ns: int, ctx: Context) -> None:
        ctx.timers.set(key, time_ns)

    world = World(on_timer=again, max_timers_per_row=50)
    world.process([GOOD])
    with pytest.raises(AgentStoppedError, match="more than 50 timers set and due in front of one"):
        world.process([Row("B", 500, 1)])


def test_what_an_agent_does_not_declare_it_does_not_get() -> None:
    """With what to change."""

    def reaches_out(_batch: Any, ctx: Context) -> None:
        ctx.table(TOTALS)

    world = World()
    world.agent = type(world.agent)("other", world.agent.source, reaches_out)
    world.restart()
    with pytest.raises(AgentStoppedError, match="add it to tables="):
        world.process([GOOD])
