"""The interval between checkpoints follows what they take, within bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2_streams.core.load.checkpoint_pace import (
    INTERVALS_PER_CHECKPOINT,
    CheckpointPace,
    PaceBounds,
)

BOUNDS = PaceBounds(shortest_s=0.05, longest_s=0.3)
SECONDS = st.floats(0, 20)


def after(*seconds, is_behind=False):
    pace = CheckpointPace(BOUNDS)
    for each in seconds:
        pace.took(each)
    return pace.interval_s(is_behind=is_behind)


def test_it_begins_with_the_shortest():
    assert after() == BOUNDS.shortest_s


def test_quick_checkpoints_follow_each_other_soon_and_slow_ones_do_not():
    assert after(*[0.01] * 50) == BOUNDS.shortest_s
    assert after(*[0.06] * 50) == pytest.approx(0.06 * INTERVALS_PER_CHECKPOINT)
    assert after(*[2.0] * 50) == BOUNDS.longest_s


def test_a_task_that_is_behind_waits_longest():
    assert after(*[0.01] * 50, is_behind=True) == BOUNDS.longest_s


def test_one_slow_checkpoint_is_forgotten():
    assert after(*[0.01] * 50, 1.0) > 2 * BOUNDS.shortest_s
    assert after(*[0.01] * 50, 1.0, *[0.01] * 20) == BOUNDS.shortest_s


@given(st.lists(SECONDS, max_size=30), st.booleans())
def test_it_is_always_within_its_bounds(seconds, is_behind):
    assert BOUNDS.shortest_s <= after(*seconds, is_behind=is_behind) <= BOUNDS.longest_s


@given(st.lists(SECONDS, max_size=30), SECONDS)
def test_a_slower_checkpoint_never_shortens_it(seconds, slower):
    quicker = [*seconds, slower / 2]
    assert after(*quicker) <= after(*seconds, slower)


def test_with_equal_bounds_it_is_constant():
    pace = CheckpointPace(PaceBounds(0.15, 0.15))
    pace.took(3.0)
    assert {pace.interval_s(is_behind=behind) for behind in (True, False)} == {0.15}
