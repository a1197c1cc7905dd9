"""A scope's messages by lines, a batch at once: what folding `lines.step` over them gives.

In the traffic of a day each number comes once a line, a little apart, and the first copies follow
each other: then one look at the running maximum says of all which are first and which are copies.
Where that is not so (something is missing, a session begins, a time is odd), each message goes
through `lines.step`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from k2_streams.core.dedup.duplicates import DuplicateCounter
from k2_streams.core.lines.state import LineAt, Lines
from k2_streams.core.lines.stats import LineKey, LineStats, alive
from k2_streams.core.lines.step import MAX_LINES, Arrival, step
from k2_streams.core.records.events import Event
from k2_streams.core.sequence.horizon import is_due
from k2_streams.core.sequence.sessions import (
    RESET_SILENCE_NS,
    Counting,
    Session,
    SessionRule,
    begins_ns,
    goes_by_time,
)
from k2_streams.core.sequence.step import (
    ACCEPTED,
    Counters,
    ScopeMessage,
    ScopeState,
    SequenceLimits,
    Verdict,
)

Int8s = npt.NDArray[np.int8]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

_ACCEPTED = np.zeros(max(Verdict) + 1, dtype=bool)
_ACCEPTED[[int(verdict) for verdict in ACCEPTED]] = True


@dataclass(slots=True)
class Lined:
    """By which line each message of a batch came, and when."""

    names: list[str]
    line: Int32s  # index into `names`; -1: none named
    now_ms: Int64s  # the partition's time at each message: it never falls
    seen_ms: dict[LineKey, int]  # before the batch, of every line

    def of(self, members: Int64s) -> "Lined":
        """The same of some of the messages."""
        return Lined(self.names, self.line[members], self.now_ms[members], self.seen_ms)

    def line_at(self, index: int) -> str:
        """The line that a message names, "" for none."""
        at = int(self.line[index])
        return self.names[at] if at >= 0 else ""


class Alive:
    """Which lines were alive at a message of a batch: asked only where a gap may open."""

    def __init__(self, lined: Lined, exchange: Int32s, exchanges: list[str]) -> None:
        self._lined = lined
        self._exchange = exchange  # of each message: index into `exchanges`
        self._exchanges = exchanges
        self._places: dict[LineKey, Int64s] | None = None

    def at(self, index: int) -> tuple[str, ...]:
        """The lines of the message's exchange, with its own."""
        if self._places is None:
            self._places = self._by_line()
        lined, exchange = self._lined, self._exchanges[self._exchange[index]]
        seen_ms = {key: ms for key, ms in lined.seen_ms.items() if key[0] == exchange}
        for key, places in self._places.items():
            before = int(np.searchsorted(places, index, side="right"))
            if key[0] == exchange and before:
                seen_ms[key] = int(lined.now_ms[places[before - 1]])
        return alive(seen_ms, exchange, int(lined.now_ms[index]))

    def _by_line(self) -> dict[LineKey, Int64s]:
        lined = self._lined
        named = np.flatnonzero(lined.line >= 0)
        code = self._exchange[named].astype(np.int64) * len(lined.names) + lined.line[named]
        return {
            (self._exchanges[one // len(lined.names)], lined.names[one % len(lined.names)]): named[
                code == one
            ]
            for one in np.unique(code).tolist()
        }


class ScopePart(NamedTuple):
    """One scope's messages of a batch, in their order; arrays have one entry each."""

    scope: str
    partition: int
    places: npt.NDArray[np.intp]  # in the batch
    sequence: Int64s
    session: Int32s  # index into the batch's names; -1: none
    event_time_ns: Int64s
    offset: Int64s
    append_ms: Int64s
    counting: Counting | None  # how their feed counts; None: they are of feeds that differ in it


@dataclass(slots=True)
class ScopeStep:
    """What they brought about."""

    state: ScopeState | None
    verdicts: Int8s
    sessions: list[str]
    events: list[tuple[int, tuple[Event, ...]]] = field(default_factory=list)  # by batch index
    duplicates: DuplicateCounter = field(default_factory=DuplicateCounter)


@dataclass(frozen=True, slots=True)
class Stepper:
    """What the messages of all scopes of a batch are classified with.

    Attributes:
        names: of the batch's sessions.
        lined: by which lines its messages came.
        alive_at: the lines that were alive at a message of the batch.
        counting_at: how the feed of a message of the batch counts.
        horizon_ms: how long a missing number is waited for.
        limits: what each scope keeps at most.
    """

    names: list[str]
    lined: Lined
    alive_at: Callable[[int], tuple[str, ...]]
    counting_at: Callable[[int], Counting]
    horizon_ms: int
    limits: SequenceLimits

    def step(self, state: ScopeState | None, part: ScopePart) -> ScopeStep:
        """Classify one scope's messages, all of which have a number."""
        if state is not None and not is_due(
            state.sessions, int(part.append_ms.max()), self.horizon_ms
        ):
            quick = self._quickly(state, part)
            if quick is not None:
                return quick
        return self._one_by_one(state, part)

    def _one_by_one(self, state: ScopeState | None, part: ScopePart) -> ScopeStep:
        out = ScopeStep(state, np.empty(len(part.places), np.int8), [])
        columns = (
            part.places, part.sequence, part.session, part.event_time_ns, part.offset,
            part.append_ms,
        )  # fmt: skip
        fields = zip(*(column.tolist() for column in columns), strict=True)
        for place, (index, sequence, session, time_ns, offset, append_ms) in enumerate(fields):
            line = self.lined.line_at(index)
            message = ScopeMessage(
                sequence,
                self.names[session] if session >= 0 else None,
                time_ns,
                part.scope,
                part.partition,
                offset,
                append_ms,
            )
            arrival = Arrival(line, int(self.lined.now_ms[index]), self.alive_at(index))
            rule, tolerance_ms = part.counting or self.counting_at(index)
            after = step(
                out.state, message, arrival, rule, self.horizon_ms, tolerance_ms, self.limits
            )
            out.state = after.state
            out.verdicts[place] = after.verdict
            out.sessions.append(after.session_id)
            if after.events:
                out.events.append((index, after.events))
            if after.verdict is Verdict.DUPLICATE:
                out.duplicates.add(part.scope, after.session_id, sequence, sequence, line)
        return out

    def _quickly(self, state: ScopeState, part: ScopePart) -> ScopeStep | None:
        """The same for messages of the current session that are next, or copies; None: not so."""
        if part.counting is None:
            return None
        rule, tolerance_ms = part.counting
        session = _settled_session(state, part, self.names, rule)
        if session is None or state.lines is None:
            return None
        sequence = part.sequence
        highest = np.maximum.accumulate(sequence)
        before = np.concatenate(
            ([session.expected - 1], np.maximum(highest, session.expected - 1)[:-1])
        )
        following = sequence == before + 1
        least = max(session.floor, session.first, session.missing[-1].end if session.missing else 0)
        if not (following | ((sequence <= before) & (sequence >= least))).all():
            return None
        if tolerance_ms is not None and _is_used_twice(
            session, following, part.event_time_ns, tolerance_ms
        ):
            return None
        lines = _lines_after(state.lines, part, self.lined, session.id)
        if lines is None:
            return None
        times_ns = part.event_time_ns[following]
        accepted, copies = len(times_ns), len(sequence) - len(times_ns)
        was = state.counters
        counters = msgspec.structs.replace(was, duplicates=was.duplicates + copies)
        if accepted:
            session = msgspec.structs.replace(
                session,
                expected=session.expected + accepted,
                last_time_ns=max(session.last_time_ns, int(times_ns.max())),
                top_time_ns=int(times_ns[-1]),
            )
            counters = _counted(counters, accepted, int(times_ns.min()), int(times_ns.max()))
        out = ScopeStep(
            ScopeState((*state.sessions[:-1], session), state.dropped, counters, lines),
            np.where(following, np.int8(Verdict.IN_ORDER), np.int8(Verdict.DUPLICATE)),
            [session.id] * len(sequence),
        )
        _count_copies(out.duplicates, part, self.lined, session.id, ~following)
        return out


def _is_used_twice(
    session: Session, following: npt.NDArray[np.bool_], times_ns: Int64s, tolerance_ms: int
) -> bool:
    """Whether a copy is later than all that was accepted before it: see `Session.is_before`."""
    accepted = np.where(following, times_ns, session.last_time_ns)
    last_ns = np.maximum.accumulate(np.maximum(accepted, session.last_time_ns))
    newer = times_ns > last_ns + tolerance_ms * 1_000_000
    return bool(newer[~following].any())


def _counted(was: Counters, accepted: int, earliest_ns: int, latest_ns: int) -> Counters:
    first = min(was.first_time_ns, earliest_ns) if was.first_time_ns else earliest_ns
    return msgspec.structs.replace(
        was,
        accepted=was.accepted + accepted,
        first_time_ns=first,
        last_time_ns=max(was.last_time_ns, latest_ns),
    )


def _settled_session(
    state: ScopeState, part: ScopePart, names: list[str], rule: SessionRule
) -> Session | None:
    """The current session, if all messages are plainly of it; None if that needs a closer look."""
    if not state.sessions or state.lines is None or state.lines.held:
        return None
    current = state.sessions[-1]
    earliest, latest = int(part.event_time_ns.min()), int(part.event_time_ns.max())
    if earliest <= 0 or current.first_time_ns <= 0:
        return None
    for named in np.unique(part.session).tolist():
        name = names[named] if named >= 0 else None
        if goes_by_time(rule, name):
            if earliest < begins_ns(state.sessions, len(state.sessions) - 1):
                return None
            if latest - RESET_SILENCE_NS > current.last_time_ns:
                return None
        elif rule is not SessionRule.NEVER and name is not None and name != current.id:
            return None
    return current


def _lines_after(lines: Lines, part: ScopePart, lined: Lined, session: str) -> Lines | None:
    """The scope's lines after its messages; None if one had to be forgotten on the way."""
    known = {line.name: line for line in lines.at}
    line, now_ms = lined.line[part.places], lined.now_ms[part.places]
    for code in np.unique(line).tolist():
        mine = line == code
        name = lined.names[code] if code >= 0 else ""
        highest = int(part.sequence[mine].max()) + 1
        was = known.get(name)
        if was is not None and was.session == session:
            highest = max(highest, was.next)
        known[name] = LineAt(name, session, highest, int(now_ms[mine][-1]))
    if len(known) > MAX_LINES:
        return None
    return Lines(tuple(known[name] for name in sorted(known)), ())


def _count_copies(
    duplicates: DuplicateCounter,
    part: ScopePart,
    lined: Lined,
    session: str,
    copies: npt.NDArray[np.bool_],
) -> None:
    line = lined.line[part.places]
    for code in np.unique(line[copies]).tolist():
        numbers = np.sort(part.sequence[copies & (line == code)])
        name = lined.names[code] if code >= 0 else ""
        cuts = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), len(numbers)]
        for start, end in pairwise(cuts):
            duplicates.add(part.scope, session, int(numbers[start]), int(numbers[end - 1]), name)


