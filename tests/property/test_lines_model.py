"""Redundant lines: any interleaving, split, restart or loss gives what a model of sets gives."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scope_states import ScopeStates

from k2_streams.core.dedup.duplicates import DuplicateCounter
from k2_streams.core.lines.batch import Copies, Lined, stats_of
from k2_streams.core.lines.stats import LineStats, added, alive, reports
from k2_streams.core.lines.step import HOLD_MS, Arrival, deadline_ms, release, step
from k2_streams.core.records.events import (
    ConflictingDuplicate,
    Event,
    GapAbandoned,
    GapFilled,
    GapOpened,
    Late,
    Stale,
)
from k2_streams.core.sequence.batch import step_batch
from k2_streams.core.sequence.messages import Batch
from k2_streams.core.sequence.scopes import exchanges_of
from k2_streams.core.sequence.sessions import SessionRule
from k2_streams.core.sequence.step import ACCEPTED, ScopeMessage, ScopeState, Verdict
from k2_streams.runtime.task.line_keeper import LINES as SECTION
from k2_streams.runtime.task.line_keeper import LinesState, lines_of
from k2_streams.state.position import Position, decode_position, encode_position

#: A gap is given up after so long: soon enough that streams have some.
HORIZON_MS = 150_000
START_MS = 1_700_000_000_000
SCOPES = ["X:A", "X:B", "Y:A"]
LINES = ["A", "B", "C"]


class Sent(NamedTuple):
    scope: str
    line: str  # "": none named
    sequence: int
    now_ms: int
    late_ms: int = 0  # of its event time behind its number's: a copy has its first copy's

    @property
    def time_ns(self) -> int:
        """Numbers are half a second apart."""
        return (START_MS + 500 * self.sequence + self.late_ms) * 10**6


@dataclass
class Gap:
    left: set[int]
    first: int
    last: int
    since_ms: int  # when lines began to be waited for
    age_ms: int  # when its numbers were passed over
    awaits: set[str]
    held: bool = True


@dataclass
class Scope:
    received: set[int] = field(default_factory=set)
    last_ns: int = 0  # the latest event time
    gaps: list[Gap] = field(default_factory=list)
    next_of: dict[str, int] = field(default_factory=dict)
    seen_ms: dict[str, int] = field(default_factory=dict)
    floor: int = 0  # at and below it nothing is known
    lined: bool = False  # before a line is named, a gap is one at once


class Model:
    """Every number, gap and line by itself."""

    def __init__(self) -> None:
        self.scopes: dict[str, Scope] = {}
        self.seen_ms: dict[tuple[str, str], int] = {}
        self.events: dict[str, list[tuple[Any, ...]]] = {}

    def take(self, sent: Sent) -> Verdict:
        exchange = sent.scope[0]
        if sent.line:
            self.seen_ms[exchange, sent.line] = sent.now_ms
        scope = self.scopes.setdefault(sent.scope, Scope())
        self.release(sent.scope, sent.now_ms)
        scope.lined |= bool(sent.line)
        verdict = self.judge(scope, sent, exchange)
        if scope.lined:
            scope.next_of[sent.line] = max(scope.next_of.get(sent.line, 0), sent.sequence + 1)
            scope.seen_ms[sent.line] = sent.now_ms
        self.release(sent.scope, sent.now_ms)
        return verdict

    def judge(self, scope: Scope, sent: Sent, exchange: str) -> Verdict:
        number, received = sent.sequence, scope.received
        self.give_up(scope, sent)
        if number <= scope.floor:
            self.events[sent.scope].append(("stale", number))
            return Verdict.STALE
        said = self.events.setdefault(sent.scope, [])
        if number in received:
            is_repeat = sent.time_ns <= scope.last_ns + 10**9
            said += [] if is_repeat else [("conflicting", number)]
            return Verdict.DUPLICATE if is_repeat else Verdict.CONFLICTING
        scope.last_ns = max(scope.last_ns, sent.time_ns)
        if not received:
            received.add(number)
            return Verdict.FIRST
        verdict = Verdict.IN_ORDER
        new: range | None = None
        if number > max(received):
            new = range(max(received) + 1, number)
        elif number < min(received):
            said.append(("late", number))
            verdict, new = Verdict.LATE, range(number + 1, min(received))
        else:
            gap = next(gap for gap in scope.gaps if number in gap.left)
            gap.left.remove(number)
            if not gap.held:
                verdict = Verdict.LATE
                said.append(("late", number))
                if not gap.left:
                    said.append(("filled", gap.first, gap.last))
        if new:
            since_ms = sent.now_ms
            if verdict is Verdict.LATE:  # these were passed over before all others
                left = [gap.age_ms for gap in scope.gaps if gap.left]
                since_ms = min(left, default=since_ms)
            others = {
                line
                for (of, line), ms in self.seen_ms.items()
                if scope.lined
                and of == exchange
                and ms > sent.now_ms - HOLD_MS
                and line != sent.line
            }
            scope.gaps.append(Gap(set(new), new[0], new[-1], sent.now_ms, since_ms, others))
        received.add(number)
        return verdict

    def give_up(self, scope: Scope, sent: Sent) -> None:
        """What is missing for too long, and whatever is missing below it."""
        old = [
            gap.last for gap in scope.gaps if gap.left and gap.age_ms + HORIZON_MS <= sent.now_ms
        ]
        for gap in sorted(scope.gaps, key=lambda gap: gap.first):
            if not gap.left or gap.first > max(old, default=0):
                continue
            said = self.events.setdefault(sent.scope, [])
            for first, last in ranges(gap.left):
                whole = (first, last) if gap.held else (gap.first, gap.last)
                said += [("opened", first, last)] if gap.held else []
                said.append(("abandoned", first, last, *whole))
                scope.floor = max(scope.floor, last)
            scope.gaps.remove(gap)

    def release(self, name: str, now_ms: int) -> None:
        """As if somebody had looked at every moment at which a gap may have been due."""
        scope = self.scopes[name]
        began = [gap.since_ms for gap in scope.gaps if gap.held] + [*scope.seen_ms.values()]
        for moment_ms in sorted({0, *(ms + HOLD_MS for ms in began)}):
            if moment_ms <= now_ms:
                self.release_at(name, moment_ms)

    def release_at(self, name: str, now_ms: int) -> None:
        scope = self.scopes[name]
        for gap in [gap for gap in scope.gaps if gap.held]:
            waiting = any(
                gap.since_ms + HOLD_MS > now_ms and scope.next_of.get(line, 0) <= gap.last
                for line in gap.awaits
            ) or any(
                scope.seen_ms[line] + HOLD_MS > now_ms and following <= gap.last
                for line, following in scope.next_of.items()
            )
            if waiting:
                continue
            scope.gaps.remove(gap)
            for first, last in ranges(gap.left):
                left = set(range(first, last + 1))
                scope.gaps.append(Gap(left, first, last, 0, gap.age_ms, set(), held=False))
                self.events.setdefault(name, []).append(("opened", first, last))


def ranges(numbers: set[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def fact(event: Event) -> tuple[Any, ...]:
    match event:
        case GapOpened():
            return ("opened", event.first, event.last)
        case GapFilled():
            return ("filled", event.first, event.last)
        case GapAbandoned():
            assert event.reason == "horizon"
            return ("abandoned", event.first, event.last, event.gap_first, event.gap_last)
        case Late():
            return ("late", event.sequence)
        case Stale():
            return ("stale", event.sequence)
        case ConflictingDuplicate():
            return ("conflicting", event.sequence)
        case _:
            raise AssertionError(event)


@st.composite
def streams(draw: Callable[..., Any]) -> list[Sent]:
    """Each line sends most of each scope's numbers, in its order, with delays and silences."""
    copies: list[tuple[int, int, Sent]] = []
    now = START_MS
    for number in range(1, draw(st.integers(1, 14))):
        now += draw(st.sampled_from([0, 1, 1, 10, 10, 20_000, 61_000]))
        for scope in draw(st.sampled_from([SCOPES[:1], SCOPES[:1], SCOPES])):
            for line in draw(st.sampled_from([LINES[:2], LINES[:2], LINES, ["", *LINES[:1]]])):
                kept = draw(st.sampled_from([1, 1, 1, 1, 0, 2]))
                delay = draw(st.sampled_from([0, 0, 1, 5, 30, 30_000, 70_000]))
                late = draw(st.sampled_from([0] * 9 + [1_500, 9_000]))
                sent = Sent(scope, line, number, now + delay, late)
                copies += [(sent.now_ms, draw(st.integers(0, 9)), sent)] * kept
    return [sent for _, _, sent in sorted(copies)]


