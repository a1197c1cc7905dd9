"""A state rebuilt from a lake cut off anywhere: nothing doubled, nothing lost, gaps agree."""

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from sequence_inputs import HORIZON_MS, PARTITION, messages

from k2_streams.core.adoption.rebuild import (
    FirstArrival,
    Rebuilt,
    RowRange,
    ScopeEvidence,
    joined,
    rebuilt,
)
from k2_streams.core.records.events import Event, stamped
from k2_streams.core.sequence.gaps import GapLedger
from k2_streams.core.sequence.horizon import LATE_HORIZON_MS
from k2_streams.core.sequence.sessions import SessionRule
from k2_streams.core.sequence.step import ACCEPTED, Nature, ScopeMessage, ScopeState, Verdict, step

Number = tuple[str, str, int]  # scope, session, number


@dataclass
class Worked:
    """What a task makes of messages: rows, events, states, each with the checkpoint's time."""

    rule: SessionRule
    horizon_ms: int
    states: dict[str, ScopeState] = field(default_factory=dict)
    rows: list[tuple[int, ScopeMessage, str]] = field(default_factory=list)
    events: list[tuple[int, Event]] = field(default_factory=list)
    verdicts: list[tuple[Number, Verdict]] = field(default_factory=list)

    def take(self, message: ScopeMessage, accepted_us: int, *, is_control: bool = False) -> None:
        """One message; a control message has a number and no row."""
        before = self.states.get(message.scope)
        after = step(before, message, self.rule, self.horizon_ms, None)
        assert after.state is not None
        assert message.sequence is not None
        self.states[message.scope] = after.state
        self.events += [(accepted_us, stamped(one, accepted_us)) for one in after.events]
        self.verdicts.append(((message.scope, after.session_id, message.sequence), after.verdict))
        if after.verdict in ACCEPTED and message.nature is not Nature.DEAD and not is_control:
            self.rows.append((accepted_us, message, after.session_id))


@dataclass(frozen=True)
class Lake:
    """How much of it reached the lake: of checkpoints, and of rows of the one behind them."""

    checkpoint: int  # messages of one
    rows: int  # checkpoints whose rows are there
    partial: int  # rows of the next one
    events: int  # checkpoints whose events are there
    tells: bool  # whether the vector says how many events there were


lakes = st.builds(
    Lake,
    st.integers(1, 7),
    st.integers(1, 60),
    st.integers(0, 4),
    st.integers(0, 60),
    st.booleans(),
)
#: Sessions that a repetition of all that was sent is recognised by.
rules = st.sampled_from([SessionRule.NEVER, SessionRule.ORDERED])
everything = Lake(1, 10**6, 0, 10**6, tells=True)


def numbered(sent: list[ScopeMessage], rule: SessionRule) -> list[ScopeMessage]:
    named = [one for one in sent if one.sequence is not None]
    return [one for one in named if rule is not SessionRule.ORDERED or one.session is not None]


