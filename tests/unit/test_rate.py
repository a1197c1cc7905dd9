"""The cap on records a second."""

import random

import pytest

from k2_streams.core.load.rate import TokenBucket


def test_over_any_time_no_more_than_the_rate_and_one_bucket() -> None:
    """Whoever asks, however often: at most the rate times the time, and what was saved."""
    rng, bucket, now_s, given = random.Random(3), TokenBucket(1_000, 0.0), 0.0, 0
    for _ in range(5_000):
        now_s += rng.choice([0.0, 0.0001, 0.01, 0.3])
        given += bucket.take(rng.randrange(200), now_s, share=rng.choice([1.0, 0.25]))
        assert given <= 1_000 * now_s + 100 + 1e-6


def test_a_steady_asker_gets_the_whole_rate() -> None:
    """Nothing is lost to rounding."""
    bucket = TokenBucket(777, 0.0)
    given = sum(bucket.take(10_000, number / 100) for number in range(1, 1_001))
    assert given == pytest.approx(777 * 10, abs=80)


def test_a_reserve_is_left_for_the_first() -> None:
    """The second one takes what lies above it, whole or not at all."""
    bucket = TokenBucket(1_000, 0.0)  # of 100
    assert bucket.take(1_000, 0.0, share=0.25, reserve=0.5) == 25
    assert bucket.take(1_000, 0.0, share=0.25, reserve=0.5) == 25
    assert bucket.take(1_000, 0.0, share=0.25, reserve=0.5) == 0
    assert bucket.take(1_000, 0.0, share=0.25) == 25
    bucket.give_back(10)
    assert bucket.take(1_000, 0.0) == 0, "a few at a time are not given"
    assert bucket.take(35, 0.0) == 35
    assert bucket.take(1, 0.0) == 0


def test_a_rate_below_one_bucket_still_gives() -> None:
    """One record a second is one a second."""
    bucket = TokenBucket(1, 0.0)
    assert [bucket.take(5, float(second), share=0.25) for second in range(1, 4)] == [1, 1, 1]
