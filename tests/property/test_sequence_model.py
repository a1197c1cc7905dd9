"""`step` against a model that remembers every number: sets instead of ranges, nothing clever."""

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import event, given, settings
from sequence_inputs import HORIZON_MS, fold, messages, rules

from k2_streams.core.records.events import (
    ConflictingDuplicate,
    Dead,
    GapAbandoned,
    GapFilled,
    GapOpened,
    Late,
    Redriven,
    Reset,
    Stale,
)
from k2_streams.core.sequence.codec import decode, encode
from k2_streams.core.sequence.sessions import UNKNOWN_SESSION, Session, SessionRule, place
from k2_streams.core.sequence.step import (
    ACCEPTED,
    SEQUENCE_LIMITS,
    Nature,
    ScopeMessage,
    ScopeState,
    SequenceLimits,
    Step,
    Verdict,
    step,
)


@dataclass
class Numbers:
    """Every number of one session."""

    received: set[int] = field(default_factory=set)
    missing: set[int] = field(default_factory=set)
    abandoned: set[int] = field(default_factory=set)
    gaps: dict[tuple[int, int], str] = field(default_factory=dict)
    since_ms: dict[int, int] = field(default_factory=dict)  # of each that was ever missing
    time_ns: dict[int, int] = field(default_factory=dict)  # of each received; 0: it has none
    latest_ns: int = 0
    dead: set[int] = field(default_factory=set)  # received in dead letters alone

    def beyond(self, append_ms: int) -> set[int]:
        """What has been missing for too long, and what is missing below it."""
        old = [n for n in self.missing if self.since_ms[n] + HORIZON_MS <= append_ms]
        return {n for n in self.missing if old and n <= max(old)}

    def is_before(self, time_ns: int) -> bool:
        """Whether a time is later than every time of the session by more than a second."""
        return self.latest_ns > 0 and time_ns > self.latest_ns + 10**9

    def take_time(self, number: int, time_ns: int) -> None:
        """The event time of a number received just now."""
        self.time_ns[number] = max(time_ns, 0)
        self.latest_ns = max(self.latest_ns, time_ns)

    def revive(self, number: int, time_ns: int) -> None:
        """A dead number is received again. Gaps beside it keep the bounds that they have."""
        self.dead.remove(number)
        self.latest_ns = max(self.latest_ns, time_ns)
        if number in {min(self.received), max(self.received)} and time_ns > 0:
            self.time_ns[number] = time_ns

    def verdict(self, number: int, time_ns: int) -> Verdict:
        if self.abandoned and number <= max(self.abandoned):
            return Verdict.STALE
        if number in self.received:
            return Verdict.CONFLICTING if self.is_before(time_ns) else Verdict.DUPLICATE
        return Verdict.IN_ORDER if number > max(self.received) else Verdict.LATE

    def receive(self, number: int, append_ms: int) -> tuple[int, int] | None:
        """Take a number; returns the gap that it opens, if it opens one."""
        opened = None
        ages = [self.since_ms[n] for n in self.missing]
        if number > max(self.received) + 1:
            opened = (max(self.received) + 1, number - 1)
            since_ms = max([append_ms, *ages])
        elif number < min(self.received) - 1:
            opened = (number + 1, min(self.received) - 1)
            since_ms = min(ages, default=append_ms)
        if opened:
            new = range(opened[0], opened[1] + 1)
            self.missing |= set(new)
            self.since_ms |= dict.fromkeys(new, since_ms)
            self.gaps[opened] = "open"
        self.received.add(number)
        self.missing.discard(number)
        return opened

    def close_filled(self) -> list[tuple[int, int]]:
        filled = [
            gap
            for gap, how in self.gaps.items()
            if how == "open" and set(range(gap[0], gap[1] + 1)) <= self.received
        ]
        self.gaps.update(dict.fromkeys(filled, "filled"))
        return filled

    def abandon(self, event: GapAbandoned) -> None:
        numbers = set(range(event.first, event.last + 1))
        assert numbers
        assert numbers <= self.missing, "only what is missing is abandoned"
        assert {event.first - 1, event.last + 1}.isdisjoint(self.missing), "whole ranges"
        gap = (event.gap_first, event.gap_last)
        assert gap[0] <= event.first <= event.last <= gap[1]
        assert gap in self.gaps
        self.missing -= numbers
        self.abandoned |= numbers
        self.gaps[gap] = "abandoned"


