"""Waiting: until a condition is true, and not for ever."""

import itertools
import time

import pytest

from k2_streams.testing.waiting import StuckError, wait_until


def test_it_returns_when_the_condition_is_true():
    looks = itertools.count()
    before = time.monotonic()
    seen = wait_until(lambda: next(looks) >= 3, "three looks", 10.0, 0.001)
    assert before <= seen <= time.monotonic()
    assert next(looks) == 4


def test_a_deadline_names_what_was_waited_for():
    with pytest.raises(StuckError, match=r"not within 0\.05 s: the moon"):
        wait_until(lambda: False, "the moon", 0.05, 0.001)


def test_what_a_condition_raises_ends_the_wait():
    def broken() -> bool:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        wait_until(broken, "nothing", 10.0)