def folded(stream: list[Sent]) -> tuple[list[Verdict], dict[str, list[Event]], dict[str, Any], Any]:
    """Every message through `lines.step`, silent scopes released at every message."""
    states: dict[str, ScopeState] = {}
    seen_ms: dict[tuple[str, str], int] = {}
    verdicts, events, duplicates = [], {}, DuplicateCounter()
    for offset, sent in enumerate(stream):
        exchange = sent.scope[0]
        if sent.line:
            seen_ms[exchange, sent.line] = sent.now_ms
        message = as_message(sent, offset)
        arrival = Arrival(sent.line, sent.now_ms, alive(seen_ms, exchange, sent.now_ms))
        after = step(states.get(sent.scope), message, arrival, SessionRule.NEVER, HORIZON_MS)
        assert after.state is not None
        states[sent.scope] = after.state
        verdicts.append(after.verdict)
        events.setdefault(sent.scope, []).extend(after.events)
        if after.verdict is Verdict.DUPLICATE:
            duplicates.add(sent.scope, "0", sent.sequence, sent.sequence, sent.line)
        for scope, state in states.items():
            states[scope], released = release(state, scope, 0, sent.now_ms)
            events.setdefault(scope, []).extend(released)
    return verdicts, events, states, duplicates.events(0)