@dataclass(frozen=True, slots=True)
class Copies:
    """What each message of a batch brought; arrays have one entry each.

    Counted is what can be recognised: a message by its number, else its trades by their ids.
    """

    received: Int64s
    first: Int64s  # of them new: no other line was earlier

    def of_members(self, members: Int64s) -> "Copies":
        """The same of some of the messages."""
        return Copies(self.received[members], self.first[members])

    @classmethod
    def of(
        cls, verdicts: Int8s, by_id: npt.NDArray[np.bool_], ids: Int64s, new_ids: Int64s
    ) -> "Copies":
        """Count what the sequence and the dedup found.

        Args:
            verdicts: of each message.
            by_id: whether its trades are identified by their ids, whatever its number says.
            ids: how many of its trades have an id.
            new_ids: how many of these were not seen before.
        """
        numbered = verdicts != Verdict.UNSEQUENCED
        return cls(
            np.where(by_id, ids, numbered), np.where(by_id, new_ids, numbered & _ACCEPTED[verdicts])
        )


def stats_of(
    lined: Lined,
    exchange: Int32s,
    exchanges: list[str],
    copies: Copies,
    event_time_ns: Int64s,
) -> list[LineStats]:
    """What a batch adds to the figures of its lines."""
    named = np.flatnonzero(lined.line >= 0)
    if not len(named):
        return []
    code = exchange[named].astype(np.int64) * len(lined.names) + lined.line[named]
    codes, which = np.unique(code, return_inverse=True)
    timed = event_time_ns[named] > 0
    delay_ms = np.where(timed, lined.now_ms[named] - event_time_ns[named] // 1_000_000, 0)

    def summed(values: Int64s) -> Int64s:
        sums = np.zeros(len(codes), np.int64)
        np.add.at(sums, which, values)
        return sums

    seen = np.zeros(len(codes), np.int64)
    np.maximum.at(seen, which, lined.now_ms[named])
    figures = (
        codes,
        seen,
        summed(copies.received[named]),
        summed(copies.first[named]),
        summed(delay_ms),
        summed(timed.astype(np.int64)),
    )
    return [
        LineStats(exchanges[one // len(lined.names)], lined.names[one % len(lined.names)], *of_line)
        for one, *of_line in zip(*(column.tolist() for column in figures), strict=True)
    ]
