"""The token bucket: never more than the rate, never less, in bounded memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2_streams.web.http.rate_limit import RateLimiter


def test_a_second_of_requests_passes_and_the_next_one_waits():
    limiter = RateLimiter(60)
    assert [limiter.take("a", 10.0) for _ in range(61)] == [0] * 60 + [1]
    assert limiter.take("a", 10.0 + 1 / 60) == 0
    assert limiter.take("a", 10.0 + 1 / 60) == 1


def test_callers_do_not_share():
    limiter = RateLimiter(1)
    assert limiter.take("a", 0.0) == 0
    assert limiter.take("a", 0.0) == 1
    assert limiter.take("b", 0.0) == 0


def test_retry_after_is_long_enough():
    limiter = RateLimiter(0.1)
    assert limiter.take("a", 0.0) == 0
    wait_s = limiter.take("a", 0.0)
    assert wait_s == 10
    assert limiter.take("a", wait_s - 0.01) == 1
    assert limiter.take("a", wait_s) == 0


@given(st.lists(st.floats(0, 5), max_size=300), st.integers(1, 40))
def test_no_span_of_time_lets_more_through_than_the_rate(times, rate):
    limiter = RateLimiter(rate)
    passed = [now for now in sorted(times) if limiter.take("a", now) == 0]
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            span_s = passed[last] - passed[first]
            assert last - first + 1 <= rate + span_s * rate + 1e-6


def test_a_clock_that_stands_or_goes_back_gives_nothing_away():
    limiter = RateLimiter(1)
    assert limiter.take("a", 5.0) == 0
    assert limiter.take("a", 1.0) == 1


def test_the_one_idle_longest_is_forgotten():
    limiter = RateLimiter(1, max_callers=2)
    for caller in ("a", "b", "a", "c"):
        limiter.take(caller, 0.0)
    assert len(limiter) == 2
    assert limiter.take("a", 0.0) == 1
    assert limiter.take("b", 0.0) == 0


@pytest.mark.parametrize(("rate", "callers"), [(0, 1), (-1, 1), (1, 0)])
def test_a_rate_or_bound_of_nothing_is_refused(rate, callers):
    with pytest.raises(ValueError, match="above 0"):
        RateLimiter(rate, callers)