def as_message(sent: Sent, offset: int) -> ScopeMessage:
    return ScopeMessage(sent.sequence, None, sent.time_ns, sent.scope, 0, offset, sent.now_ms)


def batched(
    stream: list[Sent], cuts: list[int], restarts: set[int], *, in_columns: bool = True
) -> tuple[Any, ...]:
    """The same in batches, silent scopes released between them.

    Before the batches that begin at `restarts` nothing is left but the bytes of a checkpoint.
    """
    states = ScopeStates(in_columns=in_columns)
    stats: tuple[LineStats, ...] = ()
    verdicts: list[int] = []
    events: dict[str, list[Event]] = {}
    duplicates = DuplicateCounter()
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        part = stream[start:end]
        if not part:
            continue
        if start in restarts:
            states.restart()
            sections = {SECTION.name: SECTION.write(LinesState(stats))}
            position = Position(source_id="raw", partitions=1, next_offset=0, sections=sections)
            stats = lines_of(decode_position(encode_position(position)))
        names = sorted({sent.line for sent in part} - {""})
        batch = Batch(
            scopes=SCOPES,
            scope=np.array([SCOPES.index(sent.scope) for sent in part], np.int32),
            sequence=np.array([sent.sequence for sent in part], np.int64),
            sessions=[],
            session=np.full(len(part), -1, np.int32),
            event_time_ns=np.array([sent.time_ns for sent in part], np.int64),
            offset=np.arange(start, end, dtype=np.int64),
            append_ms=np.array([sent.now_ms for sent in part], np.int64),
            partition=0,
            lined=Lined(
                names,
                np.array([names.index(s.line) if s.line else -1 for s in part], np.int32),
                np.array([sent.now_ms for sent in part], np.int64),
                {(one.exchange, one.line): one.seen_ms for one in stats},
            ),
        )
        after = step_batch(states.get, batch, SessionRule.NEVER, HORIZON_MS, columns=states.columns)
        states.take(after)
        plain = np.zeros(len(part), np.int64)
        copies = Copies.of(after.verdicts, plain > 0, plain, plain)
        of = exchanges_of(batch.scopes, batch.scope)
        stats = added(stats, stats_of(batch.lined, *of, copies, batch.event_time_ns))
        verdicts += after.verdicts.tolist()
        duplicates.update(after.duplicates)
        for event in after.events:
            events.setdefault(event.scope, []).append(event)
        for scope, state in states.all().items():
            left, released = release(state, scope, 0, part[-1].now_ms)
            states.change(scope, left)
            events.setdefault(scope, []).extend(released)
    return verdicts, events, states.all(), duplicates.events(0), stats


@settings(max_examples=400, deadline=None)
@given(streams())
@example(
    [Sent("X:A", "A", 1, 0), Sent("X:A", "B", 1, 0), Sent("X:A", "A", 3, 1), Sent("X:A", "B", 2, 2)]
)
@example(  # somebody looks at the very moment at which the gap is due
    [
        *(Sent("X:A", "B", 1, START_MS), Sent("X:A", "A", 1, START_MS)),
        *(Sent("X:A", "A", 3, START_MS), Sent("X:B", "A", 1, START_MS + HOLD_MS)),
    ]
)
def test_every_message_gets_the_verdict_of_the_model(stream: list[Sent]) -> None:
    """And every event, in the order of its scope."""
    model = Model()
    expected = []
    for sent in stream:
        expected.append(model.take(sent))
        for scope in model.scopes:
            model.release(scope, sent.now_ms)
    verdicts, events, _, _ = folded(stream)
    assert verdicts == expected
    found = {scope: [fact(event) for event in of] for scope, of in events.items() if of}
    assert found == {scope: of for scope, of in model.events.items() if of}


