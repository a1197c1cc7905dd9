"""The guard of the lake: what counts as away, who is let through, and what is not called."""

import asyncio

import pytest

from k2_streams.core.load.circuit_breaker import BreakerPolicy, BreakerState
from k2_streams.lake.breaker import BreakerOpenError, Guard
from k2_streams.lake.errors import LakeConfigError, LakeUnavailableError

POLICY = BreakerPolicy(failures=2, open_s=10.0, successes=2)


class HandClock:
    def __init__(self):
        self.now_s = 100.0

    def time_ns(self):
        return int(self.now_s * 1e9)

    def monotonic(self):
        return self.now_s


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def seen():
    return []


@pytest.fixture
def guard(clock, seen):
    return Guard(POLICY, clock, on_change=lambda state: seen.append(state.value))


async def there():
    return "there"


async def away():
    raise LakeUnavailableError("away")


async def refuses():
    raise LakeConfigError("another table")


async def fails(guard, times=1):
    for _ in range(times):
        with pytest.raises(LakeUnavailableError):
            await guard.call(away)


async def test_a_lake_that_is_away_again_and_again_is_left_alone_and_tried_later(
    guard, clock, seen
):
    await fails(guard, 2)
    calls = []
    with pytest.raises(BreakerOpenError) as refused:
        await guard.call(lambda: calls.append(1) or there())
    assert (refused.value.retry_after_s, calls) == (10.0, [])
    clock.now_s += 10
    assert await guard.call(there) == "there"
    assert guard.state is BreakerState.HALF_OPEN
    await guard.call(there)
    assert seen == ["open", "half-open", "closed"]


async def test_a_trial_that_fails_opens_it_for_the_whole_time_again(guard, clock, seen):
    await fails(guard, 2)
    clock.now_s += 10
    await fails(guard)
    assert (guard.state, guard.retry_after_s) == (BreakerState.OPEN, 10.0)
    assert seen == ["open", "half-open", "open"]


async def test_a_lake_that_refuses_is_there(guard):
    await fails(guard)
    with pytest.raises(LakeConfigError):
        await guard.call(refuses)
    await fails(guard)
    assert guard.state is BreakerState.CLOSED


async def test_one_trial_at_a_time(guard, clock):
    await fails(guard, 2)
    clock.now_s += 10
    done = asyncio.Event()
    trial = asyncio.create_task(guard.call(done.wait))
    await asyncio.sleep(0)
    with pytest.raises(BreakerOpenError):
        await guard.call(there)
    done.set()
    await trial
    await guard.call(there)
    assert guard.state is BreakerState.CLOSED


async def test_a_trial_that_its_caller_gives_up_lets_the_next_one_through(guard, clock):
    await fails(guard, 2)
    clock.now_s += 10
    trial = asyncio.create_task(guard.call(asyncio.Event().wait))
    await asyncio.sleep(0)
    trial.cancel()
    await asyncio.wait([trial])
    assert await guard.call(there) == "there"


async def test_a_late_failure_of_a_call_from_before_does_not_open_it_again(guard, clock):
    go = asyncio.Event()

    async def late():
        await go.wait()
        raise LakeUnavailableError("late")

    old = asyncio.create_task(guard.call(late))
    await asyncio.sleep(0)
    await fails(guard, 2)
    clock.now_s += 10
    await guard.call(there)
    go.set()
    with pytest.raises(LakeUnavailableError):
        await old
    await guard.call(there)
    assert guard.state is BreakerState.CLOSED
