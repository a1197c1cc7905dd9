"""The broker's time while nothing comes: never later than a record to come, however late we ask."""

from collections.abc import Mapping
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from k2_streams.kafka.log_reader import Chunk, Record
from k2_streams.runtime.task import idle
from k2_streams.runtime.task.idle import AGAIN_S, SLACK_MS, IdleTime

PLACE = ("k2.trades.raw", 0)


class Clock:
    """A time that only grows."""

    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def time_ns(self) -> int:
        raise AssertionError("two calendars are never compared")


def broker(monkeypatch, end: int, chunks: Mapping[int, list[Chunk]] | None = None) -> None:
    """One whose log ends here, and that gives these chunks, poll by poll, to who reads on."""

    async def end_offsets(_config, places):
        return dict.fromkeys(places, end)

    class Reader:
        def __init__(self, _config) -> None:
            self.at, self.polls = 0, 0

        async def __aenter__(self):
            return self

        async def __aexit__(self, *_):
            return None

        def assign(self, positions) -> None:
            self.at = positions[PLACE]

        async def poll(self):
            found = (chunks or {}).get(self.polls, [])
            self.polls += 1
            for chunk in found:
                self.at = chunk.end
            return found

        def position(self, *_):
            return self.at

    monkeypatch.setattr(idle, "end_offsets", end_offsets)
    monkeypatch.setattr(idle, "LogReader", Reader)


def chunk(start: int, end: int, records: int = 0) -> Chunk:
    made = tuple(Record(start + n, None, None, (), 0) for n in range(records))
    return Chunk(*PLACE, start, end, made)


@given(
    append_ms=st.integers(10**12, 2 * 10**12),
    transit_s=st.floats(0, 50),
    passed_s=st.floats(0, 10**6),
)
async def test_no_record_to_come_is_older(append_ms, transit_s, passed_s):
    """The broker's clock runs on from the append; the record is received some time behind it."""
    clock = Clock()
    time = IdleTime(clock, append_ms)
    clock.now_s += passed_s
    now_at_the_broker_ms = append_ms + (transit_s + passed_s) * 1000
    original = idle._ends_at
    idle._ends_at = _nothing_more
    try:
        found = await time.ask(SimpleNamespace(), PLACE, 7)
    finally:
        idle._ends_at = original
    assert found is not None
    assert found <= now_at_the_broker_ms
    assert found >= append_ms + passed_s * 999 - SLACK_MS - 1


async def _nothing_more(_config, _place, _position):
    return True


def test_it_is_asked_when_the_deadline_has_passed_for_certain():
    clock = Clock()
    time = IdleTime(clock, 1_000)
    assert time.wait_s(None) is None
    wait_s = time.wait_s(61_000)
    assert 62 <= wait_s <= 62.1
    clock.now_s += 70
    assert time.wait_s(61_000) == 0
    time.received(50_000)
    assert 13 <= time.wait_s(61_000) <= 13.1


async def test_what_has_come_meanwhile_decides_instead(monkeypatch):
    """A record that was not read, also behind a marker, or one of an open transaction."""
    clock = Clock()
    time = IdleTime(clock, 1_000)
    clock.now_s += 100
    for end, chunks, idle_there in (
        (7, None, True),
        (9, {0: [chunk(7, 9)]}, True),  # markers alone
        (9, {0: [], 1: [chunk(7, 9)]}, True),
        (9, {0: [chunk(7, 9, records=1)]}, False),
        (9, {0: [chunk(7, 8)], 1: [chunk(8, 9, records=1)]}, False),
        (9, None, False),  # an open transaction: nothing is given, and it is not the end
        (5, None, False),  # a log that ends before what was read: not the one we know
    ):
        broker(monkeypatch, end, chunks)
        found = await time.ask(SimpleNamespace(), PLACE, 7)
        assert (found is not None) == idle_there, (end, chunks)
        assert time.wait_s(2_000) == AGAIN_S


def test_a_record_without_a_time_counts_with_that_of_the_one_before():
    """One that its producer dated, before the topic was set right: time must not stand still."""
    clock = Clock()
    time = IdleTime(clock, 1_000_000)
    clock.now_s += 10
    time.received(0)
    asked_in_s = time.wait_s(1_030_000)
    assert asked_in_s is not None
    assert 30 < asked_in_s < 40