def test_gaps_are_reported_as_their_times_came_however_seldom_somebody_looks():
    """The gap that came about first is not the first that nothing is expected of any more."""
    said = [
        ("A", 3, 0), ("A", 7, 0), ("A", 1, 0), ("", 1, 30_000), ("B", 3, 70_000),
    ]  # fmt: skip
    other = [Sent("X:A", "A", 1, START_MS + 91_000), Sent("X:A", "B", 1, START_MS + 131_000)]
    stream = [
        Sent("X:A", "B", 1, START_MS),
        *(Sent("X:B", line, number, START_MS + ms) for line, number, ms in said),
        *other,
    ]
    once, always = batched(stream, [], set()), folded(stream)
    opened = [event.first for event in once[1]["X:B"] if isinstance(event, GapOpened)]
    assert opened == [2, 4]
    assert once[1]["X:B"] == always[1]["X:B"]


@settings(max_examples=400, deadline=None)
@given(streams(), st.data())
def test_any_split_and_any_restart_gives_what_the_step_gives(stream: list[Sent], data: Any) -> None:
    """One batch, or anything between: verdicts, events, states, duplicates by line, figures."""
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=6)))
    restarts = data.draw(st.sets(st.sampled_from(cuts))) if cuts else set()
    verdicts, events, states, duplicates = folded(stream)
    *found, stats = batched(stream, cuts, restarts)
    assert found == [verdicts, events, states, duplicates]
    *found, _ = batched(stream, cuts, restarts, in_columns=False)
    assert found == [verdicts, events, states, duplicates]
    for one in stats:
        mine = [
            (sent, verdict)
            for sent, verdict in zip(stream, verdicts, strict=True)
            if (sent.scope[0], sent.line) == (one.exchange, one.line)
        ]
        assert one.received == len(mine)
        assert one.first == sum(verdict in ACCEPTED for _, verdict in mine)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_what_one_line_loses_another_brings(data: Any) -> None:
    """Lost on one line: no gap, nothing late. Lost on all: exactly these gaps, once both passed."""
    count = data.draw(st.integers(5, 40))
    lost = {line: data.draw(st.sets(st.integers(2, count - 1), max_size=12)) for line in LINES[:2]}
    lag = data.draw(st.integers(0, 20))
    copies = [
        # Both lines are known before one is ahead of the other.
        (
            number * 10 + (lag * 10 + 5 if line == "B" and number > 1 else 0),
            Sent("X:A", line, number, START_MS),
        )
        for line in LINES[:2]
        for number in range(1, count + 1)
        if number not in lost[line]
    ]
    stream = [sent._replace(now_ms=START_MS + at) for at, sent in sorted(copies)]
    verdicts, events, states, _ = folded(stream)
    assert [fact(event) for event in events["X:A"]] == [
        ("opened", *gap) for gap in ranges(lost["A"] & lost["B"])
    ]
    assert Verdict.LATE not in verdicts
    lines = states["X:A"].lines
    assert lines is not None
    assert deadline_ms(lines) is None
    assert states["X:A"].missing_numbers == len(lost["A"] & lost["B"])


def test_figures_say_who_was_first_who_lost_and_who_lags() -> None:
    """Of all partitions together, by exchange."""
    stats = [
        LineStats("X", "A", 5, 100, 90, 1_000, 100),
        LineStats("X", "A", 9, 100, 100, 1_000, 100),
        LineStats("X", "B", 7, 180, 10, 5_400, 180),
        LineStats("Y", "A", 7, 1, 1, 0, 0),
    ]
    a, b, y = reports(stats)
    assert (a.received, a.first, a.duplicates, a.seen_ms) == (200, 190, 10, 9)
    assert (a.first_share, a.loss, a.delay_ms, a.lag_ms) == (0.95, 0.0, 10.0, 0.0)
    assert (b.first_share, b.loss, b.delay_ms, b.lag_ms) == (0.05, pytest.approx(0.1), 30.0, 20.0)
    assert (y.first_share, y.delay_ms, y.lag_ms) == (1.0, None, None)
