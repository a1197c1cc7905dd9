"""Messages as a venue on a bad day sends them: what the properties of the sequence are tried on."""

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st
from msgspec.structs import replace

from k2_streams.core.dedup.duplicates import DuplicateCounter
from k2_streams.core.records.events import Event
from k2_streams.core.sequence.messages import Batch
from k2_streams.core.sequence.sessions import CONFLICT_TOLERANCE_MS, SessionRule
from k2_streams.core.sequence.step import (
    MAX_SEQUENCE,
    SEQUENCE_LIMITS,
    Nature,
    ScopeMessage,
    ScopeState,
    SequenceLimits,
    Verdict,
    step,
)

MINUTE_NS = 60_000_000_000
START_NS = 1_700_000_000_000_000_000
APPEND_MS = 1_700_000_000_000
#: So short that gaps of a stream are given up while it goes on.
HORIZON_MS = 100
PARTITION = 3
SCOPES = ["X:A", "X:B", "X:C"]
NAMES = [None, "2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "1"]

_JUMPS_MINUTES = [1, 29, 31, 59, 61, 180, -1, -29, -31, -61, -300]
#: A repeat may be a second later than everything seen.
_LATER_MS = [900, 999, 1_000, 1_001, 2_000, 46_000]
#: The broker's clock may fall back, where another broker leads.
_WAITS_MS = [1, 50, HORIZON_MS - 1, HORIZON_MS, HORIZON_MS + 1, 3 * HORIZON_MS, -40]
_DO = st.one_of(
    st.tuples(st.just("count_on"), st.integers(1, 12)),
    st.tuples(st.just("count_on"), st.integers(1, 3)),
    st.tuples(st.just("leave_out"), st.integers(1, 14)),
    st.tuples(st.just("repeat"), st.tuples(st.integers(1, 40), st.integers(1, 9))),
    st.tuples(st.just("use_again"), st.tuples(st.integers(1, 40), st.sampled_from(_LATER_MS))),
    st.tuples(st.just("jump_to"), st.integers(0, 12)),
    st.tuples(st.just("jump_to_huge"), st.sampled_from([2**31, 2**53 + 1, MAX_SEQUENCE - 2])),
    st.tuples(st.just("begin_again"), st.integers(0, 6)),
    st.tuples(st.just("begin_again"), st.integers(0, 6)),
    st.tuples(st.just("turn_clock"), st.sampled_from(_JUMPS_MINUTES)),
    st.tuples(st.just("take_name"), st.sampled_from(NAMES)),
    st.tuples(st.just("take_scope"), st.integers(0, len(SCOPES) - 1)),
    st.tuples(st.just("send_timeless"), st.sampled_from([0, -1])),
    st.tuples(st.just("send_unnumbered"), st.integers(1, 3)),
    st.tuples(st.just("swap_last_with"), st.integers(1, 6)),
    st.tuples(st.just("wait"), st.sampled_from(_WAITS_MS)),
)
#: What a decoder and a redrive do: records become dead letters, and are sent again.
_DO_DEAD = st.one_of(
    _DO,
    _DO,
    st.tuples(st.just("die"), st.integers(1, 5)),
    st.tuples(st.just("die_without_time"), st.integers(1, 3)),
    st.tuples(st.just("redrive"), st.integers(1, 8)),
    st.tuples(st.just("redrive"), st.integers(1, 8)),
)


@dataclass
class _Venue:
    """Plays what is to be done, and remembers what it sent."""

    messages: list[ScopeMessage] = field(default_factory=list)
    next: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(len(SCOPES)), 20))
    scope: int = 0
    name: str | None = None
    time_ns: int = START_NS
    append_ms: int = APPEND_MS

    def send(
        self,
        sequence: int | None,
        time_ns: int | None = None,
        nature: Nature = Nature.USUAL,
    ) -> None:
        if sequence is not None and sequence > MAX_SEQUENCE:
            return
        self.time_ns += 1_000_000
        self.append_ms += 1
        self.messages.append(
            ScopeMessage(
                sequence,
                self.name,
                self.time_ns if time_ns is None else time_ns,
                SCOPES[self.scope],
                PARTITION,
                len(self.messages),
                self.append_ms,
                nature,
            )
        )

    def count_on(self, count: int) -> None:
        for _ in range(count):
            self.send(self.next[self.scope])
            self.next[self.scope] += 1

    def leave_out(self, count: int) -> None:
        self.next[self.scope] += count
        self.count_on(1)

    def repeat(self, back_and_count: tuple[int, int]) -> None:
        back, count = back_and_count
        first = max(self.next[self.scope] - back, 0)
        for sequence in range(first, first + count):
            self.send(sequence)

    def use_again(self, back_and_later: tuple[int, int]) -> None:
        """Numbers used before, for messages that came later by so much."""
        back, later_ms = back_and_later
        self.time_ns += (later_ms - 1) * 1_000_000
        self.repeat((back, 3))

    def jump_to(self, sequence: int) -> None:
        self.next[self.scope] = sequence
        self.count_on(2)

    jump_to_huge = jump_to

    def begin_again(self, sequence: int) -> None:
        self.turn_clock(61)
        self.next[self.scope] = sequence
        self.count_on(3)

    def turn_clock(self, minutes: int) -> None:
        self.time_ns += minutes * MINUTE_NS

    def take_name(self, name: str | None) -> None:
        self.name = name

    def take_scope(self, scope: int) -> None:
        self.scope = scope

    def send_timeless(self, time_ns: int) -> None:
        self.send(self.next[self.scope], time_ns)
        self.next[self.scope] += 1

    def send_unnumbered(self, count: int) -> None:
        for _ in range(count):
            self.send(None)

    def swap_last_with(self, back: int) -> None:
        if len(self.messages) > back:
            last, other = self.messages[-1], self.messages[-1 - back]
            self.messages[-1] = replace(other, offset=last.offset, append_ms=last.append_ms)
            self.messages[-1 - back] = replace(last, offset=other.offset, append_ms=other.append_ms)

    def die(self, count: int, time_ns: int | None = None) -> None:
        """The next numbers, and one before, in records that become dead letters."""
        first = self.next[self.scope]
        for sequence in (*range(first, first + count), max(first - 2, 0)):
            self.send(sequence, time_ns, Nature.DEAD)
        self.next[self.scope] += count

    def die_without_time(self, count: int) -> None:
        self.die(count, 0)

    def redrive(self, back: int) -> None:
        """The last messages again, dead ones and others, each as it was."""
        for message in self.messages[-back:]:
            if message.sequence is not None:
                offset, append_ms = len(self.messages), self.append_ms
                again = replace(message, nature=Nature.REDRIVEN, offset=offset, append_ms=append_ms)
                self.messages.append(again)

    def wait(self, wait_ms: int) -> None:
        self.append_ms += wait_ms


