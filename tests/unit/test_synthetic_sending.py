"""The sending loop keeps its pace, ends when told to, and tells the model what was sent."""

import asyncio

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from k2_streams.testing.load.pace import NoCapacityError, Pace, parse, steady
from k2_streams.testing.load.sending import SLICE, TICK_S, send_all
from k2_streams.testing.oracle.model import Expected


class Chunk:
    """Numbers, as a chunk."""

    def __init__(self, size: int, told: list[int]) -> None:
        self._size = size
        self._told = told

    def __len__(self) -> int:
        return self._size

    def records(self, start, end):
        yield 0, [(b"key", b"%d" % number, []) for number in range(start, end)]

    def tell(self, expected, start, end):
        self._told.append(end - start)


class Stream:
    scale = 0
    total = None

    def __init__(self, *sizes: int) -> None:
        self._sizes = sizes
        self.told: list[int] = []

    def chunks(self):
        for size in self._sizes:
            yield Chunk(size, self.told)


class ToySender:
    """Takes everything, and moves the clock."""

    def __init__(self, clock: "ToyClock", fail_at: int | None = None) -> None:
        self._clock = clock
        self._fail_at = fail_at
        self.values: list[bytes] = []
        self.times: list[float] = []
        self.finished = False

    async def send(self, partition, records, timestamp_ms):
        self.values += [value for _, value, _ in records]
        self.times += [self._clock.monotonic()] * len(records)
        self._clock.now += 0.001
        if self._fail_at is not None and len(self.values) >= self._fail_at:
            raise ConnectionError("gone")

    async def finish(self):
        self.finished = True
        return {}


class ToyClock:
    """Moves when it is moved, and a little whenever it is read."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        self.now += 0.0001
        return self.now

    def time_ns(self) -> int:
        return int(self.now * 1e9)


class ToyStop:
    """Never set; who waits for it lets time pass."""

    def __init__(self, clock: ToyClock) -> None:
        self._clock = clock

    def is_set(self) -> bool:
        return False

    async def wait(self) -> None:
        self._clock.now += TICK_S / 2
        raise TimeoutError


async def sent(
    stream: Stream, pace: Pace, sender: ToySender, clock: ToyClock, stop=None, seen=None
):
    return await send_all(
        stream,
        sender,
        Expected(),
        pace,
        clock=clock,
        stop=stop or asyncio.Event(),
        progress=seen or (lambda _: None),
    )


async def test_everything_is_sent_once_and_in_order():
    clock = ToyClock()
    sender, stream = ToySender(clock), Stream(3 * SLICE + 5, 10)
    outcome = await sent(stream, Pace(), sender, clock)
    numbers = [int(value) for value in sender.values]
    assert numbers == [*range(3 * SLICE + 5), *range(10)]
    assert outcome.handed_over == len(numbers)
    assert stream.told == [3 * SLICE + 5, 10]
    assert sender.finished


async def test_a_rate_is_kept():
    clock = ToyClock()
    sender, began = ToySender(clock), clock.now
    outcome = await sent(Stream(2_000), steady(5_000.0), sender, clock, ToyStop(clock))
    for number, time in enumerate(sender.times):
        assert number <= 5_000 * (time - began), "sent too early"
    assert outcome.rate == pytest.approx(5_000, rel=0.1)


async def test_a_duration_ends_it_and_the_model_knows_what_was_sent():
    clock = ToyClock()
    sender, stream = ToySender(clock), Stream(10**6, 10**6)
    await sent(stream, Pace(duration_s=0.01), sender, clock)
    assert 0 < len(sender.values) < 10**6
    assert stream.told == [len(sender.values)]
    assert sender.finished


async def test_stop_ends_it_in_order():
    clock, stop = ToyClock(), asyncio.Event()
    sender, stream = ToySender(clock), Stream(10**6)
    await sent(stream, Pace(), sender, clock, stop, lambda done: done > 20_000 and stop.set())
    assert 20_000 < len(sender.values) <= 20_000 + SLICE
    assert stream.told == [len(sender.values)]
    assert sender.finished


async def test_a_failure_is_not_swallowed():
    clock = ToyClock()
    sender = ToySender(clock, fail_at=SLICE)
    with pytest.raises(ConnectionError):
        await sent(Stream(10**6), Pace(), sender, clock)
    assert not sender.finished


async def test_steps_and_ramps_are_kept():
    clock = ToyClock()
    sender = ToySender(clock)
    pace = parse("100:1,100..3000:2,0:1,5x:1", 400)
    await sent(Stream(10**6), pace, sender, clock, ToyStop(clock))
    began = sender.times[0]
    for number, time in enumerate(sender.times):
        assert number <= pace.owed(time - began + 2 * TICK_S) + 1, "sent too early"
    assert len(sender.times) == pytest.approx(100 + 3_100 + 2_000, rel=0.02)
    assert not [time for time in sender.times if 3.2 < time - began < 3.9], "a rate of 0 is a pause"


@given(
    st.lists(
        st.tuples(st.floats(0.1, 50), st.floats(0, 1e4), st.floats(0, 1e4)), min_size=1, max_size=5
    ),
    st.floats(0, 300),
)
def test_what_is_owed_is_the_rates_sum(parts, elapsed_s):
    text = ",".join(f"{first}..{last}:{seconds}" for seconds, first, last in parts)
    assume(any(first or last for _, first, last in parts))
    pace = parse(text, None)
    # The midpoint rule is exact for a straight line, and steps jump at their edges alone. What is
    # left is rounding: times up to 300 s are known to 1e-13 s, a jump is at most 1e4 a second.
    exact, began_s = 0.0, 0.0
    for step in pace.steps:
        within_s = min(step.seconds, elapsed_s - began_s)
        if within_s <= 0:
            break
        exact += pace.rate(began_s + within_s / 2) * within_s
        began_s += step.seconds
    assert pace.owed(elapsed_s) == pytest.approx(exact, rel=1e-9, abs=1e-6)
    assert pace.messages == max(1, int(pace.owed(pace.length_s)))


@pytest.mark.parametrize("text", ["x", "-1", "1:0", "1:inf", "1:", "0:5", "1..2", "nan", "1;2", ""])
def test_what_is_no_pace_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 - click's message is the caller's
        parse(text, 100)


def test_a_multiple_needs_a_capacity():
    assert parse("10x", 1_000) == steady(10_000.0)
    with pytest.raises(NoCapacityError):
        parse("10x", None)
    assert parse("0", None) == Pace()
