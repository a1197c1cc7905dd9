"""What messages in order, and their copies, move of each scope's state: one array for all scopes.

In the traffic of a day nearly every message is the next one of its scope's current session, or a
copy of one received. Such messages move a few numbers of a state and nothing else. These numbers
are a row per scope here, so that a batch moves the rows of all its scopes together (`moves`), at a
cost that follows its messages and not its scopes. A `ScopeState` is made of its row when somebody
reads it, or a checkpoint encodes it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from k2_streams.core.lines.state import LineAt, Lines
from k2_streams.core.records.name_numbers import NameNumbers
from k2_streams.core.sequence.expiry import oldest_gap_ms
from k2_streams.core.sequence.sessions import Session, begins_ns
from k2_streams.core.sequence.step import MAX_SEQUENCE, Counters, ScopeState

#: Names of sessions and lines that rows tell apart by number. A venue may name each connection's
#: session; above this many the columns are emptied, and fill again.
MAX_NAMES = 65_536
#: No line, and a line whose last message was of another session: messages of it are stepped.
NO_LINE, OTHER_SESSION = -1, -2
#: The number of a name that no row has.
UNKNOWN_NAME = -3
#: Without a bound: every event time is behind it.
_ALWAYS_NS = -(2**63)
_FIRST_SLOTS = 1_024

Int64s = npt.NDArray[np.int64]
Rows = npt.NDArray[np.void]

#: So many of a row's numbers move, the first ones; the others are of the state as it was loaded.
_MOVING = 7
#: One scope's row.
ROW = np.dtype(
    [
        (name, np.int64)
        for name in (
            "expected",  # of the current session, as the next two
            "last_time_ns",
            "top_time_ns",
            "accepted",  # of the counters, as the next three
            "duplicates",
            "first_ns",
            "last_ns",
            "session",  # the current one's name, by number
            "least",  # from this number of the current session on nothing is missing
            "begins_ns",  # an event time before it may be of an earlier session
            "oldest_gap_ms",  # append time of the oldest gap; 0: of none an age is known
            "lines",  # how many lines the scope knows; 0: its messages come by none
        )
    ]
)


class Moves(NamedTuple):
    """The rows of scopes after a batch.

    Attributes:
        slots: of the scopes.
        rows: their `ROW`s.
        lines: their lines, as `ScopeColumns.lines`; None: no message came by a line.
    """

    slots: Int64s
    rows: Rows
    lines: Rows | None


class ScopeColumns:
    """Rows of scopes, by slot. Holds nothing that the states given to it do not say.

    A scope has no slot while a line may still fill a gap of it, or its current session waits for
    an event time: its messages are stepped one by one.
    """

    def __init__(self) -> None:
        self.rows: Rows = np.zeros(_FIRST_SLOTS, ROW)
        self.lines: Rows = np.zeros(_FIRST_SLOTS, _lines_of(2))
        self._slots = NameNumbers()
        self._scopes: list[str] = []  # by slot, as the next two
        self._states: list[ScopeState | None] = []  # as loaded
        self._has_moved = np.zeros(_FIRST_SLOTS, np.bool_)
        self._free: list[int] = []
        self.names: list[str] = []  # of sessions and lines, by number
        self._numbers: dict[str, int] = {}

    @property
    def is_full(self) -> bool:
        """Whether there are as many names as may be: clear the columns, and they fill again."""
        return len(self.names) >= MAX_NAMES

    def slots(self, scopes: Sequence[str]) -> Int64s:
        """Of each scope its slot; -1: it has none."""
        return self._slots.of(scopes)

    def numbers(self, names: Iterable[str]) -> list[int]:
        """Of each session's or line's name the number that rows have for it."""
        return [self._numbers.get(name, UNKNOWN_NAME) for name in names]

    # -- changes ---------------------------------------------------------------------------------

    def load(self, states: Mapping[str, ScopeState]) -> None:
        """Take states that were made in another way; what was moved of these scopes before is gone.

        Those whose next message is to be stepped in any case get no slot.
        """
        slots: list[int] = []
        rows: list[tuple[int, ...]] = []
        for scope, state in states.items():
            if not _may_move(state):
                self.drop(scope)
                continue
            slot = self._slot(scope)
            self._states[slot] = state
            slots.append(slot)
            rows.append(self._row(state))
            if state.lines is not None:
                self._load_lines(slot, state.lines, state.sessions[-1].id)
        at = np.array(slots, np.int64)
        self.rows[at] = np.array(rows, ROW)
        self._has_moved[at] = False

    def move(self, moves: Moves) -> None:
        """Take what a batch has moved, before states of the same batch are loaded."""
        _put(self.rows, moves.slots, moves.rows)
        if moves.lines is not None:
            _put(self.lines, moves.slots, moves.lines)
        self._has_moved[moves.slots] = True

    def drop(self, scope: str) -> None:
        """Forget a scope, with what was moved of it."""
        slot = self._slots.pop(scope)
        if slot is not None:
            self._states[slot] = None
            self._has_moved[slot] = False
            self._free.append(slot)

    def clear(self) -> None:
        """Forget all scopes, with what was moved of them, and all names."""
        for scope in list(self._slots):
            self.drop(scope)
        self.names.clear()
        self._numbers.clear()

    # -- states ----------------------------------------------------------------------------------

    def take(self, scope: str) -> ScopeState | None:
        """The state of a scope that has moved, which then counts as loaded; None: it has not."""
        slot = self._slots.get(scope)
        if slot is None or not self._has_moved[slot]:
            return None
        return self._taken(np.array([slot]))[scope]

    def take_moved(self) -> dict[str, ScopeState]:
        """The states of all scopes that have moved, which then count as loaded."""
        return self._taken(np.flatnonzero(self._has_moved))

    def _taken(self, slots: Int64s) -> dict[str, ScopeState]:
        found: dict[str, ScopeState] = {}
        moved = _plain(self.rows)[slots, :_MOVING]
        for slot, row in zip(slots.tolist(), moved.tolist(), strict=True):
            base = self._states[slot]
            assert base is not None  # noqa: S101 - a slot in use has one
            state = self._states[slot] = self._after(base, row, slot)
            found[self._scopes[slot]] = state
        self._has_moved[slots] = False
        return found

    def _after(self, base: ScopeState, moved: Sequence[int], slot: int) -> ScopeState:
        """A state as its row has moved it."""
        expected, last_time_ns, top_time_ns, accepted, duplicates, first_ns, last_ns = moved
        was = base.sessions[-1]
        session = Session(
            was.id,
            was.first,
            expected,
            was.missing,
            was.floor,
            was.first_time_ns,
            last_time_ns,
            was.bottom_time_ns,
            top_time_ns,
            was.dead,
            was.dead_floor,
        )
        counted = base.counters
        counters = Counters(
            accepted,
            duplicates,
            counted.late,
            counted.stale,
            counted.resets,
            counted.gaps_opened,
            counted.gaps_filled,
            counted.numbers_abandoned,
            first_ns,
            last_ns,
            counted.conflicts,
        )
        lines = base.lines if base.lines is None else self._lines_after(base.lines, slot)
        return ScopeState((*base.sessions[:-1], session), base.dropped, counters, lines)

    def _lines_after(self, base: Lines, slot: int) -> Lines:
        of = self.lines[slot]
        moved = zip(base.at, of["next"].tolist(), of["seen_ms"].tolist(), strict=False)
        at = (LineAt(one.name, one.session, following, seen) for one, following, seen in moved)
        return Lines(tuple(at), ())

    # -- rows ------------------------------------------------------------------------------------

    def _row(self, state: ScopeState) -> tuple[int, ...]:
        session, counters, last = state.sessions[-1], state.counters, len(state.sessions) - 1
        is_first = not last and not state.dropped
        return (
            session.expected,
            session.last_time_ns,
            session.top_time_ns,
            counters.accepted,
            counters.duplicates,
            counters.first_time_ns,
            counters.last_time_ns,
            self._number(session.id),
            max(session.floor, session.first, session.missing[-1].end if session.missing else 0),
            _ALWAYS_NS if is_first else begins_ns(state.sessions, last),
            oldest_gap_ms(state),
            0 if state.lines is None else len(state.lines.at),
        )

    def _load_lines(self, slot: int, lines: Lines, session: str) -> None:
        width = self.lines["line"].shape[1]
        if len(lines.at) > width:
            wider = np.zeros(len(self.lines), _lines_of(max(len(lines.at), 2 * width)))
            wider["line"] = NO_LINE
            for name in ("line", "next", "seen_ms"):
                wider[name][:, :width] = self.lines[name]
            self.lines = wider
        of = self.lines[slot]
        of["line"] = NO_LINE
        for place, one in enumerate(lines.at):
            is_of_it = one.session == session
            of["line"][place] = self._number(one.name) if is_of_it else OTHER_SESSION
            of["next"][place], of["seen_ms"][place] = one.next, one.seen_ms

    def _number(self, name: str) -> int:
        number = self._numbers.setdefault(name, len(self.names))
        if number == len(self.names):
            self.names.append(name)
        return number

    def _slot(self, scope: str) -> int:
        slot = self._slots.get(scope)
        if slot is not None:
            return slot
        if self._free:
            slot = self._free.pop()
            self._scopes[slot] = scope
        else:
            slot = len(self._scopes)
            self._scopes.append(scope)
            self._states.append(None)
            if slot == len(self.rows):
                self.rows, self.lines = _doubled(self.rows), _doubled(self.lines)
                self._has_moved = _doubled(self._has_moved)
        self._slots.put(scope, slot)
        return slot


def _may_move(state: ScopeState) -> bool:
    """Whether messages in order may move the state's row alone."""
    lines = state.lines
    if not state.sessions or (lines is not None and (lines.held or not lines.at)):
        return False
    current = state.sessions[-1]
    # A session without a time takes that of any message.
    return current.first_time_ns > 0 and current.expected <= MAX_SEQUENCE


def _lines_of(width: int) -> np.dtype[np.void]:
    """Of a scope's lines, as its state orders them: the number of the name, and how far it is."""
    return np.dtype([(name, np.int64, (width,)) for name in ("line", "next", "seen_ms")])


def _plain(rows: Rows) -> Int64s:
    """The numbers of rows, one row of a table each, in the same memory.

    numpy copies rows whose fields have names by a call each: what moves as a whole takes a tenth
    of the time this way.
    """
    return rows.view(np.int64).reshape(len(rows), rows.dtype.itemsize // 8)


def _put(rows: Rows, slots: Int64s, changed: Rows) -> None:
    _plain(rows)[slots] = _plain(changed)


def _doubled(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.concatenate([array, np.zeros_like(array)])
