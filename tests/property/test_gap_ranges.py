"""`complete` is false exactly if a missing number can lie in the range that was asked for.

A model remembers the event time of every number received. A missing number was traded between the
times of the nearest numbers received below and above it.
"""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st
from sequence_inputs import HORIZON_MS, messages, rules

from k2_streams.core.lines.step import HOLD_MS, Arrival, release
from k2_streams.core.lines.step import step as step_lined
from k2_streams.core.records.events import AnyEvent
from k2_streams.core.sequence.sessions import SessionRule
from k2_streams.core.sequence.step import ACCEPTED, ScopeMessage, ScopeState, Verdict, step
from k2_streams.query.gaps import GapsView

SCOPE, START_NS = "X:A", 1_700_000_000_000_000_000


@dataclass
class Times:
    """The event time of every number received, by session; 0: it has none."""

    sessions: dict[tuple[str, str], dict[int, int]] = field(default_factory=dict)
    conflicts: list[tuple[str, int]] = field(default_factory=list)  # of numbers used twice

    def receive(self, scope: str, session: str, number: int, time_ns: int) -> None:
        self.sessions.setdefault((scope, session), {})[number] = max(time_ns, 0)

    def intervals(self) -> list[tuple[str, int, int]]:
        """Scope, and earliest and latest time, of each missing number; times must all be known.

        What is no row because its number was used twice is missing as well, at its time.
        """
        found = [(scope, time_ns, time_ns) for scope, time_ns in self.conflicts]
        for (scope, _), received in self.sessions.items():
            for number in range(min(received), max(received)):
                if number in received:
                    continue
                below = received[max(one for one in received if one < number)]
                above = received[min(one for one in received if one > number)]
                found.append((scope, min(below, above), max(below, above)))
        return found

    def edges(self) -> list[int]:
        """Times at, below and above each message's."""
        times = {time for received in self.sessions.values() for time in received.values() if time}
        times |= {time for _, time in self.conflicts}
        return sorted({time + off for time in times for off in (-1, 0, 1)})


def told(events: list[AnyEvent]) -> GapsView:
    """A node that has read these events."""
    view = GapsView()
    for position, one in enumerate(events, 1):
        view.apply(one, 0, position)
    return view


def ask(draw: Any, edges: list[int]) -> tuple[int | None, int | None]:
    """A range that begins and ends at, below or above a message, or is open."""
    start = draw(st.sampled_from([None, *edges]))
    end = draw(st.sampled_from([None, *[one for one in edges if start is None or one > start]]))
    return start, end


def lies_in(low: int, high: int, start: int | None, end: int | None) -> bool:
    """Whether a time of [low, high] is one of [start, end)."""
    return any(
        (start is None or start <= time) and (end is None or time < end)
        for time in {low, high, *([start] if start is not None and low <= start <= high else [])}
    )


def received(stream: list[ScopeMessage], rule: SessionRule) -> tuple[Times, GapsView]:
    """A stream through `step`: what was received, and what a node knows then."""
    times, events, states = Times(), [], {}
    for message in stream:
        after = step(states.get(message.scope), message, rule, HORIZON_MS)
        states[message.scope] = after.state
        events += after.events
        if message.sequence is not None and after.verdict in ACCEPTED:
            times.receive(message.scope, after.session_id, message.sequence, message.event_time_ns)
        if after.verdict is Verdict.CONFLICTING:
            times.conflicts.append((message.scope, message.event_time_ns))
    return times, told(events)


@settings(max_examples=300, deadline=None)
@given(messages(huge=False), rules, st.data())
def test_a_range_is_complete_exactly_if_no_missing_number_can_lie_in_it(stream, rule, data):
    """Inside, across and at the edges of gaps that are open, filled in part, or abandoned."""
    stream = [one for one in stream if one.event_time_ns > 0]
    times, view = received(stream, rule)
    intervals, edges = times.intervals(), times.edges()
    for _ in range(12):
        start, end = ask(data.draw, edges)
        for scope in {one.scope for one in stream}:
            can = any(lies_in(low, high, start, end) for of, low, high in intervals if of == scope)
            exchange, _, symbol = scope.partition(":")
            lacks = view.lacks(symbols=(symbol,), exchanges=(exchange,), start_ns=start, end_ns=end)
            assert lacks == can
            event(f"lacks: {lacks}, of {bool(intervals)}")
            gaps, _ = view.find(
                symbols=(symbol,), exchanges=(exchange,), start_ns=start, end_ns=end, limit=1000
            )
            used_twice = any(of == scope for of, _ in times.conflicts)
            assert not can or used_twice or any(gap.state != "filled" for gap in gaps), "and listed"


@settings(max_examples=150, deadline=None)
@given(messages(huge=False), rules, st.data())
def test_a_time_that_is_not_known_makes_no_range_complete(stream, rule, data):
    """Where messages have no time, whatever may lie in a range makes it incomplete."""
    times, view = received(stream, rule)
    for (scope, session), numbers in list(times.sessions.items()):
        known = {number: time for number, time in numbers.items() if time}
        for number in range(min(numbers), max(numbers)):
            if number in numbers:
                continue
            below = [one for one in known if one < number]
            above = [one for one in known if one > number]
            exchange, _, symbol = scope.partition(":")
            low = known[max(below)] if below else None
            high = known[min(above)] if above else None
            if low and high and high < low:
                continue  # times that run backwards say nothing where one of them is not known
            at = data.draw(st.sampled_from([one for one in (low, high) if one] or [START_NS]))
            event(f"unknown below {low is None}, above {high is None}")
            assert view.lacks(
                symbols=(symbol,), exchanges=(exchange,), start_ns=at, end_ns=at + 1
            ), (session, number)


@st.composite
def by_lines(draw: Any) -> list[tuple[ScopeMessage, Arrival]]:
    """Two lines that lose messages, the second a little behind; numbers are a second apart."""
    count = draw(st.integers(2, 20))
    sent = []
    for line, delay_ms in (("A", 0), ("B", draw(st.sampled_from([5, 2_500, 70_000])))):
        lost = draw(st.sets(st.integers(1, count), max_size=count - 1))
        kept = [number for number in range(1, count + 1) if number not in lost]
        sent += [(number * 1_000 + delay_ms, line, number) for number in kept]
    stream = []
    for offset, (now_ms, line, number) in enumerate(sorted(sent)):
        time_ns = START_NS + number * 10**9
        message = ScopeMessage(number, None, time_ns, SCOPE, 0, offset, 1 + now_ms)
        stream.append((message, Arrival(line, 1 + now_ms, ("A", "B"))))
    return stream


@settings(max_examples=200, deadline=None)
@given(by_lines(), st.data())
def test_so_is_one_of_redundant_lines_once_their_gaps_are_released(stream, data):
    """What one line filled before the gap was told divides it: the parts say between what."""
    times, events = Times(), []
    state: ScopeState | None = None
    for message, arrival in stream:
        after = step_lined(state, message, arrival, SessionRule.NEVER)
        state = after.state
        events += after.events
        if after.verdict in ACCEPTED:
            assert message.sequence is not None
            times.receive(SCOPE, after.session_id, message.sequence, message.event_time_ns)
    if state is None:
        return
    state, last = release(state, SCOPE, 0, 10 * HOLD_MS)
    view = told([*events, *last])
    edges = times.edges()
    for _ in range(12):
        start, end = ask(data.draw, edges)
        can = any(lies_in(low, high, start, end) for _, low, high in times.intervals())
        assert view.lacks(symbols=("A",), start_ns=start, end_ns=end) == can