@st.composite
def messages(draw, *, huge: bool = True, dead: bool = False) -> list[ScopeMessage]:
    """Up to three scopes with gaps, repeats, disorder, falls, jumps of time and named sessions.

    With `dead` some become dead letters, and are redriven.
    """
    venue = _Venue()
    least = draw(st.sampled_from([1, 10, 30]))  # hypothesis alone would keep them short
    for what, how in draw(st.lists(_DO_DEAD if dead else _DO, min_size=least, max_size=50)):
        if what == "jump_to_huge" and not huge:
            continue
        getattr(venue, what)(how)
    return venue.messages


rules = st.sampled_from(list(SessionRule))
#: None: the venue itself repeats numbers.
tolerances = st.sampled_from([CONFLICT_TOLERANCE_MS, CONFLICT_TOLERANCE_MS, None])


@dataclass
class Folded:
    """What `step` gave for each message in turn."""

    verdicts: list[Verdict] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    states: dict[str, ScopeState] = field(default_factory=dict)
    duplicates: DuplicateCounter = field(default_factory=DuplicateCounter)


def fold(
    stream: list[ScopeMessage],
    rule: SessionRule,
    tolerance_ms: int | None = CONFLICT_TOLERANCE_MS,
    limits: SequenceLimits = SEQUENCE_LIMITS,
) -> Folded:
    """Every message through `step`, one at a time."""
    out = Folded()
    for message in stream:
        after = step(out.states.get(message.scope), message, rule, HORIZON_MS, tolerance_ms, limits)
        out.verdicts.append(after.verdict)
        out.sessions.append(after.session_id)
        out.events.extend(after.events)
        if after.state is not None:
            out.states[message.scope] = after.state
        if after.verdict is Verdict.DUPLICATE:
            assert message.sequence is not None
            out.duplicates.add(message.scope, after.session_id, message.sequence, message.sequence)
    return out


def to_batch(stream: list[ScopeMessage]) -> Batch:
    """Messages as the columns of a batch."""
    scopes = sorted({message.scope for message in stream}, reverse=True)
    names = sorted({message.session for message in stream if message.session is not None})
    return Batch(
        scopes=scopes,
        scope=np.array([scopes.index(message.scope) for message in stream], np.int32),
        sequence=np.array(
            [-1 if message.sequence is None else message.sequence for message in stream], np.int64
        ),
        sessions=names,
        session=np.array(
            [-1 if message.session is None else names.index(message.session) for message in stream],
            np.int32,
        ),
        event_time_ns=np.array([message.event_time_ns for message in stream], np.int64),
        offset=np.array([message.offset for message in stream], np.int64),
        append_ms=np.array([message.append_ms for message in stream], np.int64),
        partition=PARTITION,
        nature=np.array([message.nature for message in stream], np.int8),
    )