class Model:
    """One scope: checks a step against what it remembers, and remembers it."""

    def __init__(self, rule: SessionRule, limits: SequenceLimits = SEQUENCE_LIMITS) -> None:
        self.rule = rule
        self.limits = limits
        self.sessions: dict[str, Numbers] = {}
        self.before = ScopeState()
        self.current = ""
        self.counts: Counter[str] = Counter()

    def check(self, message: ScopeMessage, after: Step) -> None:
        number, name = message.sequence, after.session_id
        assert number is not None
        events = list(after.events)
        for caused in events:
            assert (caused.scope, caused.source_offset) == (message.scope, message.offset)
            assert (caused.source_partition, caused.exchange_time_ns) == (
                message.partition,
                message.event_time_ns,
            )
        self._check_horizon(message, after)
        opened = filled = None
        late = False
        numbers = self.sessions.get(name)
        revived = self._session_of_dead(message, after)
        assert [e.sequence for e in events if isinstance(e, Redriven)] == [number] * bool(revived)
        if revived:
            assert (after.verdict, name) == (Verdict.LATE, revived)
            self.sessions[name].revive(number, message.event_time_ns)
        elif numbers is None:
            self._check_begins(number, message, after)
        else:
            assert after.verdict is numbers.verdict(number, message.event_time_ns)
            self._check_not_used_again(message, after)
            if after.verdict in ACCEPTED:
                late = after.verdict is Verdict.LATE
                numbers.take_time(number, message.event_time_ns)
                opened = numbers.receive(number, message.append_ms)
                filled = numbers.close_filled()
        dies = message.nature is Nature.DEAD and after.verdict in ACCEPTED
        assert [e.sequence for e in events if isinstance(e, Dead)] == [number] * dies
        if dies:
            self.sessions[name].dead.add(number)
        assert [e.sequence for e in events if isinstance(e, Late)] == [number] * late
        stale = after.verdict is Verdict.STALE
        assert [e.sequence for e in events if isinstance(e, Stale)] == [number] * stale
        assert [(e.first, e.last) for e in events if isinstance(e, GapOpened)] == (
            [opened] if opened else []
        )
        conflicts = after.verdict is Verdict.CONFLICTING
        used = [e.sequence for e in events if isinstance(e, ConflictingDuplicate)]
        assert used == [number] * conflicts
        for e in events:
            if isinstance(e, GapOpened):
                assert e.size == ("small" if e.last - e.first + 1 <= 10 else "large")
        assert [(e.first, e.last) for e in events if isinstance(e, GapFilled)] == (filled or [])
        for e in events:
            if isinstance(e, GapAbandoned) and e.reason != "horizon":
                self.sessions[e.session].abandon(e)
        self._check_state(after.state, after)
        assert after.state is not None
        self.before = after.state

    def _session_of_dead(self, message: ScopeMessage, after: Step) -> str | None:
        """The session in which a redriven message's number is dead, if there is one.

        Of several it is the one that the message is of by its name or time, or else the newest.
        """
        if message.nature is not Nature.REDRIVEN:
            return None
        by_name = {SessionRule.ORDERED, SessionRule.DECLARED}
        named = message.session if self.rule in by_name else None
        assert message.sequence is not None
        found = [
            one.id
            for one in reversed(self.before.sessions)
            if message.sequence in self.sessions[one.id].dead and named in {None, one.id}
        ]
        own = place(
            self.before.sessions,
            self.before.dropped,
            self.rule,
            name=message.session,
            sequence=message.sequence,
            time_ns=message.event_time_ns,
        ).id
        return own if own in found else next(iter(found), None)

    def _check_not_used_again(self, message: ScopeMessage, after: Step) -> None:
        """Where time tells the session, a number of the current one used twice is of a new one."""
        goes_by_time = self.rule is SessionRule.FALL or (
            self.rule is SessionRule.DECLARED and message.session is None
        )
        if not goes_by_time or after.session_id != self.current:
            return
        assert after.verdict is not Verdict.CONFLICTING
        numbers = self.sessions[self.current]
        if after.verdict in {Verdict.LATE, Verdict.STALE}:
            assert message.sequence is not None
            below = message.sequence < min(numbers.received, default=0)
            fell = 2 * message.sequence < max(numbers.received)
            assert not ((below or after.verdict is Verdict.STALE) and fell) or (
                not numbers.is_before(message.event_time_ns)
            )

    def _check_horizon(self, message: ScopeMessage, after: Step) -> None:
        """What is too old goes before the message is judged: exactly that."""
        too_old = {
            name: beyond
            for name, numbers in self.sessions.items()
            if (beyond := numbers.beyond(message.append_ms))
        }
        covered: dict[str, set[int]] = {}
        for e in after.events:
            if isinstance(e, GapAbandoned) and e.reason == "horizon":
                covered.setdefault(e.session, set()).update(range(e.first, e.last + 1))
                self.sessions[e.session].abandon(e)
        assert covered == too_old

    def _check_begins(self, number: int, message: ScopeMessage, after: Step) -> None:
        if after.verdict is Verdict.STALE:
            assert self.sessions, "there is something older to be stale against"
            return
        assert after.session_id != UNKNOWN_SESSION
        resets = [e for e in after.events if isinstance(e, Reset)]
        if after.verdict is Verdict.RESET:
            assert [(e.sequence, e.previous) for e in resets] == [(number, self.current)]
            ended = [e for e in after.events if getattr(e, "reason", "") == "reset"]
            assert {e.session for e in ended} <= {self.current}
            covered = {n for e in ended for n in range(e.first, e.last + 1)}
            assert covered == self.sessions[self.current].missing, "a reset leaves nothing open"
        else:
            assert after.verdict is Verdict.FIRST
            assert not resets
        if after.verdict is Verdict.RESET or not self.sessions:
            self.current = after.session_id
        numbers = self.sessions[after.session_id] = Numbers(received={number})
        numbers.take_time(number, message.event_time_ns)

    def _check_state(self, state: ScopeState | None, after: Step) -> None:
        assert state is not None
        assert decode(encode(state)) == state
        assert len(state.sessions) <= self.limits.sessions
        assert sum(len(kept.missing) for kept in state.sessions) <= self.limits.missing
        assert state.current is not None
        assert state.current.id == self.current
        kept = {session.id for session in state.sessions}
        for name in set(self.sessions) - kept:
            assert not self.sessions.pop(name).missing, "a session goes with nothing left open"
        assert kept == set(self.sessions)
        for session in state.sessions:
            self._check_session(session, self.sessions[session.id])
        self._check_counters(state, after)

    def _check_session(self, session: Session, numbers: Numbers) -> None:
        assert (session.first, session.expected) == (
            min(numbers.received),
            max(numbers.received) + 1,
        )
        assert session.floor == (max(numbers.abandoned) + 1 if numbers.abandoned else 0)
        ranges = [range(part.start, part.end) for part in session.missing]
        assert [n for part in ranges for n in part] == sorted(numbers.missing)
        assert session.missing_numbers == len(numbers.missing)
        assert [n for dead in session.dead for n in range(*dead)] == sorted(numbers.dead)
        for part in session.missing:
            assert {numbers.since_ms[n] for n in range(part.start, part.end)} == {part.since_ms}
            assert part.gap_first <= part.start < part.end <= part.gap_last + 1
            assert (part.gap_first, part.gap_last) in numbers.gaps
            below, above = numbers.time_ns[part.start - 1], numbers.time_ns[part.end]
            assert not below or part.previous_time_ns == below
            assert not above or part.next_time_ns == above
        for number, time_ns in (
            (session.first, session.bottom_time_ns),
            (session.expected - 1, session.top_time_ns),
        ):
            assert numbers.time_ns[number] in {0, time_ns}

    def _check_counters(self, state: ScopeState, after: Step) -> None:
        for caused in after.events:
            self.counts[type(caused).__name__] += 1
            if isinstance(caused, GapAbandoned):
                self.counts["abandoned"] += caused.last - caused.first + 1
        self.counts[after.verdict.name] += 1
        counters = state.counters
        assert counters.accepted == sum(self.counts[v.name] for v in ACCEPTED)
        assert counters.duplicates == self.counts["DUPLICATE"]
        late = self.counts["Late"] + self.counts["Redriven"]
        assert counters.late == self.counts["LATE"] == late
        assert counters.conflicts == self.counts["CONFLICTING"]
        assert counters.stale == self.counts["STALE"] == self.counts["Stale"]
        assert counters.resets == self.counts["RESET"] == self.counts["Reset"]
        assert counters.gaps_opened == self.counts["GapOpened"]
        assert counters.gaps_filled == self.counts["GapFilled"]
        assert counters.numbers_abandoned == self.counts["abandoned"]
        assert state.missing_numbers == sum(len(n.missing) for n in self.sessions.values())


