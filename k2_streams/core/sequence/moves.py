"""The messages of a batch that are the next of their scope, or a copy: all scopes together.

A scope moves by a batch if each of its messages is of its current session and either the next
number or one received before, and nothing else follows from any of them: no gap, session or
conflict. Then its verdicts, and its row in the columns, are what `step` gives message by message.
The messages of all other scopes are left to that.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from k2_streams.core.dedup.duplicates import DuplicateCounter
from k2_streams.core.sequence.columns import UNKNOWN_NAME, Moves, Rows, ScopeColumns
from k2_streams.core.sequence.messages import Batch, Int8s, Int64s, natures_of
from k2_streams.core.sequence.sessions import RESET_SILENCE_NS, Counting, SessionRule
from k2_streams.core.sequence.step import MAX_SEQUENCE, Nature, Verdict

Bools = npt.NDArray[np.bool_]

#: As a tolerance: no repeat is later than its session by so much, some 146 years.
_ANY_TIME_NS = 2**62
_NEVER_NS = 2**63 - 1


class Moved(NamedTuple):
    """What a batch moves.

    Attributes:
        at: places in the batch of the messages concerned, by scope.
        verdicts: of each of them.
        session: of each, the index of its session's name in `ScopeColumns.names`.
        moves: of their scopes.
        duplicates: the copies among them.
        rest: places in the batch of all other messages, by scope.
    """

    at: Int64s
    verdicts: Int8s
    session: Int64s
    moves: Moves
    duplicates: DuplicateCounter
    rest: Int64s


def moved_by(
    batch: Batch, order: Int64s, columns: ScopeColumns, counting: Counting, horizon_ms: int
) -> Moved | None:
    """What a batch moves of the scopes in columns, which are not changed; None: nothing.

    Args:
        batch: the messages.
        order: places of those with a number, by scope, as they came within it.
        columns: of the partition's scopes.
        counting: how the messages' feed counts, where `batch.ruled` does not say it.
        horizon_ms: how long a gap waits for late records.
    """
    mover = _Mover(batch, columns, counting, horizon_ms)
    part = mover.known(order)
    part = part.of_scopes(part.all_of(mover.fits(part)))
    is_next, follows = mover.followed(part)
    moving = part.all_of(follows)
    if not moving.any():
        return None
    is_next, part = is_next[moving[part.scope]], part.of_scopes(moving)
    left = np.ones(len(batch.sequence), np.bool_)
    left[part.at] = False
    return Moved(
        part.at,
        np.where(is_next, np.int8(Verdict.IN_ORDER), np.int8(Verdict.DUPLICATE)),
        part.own("session"),
        Moves(part.slots, mover.rows_after(part, is_next), mover.lines_after(part)),
        mover.copies(part, ~is_next),
        order[left[order]],
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """Messages of scopes that have a row, by scope."""

    at: Int64s  # of each message its place in the batch
    scope: Int64s  # of each message: index into `slots`, `starts` and `rows`
    place: Int64s  # of each message, among those of its scope
    slots: Int64s  # of each scope
    starts: Int64s  # of each scope, where its messages begin
    rows: Rows  # of each scope

    @classmethod
    def of(cls, at: Int64s, sizes: Int64s, slots: Int64s, rows: Rows) -> "_Part":
        """Messages of scopes with so many each."""
        starts = np.cumsum(sizes) - sizes
        scope = np.repeat(np.arange(len(sizes)), sizes)
        return cls(at, scope, np.arange(len(at)) - starts[scope], slots, starts, rows)

    def of_scopes(self, kept: Bools) -> "_Part":
        """The messages of some of the scopes."""
        if kept.all():
            return self
        sizes = np.diff(self.starts, append=len(self.at))[kept]
        rows = self.rows.take(np.flatnonzero(kept))
        return self.of(self.at[kept[self.scope]], sizes, self.slots[kept], rows)

    def all_of(self, holds: Bools) -> Bools:
        """Of each scope, whether something holds for all its messages."""
        if not len(self.starts):
            return np.zeros(0, np.bool_)
        return np.logical_and.reduceat(holds, self.starts)

    def own(self, name: str) -> Int64s:
        """Of each message what its scope's row has."""
        found: Int64s = self.rows[name][self.scope]
        return found


