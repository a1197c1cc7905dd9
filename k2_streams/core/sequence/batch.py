"""The sequence of a whole batch at once: what folding `step` over it gives, many times faster.

Messages are sorted by scope (stably). The scopes whose messages only move their row in the columns
are classified all together (`moves`). Those of the others are cut into runs of +1. A run that
continues its session, or repeats what was received, is one new state for all of it; every other
message goes through `step`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from operator import attrgetter

import numpy as np
import numpy.typing as npt

from k2_streams.core.dedup.duplicates import DuplicateCounter
from k2_streams.core.lines.batch import Alive, ScopePart, Stepper
from k2_streams.core.records.events import Event
from k2_streams.core.sequence.columns import Moves, ScopeColumns
from k2_streams.core.sequence.horizon import LATE_HORIZON_MS
from k2_streams.core.sequence.messages import Batch, Int8s, Int32s, counting_at, natures_of
from k2_streams.core.sequence.moves import moved_by
from k2_streams.core.sequence.run import Run, Same, alike, extended, repeated
from k2_streams.core.sequence.sessions import (
    CONFLICT_TOLERANCE_MS,
    DEFAULT_SESSION,
    Counting,
    Session,
    SessionRule,
)
from k2_streams.core.sequence.step import (
    ACCEPTED,
    SEQUENCE_LIMITS,
    Nature,
    ScopeMessage,
    ScopeState,
    SequenceLimits,
    Verdict,
    step,
)

#: Up to so many scopes a sort by radix orders them: numpy has it for 16-bit integers only.
_RADIX_SCOPES = 2**16


@dataclass(slots=True)
class BatchStep:
    """What a batch brought about."""

    verdicts: Int8s
    session: Int32s  # index into `session_names`
    session_names: list[str]
    states: dict[str, ScopeState]  # of the scopes that changed, but for those of `moves`
    events: list[Event]  # in the order of the messages that caused them
    duplicates: DuplicateCounter = field(default_factory=DuplicateCounter)
    moves: Moves | None = None  # of the columns' scopes whose row alone changed


def step_batch(
    states: Callable[[str], ScopeState | None],
    batch: Batch,
    rule: SessionRule,
    horizon_ms: int = LATE_HORIZON_MS,
    tolerance_ms: int | None = CONFLICT_TOLERANCE_MS,
    limits: SequenceLimits = SEQUENCE_LIMITS,
    columns: ScopeColumns | None = None,
) -> BatchStep:
    """Classify a batch.

    Args:
        states: the state of a scope, None if it is new; asked once for each scope with a number
            that does not move by its row alone.
        batch: the messages.
        rule: how the feed's sessions begin. `batch.ruled` says it and the tolerance of each
            message where feeds differ.
        horizon_ms: how long a gap waits for late records.
        tolerance_ms: how much later than all of its session a repeat may be; None: any time.
        limits: what each scope keeps at most.
        columns: rows of scopes, not changed by the call; None: each scope is looked at by itself.

    Returns:
        Exactly what `step` on each message in turn gives, however the messages were cut into
        batches, with the duplicates counted beside it.
    """
    stepper = _BatchStepper(batch, Counting(rule, tolerance_ms), horizon_ms, limits)
    return stepper.run(states, columns)


class _BatchStepper:
    """The working state of one `step_batch`."""

    def __init__(
        self, batch: Batch, counting: Counting, horizon_ms: int, limits: SequenceLimits
    ) -> None:
        count = len(batch.sequence)
        self._batch = batch
        self._counting = counting
        self._horizon_ms = horizon_ms
        self._limits = limits
        self._names: dict[str, int] = {}
        self._result = BatchStep(
            np.full(count, Verdict.UNSEQUENCED, np.int8), np.zeros(count, np.int32), [], {}, []
        )
        self._numbered = self._in_scope_order()
        self._by_lines = None
        if batch.lined is not None:
            self._by_lines = _ByLines(batch, counting, horizon_ms, limits)
        # What consecutive messages, in the order of scopes, have in common.
        self._sizes: list[int] = []
        self._verdicts: list[int] = []
        self._sessions: list[int] = []
        self._events: list[tuple[int, tuple[Event, ...]]] = []

    def run(
        self, states: Callable[[str], ScopeState | None], columns: ScopeColumns | None
    ) -> BatchStep:
        """The whole batch: the scopes of the columns that move, then the others one by one."""
        result, batch = self._result, self._batch
        self._leave_unsequenced()
        if columns is not None:
            self._move(columns)
        for scope, group in groupby(self._runs(), key=attrgetter("scope")):
            state = states(batch.scopes[scope])
            if self._by_lines is not None and self._by_lines.concern(scope, state):
                *_, last = runs = list(group)
                state = self._take_lined(self._by_lines, state, scope, runs[0].start, last.end)
            else:
                for run in group:
                    state = self._take(state, run)
            if state is not None:
                result.states[batch.scopes[scope]] = state
        result.verdicts[self._numbered] = np.repeat(np.array(self._verdicts, np.int8), self._sizes)
        result.session[self._numbered] = np.repeat(np.array(self._sessions, np.int32), self._sizes)
        self._events.sort(key=lambda caused: caused[0])
        result.events = [event for _, events in self._events for event in events]
        result.session_names = list(self._names)
        return result

    def _move(self, columns: ScopeColumns) -> None:
        """Classify the messages of scopes that move by their row alone."""
        found = moved_by(self._batch, self._numbered, columns, self._counting, self._horizon_ms)
        if found is None:
            return
        numbers, of = np.unique(found.session, return_inverse=True)
        names = np.array([self._name(columns.names[at]) for at in numbers.tolist()], np.int32)
        result = self._result
        result.verdicts[found.at], result.session[found.at] = found.verdicts, names[of]
        result.duplicates, result.moves = found.duplicates, found.moves
        self._numbered = found.rest

    def _in_scope_order(self) -> npt.NDArray[np.intp]:
        """The messages with a number, by scope; within a scope as they came."""
        batch = self._batch
        numbered = np.flatnonzero(batch.sequence >= 0)
        scope = batch.scope[numbered]
        if len(batch.scopes) <= _RADIX_SCOPES:
            scope = scope.astype(np.uint16)
        return numbered[np.argsort(scope, kind="stable")]

    def _leave_unsequenced(self) -> None:
        """Messages without a number: of the session they name, or of the default one."""
        if len(self._numbered) == len(self._batch.sequence):
            return
        named = self._batch.session
        for index in np.unique(named[self._batch.sequence < 0]).tolist():
            name = self._batch.sessions[index] if index >= 0 else DEFAULT_SESSION
            where = (named == index) & (self._batch.sequence < 0)
            self._result.session[where] = self._name(name)

    def _runs(self) -> list[Run]:
        """The numbered messages as maximal runs."""
        if not len(self._numbered):
            return []
        batch, order = self._batch, self._numbered
        scope, session = batch.scope[order], batch.session[order]
        sequence, time_ns = batch.sequence[order], batch.event_time_ns[order]
        breaks = np.diff(sequence) != 1
        breaks |= np.diff(scope) != 0
        breaks |= np.diff(session) != 0
        if batch.ruled is not None:
            breaks |= np.diff(batch.ruled.rule[order]) != 0
        if batch.nature is not None:  # each message that is not usual is a run of its own
            unusual = batch.nature[order] != Nature.USUAL
            breaks |= unusual[1:] | unusual[:-1]
        starts = np.concatenate(([0], np.flatnonzero(breaks) + 1))
        columns = (
            starts,
            np.append(starts[1:], len(order)),
            scope[starts],
            session[starts],
            sequence[starts],
            np.minimum.reduceat(time_ns, starts),
            np.maximum.reduceat(time_ns, starts),
            np.maximum.reduceat(batch.append_ms[order], starts),
        )
        return [
            Run._make(run) for run in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def _take(self, state: ScopeState | None, run: Run) -> ScopeState | None:
        """The scope's state after a run."""
        name = self._batch.sessions[run.session] if run.session >= 0 else None
        counting = counting_at(self._batch, self._counting, int(self._numbered[run.start]))
        rule, tolerance_ms = counting
        at = run.start
        is_usual = not natures_of(self._batch, self._numbered[at : at + 1]).any()
        whole = True  # every message so far brought its time to the session
        while at < run.end:
            same = None
            if state and is_usual:
                same = alike(state, rule, name, run, at, self._horizon_ms)
            if state is not None and same is not None and same.verdict is Verdict.DUPLICATE:
                same = self._repeats(run, at, same, state.sessions[same.at], tolerance_ms)
            if state is None or same is None:
                state, verdict = self._step(state, run, at, name, counting)
                whole = at == run.start and verdict in ACCEPTED
                at += 1
                continue
            session = state.sessions[same.at].id
            self._note(same.size, same.verdict, session)
            if same.verdict is Verdict.DUPLICATE:
                whole = False
                state = repeated(state, same)
                first = run.sequence + at - run.start
                scope = self._batch.scopes[run.scope]
                self._result.duplicates.add(scope, session, first, first + same.size - 1)
            else:
                top_ns = int(self._batch.event_time_ns[self._numbered[at + same.size - 1]])
                state = extended(state, same, *self._times(run, at, whole), top_ns)
            at += same.size
        return state

    def _take_lined(
        self, by_lines: "_ByLines", state: ScopeState | None, scope: int, start: int, end: int
    ) -> ScopeState | None:
        """The scope's state after its messages, some of which came by lines."""
        batch, index = self._batch, self._numbered[start:end]
        part = ScopePart(
            batch.scopes[scope],
            batch.partition,
            index,
            batch.sequence[index],
            batch.session[index],
            batch.event_time_ns[index],
            batch.offset[index],
            batch.append_ms[index],
            natures_of(batch, index),
        )
        after = by_lines.stepper.step(state, part)
        for verdict, session in zip(after.verdicts.tolist(), after.sessions, strict=True):
            self._note(1, verdict, session)
        self._events += after.events
        self._result.duplicates.update(after.duplicates)
        return after.state

    def _repeats(
        self, run: Run, at: int, same: Same, session: Session, tolerance_ms: int | None
    ) -> Same | None:
        """How many of a run's numbers seen before are repeats by their times too; None: not one."""
        if tolerance_ms is None or not session.is_before(run.latest_ns, tolerance_ms):
            return same
        times = self._batch.event_time_ns[self._numbered[at : at + same.size]]
        if session.is_before(int(times[0]), tolerance_ms):
            return None
        newer = times > session.last_time_ns + tolerance_ms * 1_000_000
        return same._replace(size=int(np.argmax(newer))) if newer.any() else same

    def _times(self, run: Run, at: int, whole: bool) -> tuple[int, int]:
        """The earliest and latest event time that a run from `at` on brings to its session.

        A duplicate's time counts nowhere: those of the whole run stand only if it has none.
        """
        if whole:
            return run.earliest_ns, run.latest_ns
        rest = self._batch.event_time_ns[self._numbered[at : run.end]]
        return int(rest.min()), int(rest.max())

    def _step(
        self, state: ScopeState | None, run: Run, at: int, name: str | None, counting: Counting
    ) -> tuple[ScopeState | None, Verdict]:
        """The scope's state after one message that is not like its neighbours, and the verdict."""
        batch, index = self._batch, int(self._numbered[at])
        sequence = run.sequence + at - run.start
        message = ScopeMessage(
            sequence,
            name,
            int(batch.event_time_ns[index]),
            batch.scopes[run.scope],
            batch.partition,
            int(batch.offset[index]),
            int(batch.append_ms[index]),
            Nature.USUAL if batch.nature is None else Nature(int(batch.nature[index])),
        )
        rule, tolerance_ms = counting
        after = step(state, message, rule, self._horizon_ms, tolerance_ms, self._limits)
        self._note(1, after.verdict, after.session_id)
        if after.events:
            self._events.append((index, after.events))
        if after.verdict is Verdict.DUPLICATE:
            self._result.duplicates.add(message.scope, after.session_id, sequence, sequence)
        return after.state, after.verdict

    def _note(self, size: int, verdict: int, session: str) -> None:
        """The next so many messages have this verdict and session."""
        self._sizes.append(size)
        self._verdicts.append(verdict)
        self._sessions.append(self._name(session))

    def _name(self, session: str) -> int:
        """The index of a session's name in the result."""
        return self._names.setdefault(session, len(self._names))


class _ByLines:
    """Which scopes of a batch have lines, and what is known of the lines."""

    def __init__(
        self, batch: Batch, counting: Counting, horizon_ms: int, limits: SequenceLimits
    ) -> None:
        assert batch.lined is not None  # noqa: S101 - asked before
        self.lined = batch.lined
        alive = Alive(self.lined, batch.scopes, batch.scope)
        self.stepper = Stepper(
            batch.sessions,
            self.lined,
            alive.at,
            partial(counting_at, batch, counting),
            horizon_ms,
            limits,
        )
        self._named = np.zeros(len(batch.scopes), bool)
        self._named[batch.scope[self.lined.line >= 0]] = True

    def concern(self, scope: int, state: ScopeState | None) -> bool:
        """Whether a scope's messages came by lines, now or before."""
        return bool(self._named[scope]) or (state is not None and state.lines is not None)
