"""Admission by expected time, and fair shares of a budget: rules of counts, without a clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2_streams.core.load.admission import HEAVY_UNITS, Lane, Refused, is_heavy, units_of
from k2_streams.core.load.fair_shares import CALLER_SHARE, LARGE_SHARE, FairShares

PATIENCE_S = 10.0


def lane(slots=1, max_waiting=100, unit_s=0.01):
    return Lane(slots, patience_s=PATIENCE_S, max_waiting=max_waiting, unit_s=unit_s)


def test_what_would_wait_in_vain_is_refused_at_once():
    one = lane()
    assert one.offer("a", 400, 0.0) is True  # 4 s
    assert one.offer("b", 400, 0.0) is False  # begins at 4 s
    assert one.offer("c", 400, 0.0) is False  # at 8 s
    refused = one.offer("d", 400, 0.0)  # at 12 s
    assert refused == Refused(12.0, 2.0)
    assert one.offer("d", 400, 2.0) is False, "and admitted when it was told to come back"


def test_the_one_with_the_least_work_goes_first():
    one = lane()
    one.offer("a", 100, 0.0)
    for key, units in (("b", 300), ("c", 100), ("d", 200), ("e", 100)):
        assert one.offer(key, units, 0.0) is False
    order = []
    following = one.leave("a", 1.0)
    while following is not None:
        order.append(following)
        following = one.leave(following, 1.0, learn=False)
    assert order == ["c", "e", "d", "b"]


def test_a_small_one_does_not_wait_for_larger_ones_before_it():
    one = lane()
    one.offer("a", 100, 0.0)
    for n in range(3):
        one.offer(n, 400, 0.0)
    assert isinstance(one.offer("heavy", 400, 0.0), Refused)
    assert one.offer("small", 10, 0.0) is False


def test_what_work_takes_is_learned():
    one = lane(unit_s=0.001)
    for n in range(30):
        one.offer(n, 100, n * 10.0)
        one.leave(n, n * 10.0 + 5.0)
    assert one.unit_s == pytest.approx(0.05, rel=0.01)
    one.offer("cut", 100, 1_000.0)
    one.leave("cut", 9_000.0, learn=False)
    assert one.unit_s == pytest.approx(0.05, rel=0.01), "not from one that was cut off"


@given(
    st.lists(st.tuples(st.integers(200, 200_000), st.booleans(), st.floats(0, 3)), max_size=60),
    st.integers(1, 3),
)
def test_slots_and_queue_are_bounded_and_nobody_is_lost(steps, slots):
    one = lane(slots, max_waiting=5, unit_s=1e-5)
    now_s, running, waiting = 0.0, [], set()
    for key, (units, leaves, passed_s) in enumerate(steps):
        now_s += passed_s
        if leaves and running:
            following = one.leave(running.pop(0), now_s)
            if following is not None:
                waiting.remove(following)
                running.append(following)
        found = one.offer(key, units, now_s)
        if found is True:
            running.append(key)
        elif found is False:
            waiting.add(key)
        else:
            assert found.wait_s > PATIENCE_S or len(waiting) == 5
            assert found.retry_after_s >= 1
        assert (one.running, one.waiting) == (len(running), len(waiting))
        assert len(running) <= slots
        assert len(waiting) <= 5
        assert not waiting or len(running) == slots, "nobody waits beside a free slot"


def test_heavy_is_told_by_the_work_alone():
    assert is_heavy(units_of(100_000, 1_000_000))
    assert is_heavy(units_of(10, 100 * HEAVY_UNITS)), "much to look at"
    assert not is_heavy(units_of(1_000, 1_000_000))
    assert not is_heavy(units_of(100_000, 10)), "there is little to answer"


amounts = st.integers(1, 900)


@given(st.lists(st.tuples(st.sampled_from("abc"), amounts, st.booleans()), max_size=60))
def test_shares_are_bounded_and_what_is_given_back_is_free(steps):
    shares = FairShares(1_000, small=50)
    held = []
    for caller, amount, gives_back in steps:
        if gives_back and held:
            shares.give_back(*held.pop(0))
        elif shares.take(caller, amount):
            held.append((caller, amount))
        assert shares.held == sum(size for _, size in held)
        large = [(who, size) for who, size in held if size > 50]
        assert len(large) <= 1 or sum(size for _, size in large) <= 1_000 * LARGE_SHARE
        for who in "abc":
            own = [size for other, size in large if other == who]
            assert len(own) <= 1 or sum(own) <= 1_000 * CALLER_SHARE
    for each in held:
        shares.give_back(*each)
    assert shares.held == 0
    assert shares.take("d", 5_000), "one is possible, whatever its size"


def test_small_amounts_pass_large_ones_and_callers_share():
    shares = FairShares(1_000, small=50)
    while shares.take("greedy", 100):
        pass
    assert shares.held == 500
    assert shares.take("other", 100)
    for _ in range(4):
        assert shares.take("greedy", 50)


def test_an_amount_that_turns_out_smaller_makes_room():
    shares = FairShares(1_000, small=50)
    assert shares.take("a", 500)
    assert not shares.take("a", 100)
    shares.shrink("a", 500, 60)
    assert shares.held == 60
    assert shares.take("a", 100)
    shares.give_back("a", 60)
    shares.give_back("a", 100)
    assert shares.held == 0