def check_stream(stream, rule, limits=SEQUENCE_LIMITS) -> None:
    states: dict[str, ScopeState] = {}
    models: dict[str, Model] = {}
    for message in stream:
        before = states.get(message.scope)
        after = step(before, message, rule, HORIZON_MS, limits=limits)
        event(after.verdict.name)
        if message.sequence is None:
            assert after.verdict is Verdict.UNSEQUENCED
            assert after.state is before
            continue
        models.setdefault(message.scope, Model(rule, limits)).check(message, after)
        states[message.scope] = after.state


@settings(max_examples=200, deadline=None)
@given(messages(huge=False, dead=True), rules)
def test_verdicts_events_and_state_are_those_of_remembering_every_number(stream, rule):
    check_stream(stream, rule)


@settings(max_examples=200, deadline=None)
@given(messages(huge=False, dead=True), rules)
def test_so_are_they_at_the_limits(stream, rule):
    """With limits of 3, ranges are abandoned and sessions dropped all the time."""
    check_stream(stream, rule, SequenceLimits(missing=3, sessions=3))


@settings(max_examples=200, deadline=None)
@given(messages(), rules)
def test_the_same_stream_again_adds_no_row(stream, rule):
    """A whole stream sent once more, at its own times: every number is known, or given up."""
    once = fold(stream, rule)
    states = dict(once.states)
    for message, verdict, name in zip(stream, once.verdicts, once.sessions, strict=True):
        if message.sequence is None or verdict not in ACCEPTED:
            continue
        after = step(states[message.scope], message, rule, HORIZON_MS)
        states[message.scope] = after.state
        named = message.session is not None and rule is not SessionRule.FALL
        if rule is not SessionRule.NEVER and not named and after.session_id != name:
            continue  # another session may be current by now, or fit a clock that jumps about
        assert after.session_id == name
        assert after.verdict in {Verdict.DUPLICATE, Verdict.STALE}