class _Mover:
    """What one call of `moved_by` works with."""

    def __init__(
        self, batch: Batch, columns: ScopeColumns, counting: Counting, horizon_ms: int
    ) -> None:
        self._batch = batch
        self._columns = columns
        self._rules = [counting] if batch.ruled is None else batch.ruled.rules
        self._horizon_ms = horizon_ms

    def known(self, order: Int64s) -> _Part:
        """The messages of scopes that have a row."""
        slot = self._columns.slots(self._batch.scopes)[self._batch.scope[order]]
        at, slot = order[slot >= 0], slot[slot >= 0]
        starts = np.flatnonzero(np.diff(slot, prepend=-1))
        slots = slot[starts]
        sizes = np.diff(starts, append=len(at))
        return _Part.of(at, sizes, slots, self._columns.rows.take(slots))

    # -- which messages move their scope ---------------------------------------------------------

    def fits(self, part: _Part) -> Bools:
        """Of each message, whether it is of the current session, and no time says otherwise."""
        batch, at = self._batch, part.at
        time_ns, session = batch.event_time_ns[at], batch.session[at]
        number = np.array([*self._columns.numbers(batch.sessions), UNKNOWN_NAME])[session]
        by_time, oldest_ms = self._go_by_time(at), part.own("oldest_gap_ms")
        fits = (time_ns > 0) & (batch.sequence[at] < MAX_SEQUENCE)
        fits &= (
            self._have(at, SessionRule.NEVER)
            | (session < 0)
            | by_time
            | (number == part.own("session"))
        )
        fits &= ~by_time | (time_ns >= part.own("begins_ns"))
        fits &= natures_of(batch, at) == Nature.USUAL
        fits &= (oldest_ms == 0) | (oldest_ms + self._horizon_ms > batch.append_ms[at])
        has_lines = part.own("lines") > 0
        if batch.lined is None:
            return fits & ~has_lines
        line = batch.lined.line[at]
        return fits & np.where(has_lines, self._own_line(part).any(axis=1), line < 0)

    def _own_line(self, part: _Part) -> Bools:
        """Of each message, which of its scope's lines it came by; none if it is a new one."""
        lined = self._batch.lined
        assert lined is not None  # noqa: S101 - asked before
        # The last one is of messages that name none.
        number = np.array(self._columns.numbers([*lined.names, ""]))[lined.line[part.at]]
        own: Bools = self._columns.lines["line"][part.slots][part.scope] == number[:, np.newaxis]
        return own

    def _have(self, at: Int64s, rule: SessionRule) -> Bools:
        """Of each message, whether its feed's sessions begin so."""
        return self._of_rules(np.array([one.rule is rule for one in self._rules]), at)

    def _go_by_time(self, at: Int64s) -> Bools:
        """Of each message, whether its time says which session it is of: `goes_by_time`."""
        unnamed = self._batch.session[at] < 0
        declared = self._have(at, SessionRule.DECLARED)
        return self._have(at, SessionRule.FALL) | (declared & unnamed)

    def _of_rules(self, values: npt.NDArray[Any], at: Int64s) -> npt.NDArray[Any]:
        ruled = self._batch.ruled
        return values[np.zeros(len(at), np.int8) if ruled is None else ruled.rule[at]]

    def followed(self, part: _Part) -> tuple[Bools, Bools]:
        """Of each message, whether it is the next of its scope; and whether that, or a copy."""
        is_next: Bools = self._batch.sequence[part.at] - part.own("expected") == part.place
        follows = np.ones(len(part.at), np.bool_)
        mixed = ~part.all_of(is_next)
        if mixed.any():
            of_mixed = mixed[part.scope]
            is_next[of_mixed], follows[of_mixed] = self._followed_or_copied(part.of_scopes(mixed))
        return is_next, follows

    def _followed_or_copied(self, part: _Part) -> tuple[Bools, Bools]:
        batch, at = self._batch, part.at
        sequence, time_ns = batch.sequence[at], batch.event_time_ns[at]
        ahead = sequence - part.own("expected")
        highest = _running_maximum(np.maximum(ahead, -1), part.place)
        before = np.where(part.place > 0, np.roll(highest, 1), -1)
        is_next = ahead == before + 1
        is_copy = (ahead <= before) & (sequence >= part.own("least"))
        # A copy that is later than its session may be another message, or begin a session.
        last_ns = part.own("last_time_ns")
        accepted_ns = np.where(is_next, np.maximum(time_ns, last_ns), last_ns)
        late_ns = time_ns - _running_maximum(accepted_ns, part.place)
        is_copy &= late_ns <= self._of_rules(np.array(list(map(_tolerance_ns, self._rules))), at)
        is_copy &= ~self._go_by_time(at) | (time_ns - last_ns <= RESET_SILENCE_NS)
        return is_next, is_next | is_copy

    # -- what they move --------------------------------------------------------------------------

    def rows_after(self, part: _Part, is_next: Bools) -> Rows:
        """The rows of scopes all of whose messages are the next, or copies."""
        time_ns, starts = self._batch.event_time_ns[part.at], part.starts
        rows = self._columns.rows.take(part.slots)
        accepted = np.add.reduceat(is_next, starts, dtype=np.int64)
        latest_ns = np.maximum.reduceat(np.where(is_next, time_ns, 0), starts)
        earliest_ns = np.minimum.reduceat(np.where(is_next, time_ns, _NEVER_NS), starts)
        last = np.maximum.reduceat(np.where(is_next, np.arange(len(time_ns)), -1), starts)
        first_ns = rows["first_ns"]
        rows["expected"] += accepted
        rows["accepted"] += accepted
        rows["duplicates"] += np.diff(starts, append=len(time_ns)) - accepted
        rows["last_time_ns"] = np.maximum(rows["last_time_ns"], latest_ns)
        rows["last_ns"] = np.maximum(rows["last_ns"], latest_ns)
        rows["top_time_ns"] = np.where(accepted > 0, time_ns[last], rows["top_time_ns"])
        first_ns = np.where(first_ns > 0, np.minimum(first_ns, earliest_ns), earliest_ns)
        rows["first_ns"] = np.where(accepted > 0, first_ns, rows["first_ns"])
        return rows

    def lines_after(self, part: _Part) -> Rows | None:
        """How far each line of the scopes has come; None where no message came by one."""
        lined = self._batch.lined
        if lined is None or not part.rows["lines"].any():
            return None
        lines = self._columns.lines.take(part.slots)
        by_line = part.own("lines") > 0
        which = self._own_line(part)[by_line].argmax(axis=1)
        which += part.scope[by_line] * lines["line"].shape[1]
        at = part.at[by_line]
        reached = {"next": self._batch.sequence[at] + 1, "seen_ms": lined.now_ms[at]}
        for name, of_messages in reached.items():
            values = lines[name].ravel()
            np.maximum.at(values, which, of_messages)
            lines[name] = values.reshape(lines[name].shape)
        return lines

    def copies(self, part: _Part, is_copy: Bools) -> DuplicateCounter:
        """The numbers that came again, each as often as it did."""
        duplicates = DuplicateCounter()
        at, scope = part.at[is_copy], part.scope[is_copy]
        if not len(at):
            return duplicates
        lined, batch, names = self._batch.lined, self._batch, self._columns.names
        line = np.full(len(at), -1) if lined is None else lined.line[at]
        order = np.lexsort((batch.sequence[at], line, scope))
        at, scope, line = at[order], scope[order], line[order]
        number = batch.sequence[at]
        breaks = (np.diff(number) != 1) | (np.diff(line) != 0) | (np.diff(scope) != 0)
        starts = np.append(0, np.flatnonzero(breaks) + 1)
        ends = np.append(starts[1:], len(at)) - 1
        of_line = [*([] if lined is None else lined.names), ""]
        for scope_at, session, first, last, by in zip(
            batch.scope[at[starts]].tolist(),
            part.rows["session"][scope[starts]].tolist(),
            number[starts].tolist(),
            number[ends].tolist(),
            line[starts].tolist(),
            strict=True,
        ):
            duplicates.add(batch.scopes[scope_at], names[session], first, last, of_line[by])
        return duplicates


def _tolerance_ns(counting: Counting) -> int:
    ms = counting.tolerance_ms
    return _ANY_TIME_NS if ms is None else ms * 1_000_000


def _running_maximum(values: Int64s, place: Int64s) -> Int64s:
    """Of each value the largest up to it within its scope, where it stands at `place`.

    By doubling (Hillis and Steele, "Data parallel algorithms", CACM 29, 1986): as many passes as
    the largest scope's size has binary digits.
    """
    found, reach, longest = values, 1, int(place.max(initial=0)) + 1
    while reach < longest:
        rest = found[reach:]
        rest = np.where(place[reach:] >= reach, np.maximum(rest, found[:-reach]), rest)
        found = np.concatenate([found[:reach], rest])
        reach *= 2
    return found