def worked(sent: list[ScopeMessage], rule: SessionRule, horizon_ms: int, lake: Lake, controls: int):
    task = Worked(rule, horizon_ms)
    for place, message in enumerate(sent):
        is_control = bool(controls) and place % controls == 0 and message.nature is Nature.USUAL
        task.take(message, 1_000 * (1 + place // lake.checkpoint), is_control=is_control)
    return task


def one_row(accepted_us: int, message: ScopeMessage, certain_us: int) -> RowRange:
    number, time_ns = message.sequence, message.event_time_ns
    assert number is not None
    certain = number if accepted_us < certain_us else -1
    at = FirstArrival(accepted_us, message.offset)
    times = (time_ns, time_ns, time_ns, time_ns)
    return RowRange(number, number, *times, 1, at, time_ns, certain)


def adopted(task: Worked, lake: Lake) -> tuple[dict[str, Rebuilt], list, list]:
    """The states rebuilt from what reached the lake, with the rows and events that did."""
    whole_us = 1_000 * lake.rows
    behind = [one for one in task.rows if one[0] == whole_us + 1_000][: lake.partial]
    rows = [one for one in task.rows if one[0] <= whole_us] + behind
    events = [one for one in task.events if one[0] <= 1_000 * lake.events]
    newest_us = max((one[0] for one in rows), default=0)
    told = sum(one[0] <= whole_us for one in task.events)
    is_whole = lake.tells and len(events) >= told
    newest_event_us = max((one[0] for one in events), default=0)
    certain_us = newest_us if is_whole else min(newest_us, newest_event_us)
    found = {}
    for scope in sorted({one.scope for _, one, _ in rows} | {one.scope for _, one in events}):
        ranges: dict[str, list[RowRange]] = {}
        for accepted_us, message, session in rows:
            if message.scope == scope:
                ranges.setdefault(session, []).append(one_row(accepted_us, message, certain_us))
        made = rebuilt(
            ScopeEvidence(
                scope,
                PARTITION,
                {name: joined(of) for name, of in ranges.items()},
                [event for _, event in events if event.scope == scope],
                certain_us,
                newest_us,
                10**12,
            )
        )
        if made is not None:
            found[scope] = made
    return found, rows, events


def missing_of(ledger: GapLedger, scope: str) -> Counter:
    return Counter(
        (gap.session, number)
        for gap in ledger.gaps([scope])
        for first, last in gap.missing
        for number in range(first, last + 1)
    )


def missing_in(state: ScopeState) -> Counter:
    return Counter(
        (session.id, number)
        for session in state.sessions
        for part in session.missing
        for number in range(part.start, part.end)
    )


@given(messages(huge=False, dead=True), rules, lakes, st.sampled_from([0, 3, 5]), st.booleans())
def test_what_is_sent_again_is_neither_doubled_nor_lost_and_the_ledger_agrees(
    sent: list[ScopeMessage],
    rule: SessionRule,
    lake: Lake,
    controls: int,
    expires: bool,
) -> None:
    sent = numbered(sent, rule)
    horizon_ms = HORIZON_MS if expires else LATE_HORIZON_MS
    task = worked(sent, rule, horizon_ms, lake, controls)
    found, rows, events = adopted(task, lake)
    ledger = GapLedger(10**6)
    for event in [event for _, event in events] + [e for one in found.values() for e in one.events]:
        ledger.apply(event)
    for scope, one in found.items():
        assert missing_in(one.state) == missing_of(ledger, scope)
    again = Worked(rule, horizon_ms, {scope: one.state for scope, one in found.items()})
    last_ms = max((one.append_ms for one in sent), default=0)
    for place, message in enumerate(sent):
        is_control = bool(controls) and place % controls == 0 and message.nature is Nature.USUAL
        again.take(replace(message, append_ms=last_ms), 10**9, is_control=is_control)
    for _, event in again.events:
        ledger.apply(event)
    in_lake = Counter((one.scope, session, one.sequence) for _, one, session in rows)
    then = Counter((one.scope, session, one.sequence) for _, one, session in again.rows)
    assert max((in_lake + then).values(), default=1) == 1
    stale = {number for number, verdict in again.verdicts if verdict is Verdict.STALE}
    accepted = {(one.scope, session, one.sequence) for _, one, session in task.rows}
    assert accepted - (in_lake + then).keys() <= stale
    for scope, state in again.states.items():
        assert missing_in(state) == missing_of(ledger, scope)


def known(state: ScopeState) -> list[tuple]:
    """What a state says of its sessions, in their order."""
    return [
        (
            one.id, one.first, one.expected, one.floor,
            [(part.start, part.end, part.gap_first, part.gap_last) for part in one.missing],
        )
        for one in state.sessions
    ]  # fmt: skip


@given(messages(huge=False), st.sampled_from(list(SessionRule)))
def test_a_lake_that_has_everything_gives_the_state_back(
    sent: list[ScopeMessage], rule: SessionRule
) -> None:
    sent = numbered(sent, rule)
    task = worked(sent, rule, HORIZON_MS, everything, 0)
    found, _, _ = adopted(task, everything)
    assert found.keys() == task.states.keys()
    for scope, state in task.states.items():
        made, events = found[scope]
        assert events == ()
        if rule is SessionRule.ORDERED:  # an old day may come late: its name has its place
            assert sorted(known(made)) == sorted(known(state))
        else:
            assert known(made) == known(state)
