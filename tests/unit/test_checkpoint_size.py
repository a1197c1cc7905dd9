"""Checkpoints become smaller where they are slow, and large again where they are quick."""

from hypothesis import given
from hypothesis import strategies as st

from k2_streams.core.load.checkpoint_size import LEAST_RECORDS, CheckpointSize

MOST, LIMIT_S = 65_536, 10.0


def after(*checkpoints: float | None) -> int:
    """The size after checkpoints that took so long; None: it was not committed."""
    size = CheckpointSize(MOST, LIMIT_S)
    for seconds in checkpoints:
        if seconds is None:
            size.failed()
        else:
            size.took(seconds)
    return size.records


def test_it_begins_with_the_largest_and_stays_there_while_all_is_quick():
    assert after() == after(0.1, 0.1) == MOST


def test_what_fails_comes_to_a_size_that_is_committed_in_time():
    """A machine on which a record takes 1 ms: 65,536 of them never end within 10 s."""
    size, failures, committed = CheckpointSize(MOST, LIMIT_S), 0, 0
    while committed < 10:
        seconds = size.records * 0.001
        if seconds > LIMIT_S:
            size.failed()
            failures += 1
        else:
            size.took(seconds)
            committed += 1
    assert failures == 2


def test_it_grows_again_once_the_machine_has_time():
    assert after(*[None] * 9) == LEAST_RECORDS
    assert after(*[None] * 9, *[0.1] * 7) == MOST


def test_what_is_neither_slow_nor_quick_changes_nothing():
    assert after(None, 3.0) == after(None)


@given(st.lists(st.none() | st.floats(0, 20)))
def test_it_stays_within_its_bounds(checkpoints):
    assert LEAST_RECORDS <= after(*checkpoints) <= MOST


def test_a_bound_below_the_least_is_kept():
    size = CheckpointSize(1, LIMIT_S)
    size.failed()
    size.took(0.0)
    assert size.records == 1
