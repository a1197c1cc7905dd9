"""What must come of recorded messages whose rows are not identified by a number of their own.

A message may hold any number of trades, its number may count over a connection or a book, and it
may come by several redundant lines. As `expected` this shares no code with the sequencer: it
remembers every number and every id.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from k2_streams.testing.oracle.model import Expected, Range, SessionTruth, ranges_of


class Traded(NamedTuple):
    """A trade of a message."""

    scope: str  # EXCHANGE:SYMBOL of its row
    id: str | None  # that identifies it; None: its position in the message does
    value: int  # what it is worth


class MessageContent(NamedTuple):
    """A message's content, as far as the model needs it."""

    scope: str  # what its number counts over: the key
    session: str
    number: int | None
    trades: Sequence[Traded] = ()


@dataclass(slots=True)
class _LinedSession:
    """A session's numbers that come by redundant lines."""

    received: set[int] = field(default_factory=set)
    first: int = -1
    late: set[int] = field(default_factory=set)
    repeated: list[int] = field(default_factory=list)
    top: dict[str, int] = field(default_factory=dict)  # by line, its highest

    def take(self, number: int, line: str) -> bool:
        """Whether it is the first copy."""
        self.top[line] = max(self.top.get(line, -1), number)
        if number in self.received:
            self.repeated.append(number)
            return False
        if not self.received:
            self.first = number
        elif number < self.first:
            self.late.add(number)
            self.first = number
        self.received.add(number)
        return True

    def gaps(self) -> list[Range]:
        """What no line brought, once all have passed it: until then it is no gap yet."""
        passed = min(self.top.values())
        lost = sorted(set(range(self.first, max(self.received))) - self.received)
        return [gap for gap in ranges_of(lost) if gap[1] < passed]


@dataclass(slots=True)
class _Rows:
    """The rows of one symbol and session."""

    ids: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    count: int = 0
    value: int = 0


class ExpectedMessages:
    """Fed with messages in sending order; gives the expected results.

    Args:
        rows_by: what identifies a row: "sequence", "trade_id", or "place" for nothing.
        lined: messages come by redundant lines.
    """

    def __init__(self, rows_by: str, *, lined: bool) -> None:
        self.rows_by = rows_by
        self._plain = Expected()
        self._lined: dict[tuple[str, str], _LinedSession] = {}
        self._session: dict[str, str] = {}  # of a scope with lines
        self._is_lined = lined
        self._rows: dict[tuple[str, str], _Rows] = {}
        self._seen: set[tuple[str, str, str]] = set()  # the counting scope, the row's, the id
        self._repeated_ids: dict[tuple[str, str], int] = {}
        self.controls = 0
        self.repeated = 0  # messages of which every trade came before

    def take(self, content: MessageContent, line: str | None) -> None:
        """The next message."""
        late = False
        if content.number is not None:
            is_first, late = self._number(content, content.number, line)
            if not is_first:
                return
        if not content.trades:
            self.controls += 1
            return
        kept = [trade for trade in content.trades if self._is_new(content, trade)]
        self.repeated += not kept
        for trade in kept:
            rows = self._rows.setdefault((trade.scope, content.session), _Rows())
            number = rows.count
            if self.rows_by == "sequence":
                assert content.number is not None  # noqa: S101 - it identifies the rows
                number = content.number
            elif trade.id is not None:
                rows.ids.append(trade.id)
            rows.numbers.append(number)
            rows.late += [number] if late else []
            rows.count += 1
            rows.value += trade.value

    def truths(self) -> Iterable[SessionTruth]:
        """What must have come of each session, by scope."""
        truths = {(one.scope, one.session): one for one in self._plain.truths()}
        for truth in truths.values():
            truth.dead = []  # a number without a row of its own is no dead letter's here
        for session, lined in self._lined.items():
            truths[session] = SessionTruth(
                *session,
                opened=lined.gaps(),
                late_events=ranges_of(sorted(lined.late)),
                duplicates=ranges_of(sorted(set(lined.repeated))),
                duplicate_count=len(lined.repeated),
            )
        for session, rows in self._rows.items():
            truth = truths.setdefault(session, SessionTruth(*session))
            truth.rows, truth.count = ranges_of(sorted(rows.numbers)), rows.count
            truth.value, truth.ids = rows.value, rows.ids
            truth.late = ranges_of(sorted(rows.late))
        for session, count in self._repeated_ids.items():
            truths.setdefault(session, SessionTruth(*session)).duplicate_count += count
        return [truths[session] for session in sorted(truths)]

    def _number(self, content: MessageContent, number: int, line: str | None) -> tuple[bool, bool]:
        """Whether a number comes for the first time, and whether late."""
        if self._is_lined:
            lined = self._lined.setdefault((content.scope, content.session), _LinedSession())
            if self._session.setdefault(content.scope, content.session) != content.session:
                raise ValueError(f"{content.scope}: lines of more than one session")
            is_first = lined.take(number, line or "")
            return is_first, number in lined.late
        group = self._plain.group(content.scope, content.session)
        before = self._plain.highest(group)
        # A number without a row of its own, as that of a message that cannot be used.
        (accepted,) = self._plain.feed(
            np.array([group]), np.array([number]), np.array([False]), np.array([0], object)
        ).tolist()
        return accepted, number < before

    def _is_new(self, content: MessageContent, trade: Traded) -> bool:
        """Whether a trade's id comes for the first time."""
        if trade.id is None:
            return True
        key = (content.scope, trade.scope, trade.id)
        if key in self._seen:
            session = (content.scope, content.session)
            self._repeated_ids[session] = self._repeated_ids.get(session, 0) + 1
            return False
        self._seen.add(key)
        return True
