"""Events and dead letters as the topics hold them, against the truth.

Events are read as plain JSON, and compared as a multiset: their order is not part of the truth,
their number is. Duplicates are counted per checkpoint, so they are added up first.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from k2_streams.runtime.repair.run import LINE_PREFIX
from k2_streams.testing.oracle.dead_letters import OF_A_VERDICT
from k2_streams.testing.oracle.model import Range
from k2_streams.testing.oracle.report import Check
from k2_streams.testing.oracle.truth_file import SessionLine, Truth

#: A gap of more numbers than this is a large one.
_SMALL_GAP_MAX = 10

_KINDS = (
    "gap_opened", "gap_filled", "gap_abandoned", "late", "stale", "conflicting_duplicate", "reset",
    "dead",
)  # fmt: skip

#: An event's type and what identifies it.
Fact = tuple[Any, ...]
#: A raw partition, and an offset in it.
RawPlace = tuple[int, int]
#: By scope and session the numbers that were dead, and came again in redriven records.
Redriven = Mapping[tuple[str, str], set[int]]


class FoundEvents:
    """Takes the records of `k2.sequence-events` and compares them with a truth."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._sessions = {(line.scope, line.session) for line in truth.sessions}
        self._facts: Counter[Fact] = Counter()
        self._duplicates: Counter[tuple[str, str]] = Counter()
        self._by_id: Counter[tuple[str, str]] = Counter()  # those of them identified by an id
        self._repeated: dict[tuple[str, str], set[int]] = {}
        self.redriven: dict[tuple[str, str], set[int]] = {}
        self._gaps = {(line.scope, line.session): line.opened for line in truth.sessions}
        self._later: dict[str, set[RawPlace]] = {"late": set(), "dead": set()}
        self._unreadable: list[str] = []
        self.others = 0

    def add(self, value: bytes | None, position: str) -> None:
        """Take a record's value; `position` is for the error text."""
        try:
            event = msgspec.json.decode(value or b"", type=dict[str, Any])
            session = (event["scope"], event["session"])
            if event["type"] == "duplicates":
                # What a repair sends twice was sent after the run.
                if not (event.get("line") or "").startswith(LINE_PREFIX):
                    self._take_duplicates(session, event)
            elif event["type"] == "redriven" and session in self._sessions:
                # Its record was sent later than the run's: the number says whose it is.
                self.redriven.setdefault(session, set()).add(event["sequence"])
            elif self._is_ours(session, event):
                self._facts[_fact(event)] += 1
            else:
                self.others += 1
                self._take_later(session, event)
        except (msgspec.MsgspecError, KeyError, TypeError) as error:
            self._unreadable.append(f"{position}: not an event: {error!r}")

    @property
    def repaired(self) -> set[RawPlace]:
        """The raw records that the run did not send, and that became rows in gaps of it."""
        return self._later["late"] - self._later["dead"]

    def _take_later(self, session: tuple[str, str], event: dict[str, Any]) -> None:
        """A record of somebody else, if its number was in a gap of the run."""
        places, gaps = self._later.get(event["type"]), self._gaps.get(session)
        if places is None or not gaps:
            return
        number = event["sequence"]
        at = bisect_right(gaps, number, key=itemgetter(0)) - 1
        if at >= 0 and number <= gaps[at][1]:
            places.add((event["source_partition"], event["source_offset"]))

    def checks(self) -> list[Check]:
        """What was compared, and how it came out."""
        expected: Counter[Fact] = Counter()
        for line in self._truth.sessions:
            expected.update(_expected_facts(line))
        found = self._facts.copy()
        for (scope, session), numbers in self.redriven.items():
            found.subtract(("dead", scope, session, number) for number in numbers)
        for fact in [one for one in found if one[0] == "reset" and one not in expected]:
            # The scope had a life before the run, of which the truth knows nothing.
            if (fact[1], fact[4]) not in self._sessions and self._begins(fact):
                del found[fact]
        checks = []
        for kind in _KINDS:
            wanted = Counter({fact: n for fact, n in expected.items() if fact[0] == kind})
            there = Counter({fact: n for fact, n in found.items() if fact[0] == kind and n})
            check = Check(f"events: {kind}", wanted.total(), there.total())
            if kind == "dead" and any(line.dead is None for line in self._truth.sessions):
                check.found, check.note = check.expected, "(not compared: the truth is too old)"
                checks.append(check)
                continue
            for fact, count in sorted((wanted - there).items()):
                check.differ(f"missing {count} x {_shown(fact)}")
            for fact, count in sorted((there - wanted).items()):
                check.differ(f"too many {count} x {_shown(fact)}")
            checks.append(check)
        checks.append(self._check_duplicates())
        unreadable = Check("events: unreadable", 0, len(self._unreadable))
        for text in self._unreadable:
            unreadable.differ(text)
        return [*checks, unreadable]

    @property
    def duplicates(self) -> int:
        """Repeated numbers of the truth's sessions, each as often as it was."""
        return sum(self._duplicates[session] for session in self._sessions)

    @property
    def repeated_ids(self) -> int:
        """How many of these are trades identified by an id, not messages by a number."""
        return sum(self._by_id[session] for session in self._sessions)

    def _is_ours(self, session: tuple[str, str], event: dict[str, Any]) -> bool:
        """Whether the event came of a record that the run sent.

        One of the truth's sessions but from other offsets came of a later run, which began another
        session; one of another session from our offsets is an event too many.
        """
        sent = self._truth.positions.get(event["source_partition"])
        within = sent is not None and sent.first <= event["source_offset"] < sent.next
        return within and (session in self._sessions or self._truth.alone)

    def _begins(self, fact: Fact) -> bool:
        """Whether it is the beginning of the run's first session of a scope."""
        return any(
            line.scope == fact[1] and line.session == fact[2] and line.reset is None
            for line in self._truth.sessions
        )

    def _take_duplicates(self, session: tuple[str, str], event: dict[str, Any]) -> None:
        self._duplicates[session] += event["count"]
        if event.get("by") == "id":
            self._by_id[session] += event["count"]
        if session in self._sessions:
            numbers = self._repeated.setdefault(session, set())
            for first, last in event["ranges"]:
                numbers.update(range(first, last + 1))

    def _check_duplicates(self) -> Check:
        expected = sum(line.duplicate_count for line in self._truth.sessions)
        check = Check("events: duplicates", expected, self.duplicates)
        for line in self._truth.sessions:
            session = (line.scope, line.session)
            found = self._duplicates[session]
            if found != line.duplicate_count:
                check.differ(
                    f"{line.scope}, session {line.session}: expected {line.duplicate_count} "
                    f"repeated, found {found}"
                )
            numbers = self._repeated.get(session, set())
            wanted = {n for first, last in line.duplicates for n in range(first, last + 1)}
            if numbers != wanted:
                check.differ(
                    f"{line.scope}, session {line.session}: repeated numbers missing "
                    f"{sorted(wanted - numbers)[:5]}, too many {sorted(numbers - wanted)[:5]}"
                )
        return check


def _fact(event: dict[str, Any]) -> Fact:
    head = (event["type"], event["scope"], event["session"])
    match event["type"]:
        case "gap_opened":
            return (*head, event["first"], event["last"], event["size"])
        case "gap_filled":
            return (*head, event["first"], event["last"])
        case "gap_abandoned":
            gap = (event["gap_first"], event["gap_last"])
            return (*head, event["first"], event["last"], *gap, event["reason"])
        case "late" | "stale" | "conflicting_duplicate" | "dead" | "redriven":
            return (*head, event["sequence"])
        case "reset":
            return (*head, event["sequence"], event["previous"])
        case unknown:
            raise KeyError(unknown)


def _expected_facts(line: SessionLine) -> Iterator[Fact]:
    for first, last in line.opened:
        size = "small" if last - first + 1 <= _SMALL_GAP_MAX else "large"
        yield ("gap_opened", line.scope, line.session, first, last, size)
    for first, last in line.filled:
        yield ("gap_filled", line.scope, line.session, first, last)
    for abandoned in line.abandoned:
        yield ("gap_abandoned", line.scope, line.session, *abandoned)
    for number in _each(line.late_events):
        yield ("late", line.scope, line.session, number)
    for number in line.stale:
        yield ("stale", line.scope, line.session, number)
    for number in line.conflicts:
        yield ("conflicting_duplicate", line.scope, line.session, number)
    for number in _each(line.dead or []):
        yield ("dead", line.scope, line.session, number)
    if line.reset is not None:
        yield ("reset", line.scope, line.session, *line.reset)


def _each(ranges: list[Range]) -> Iterator[int]:
    for first, last in ranges:
        yield from range(first, last + 1)


def _shown(fact: Fact) -> str:
    kind, scope, session, *rest = fact
    return f"{kind} {scope}, session {session}: {', '.join(map(str, rest))}"


class FoundLetters:
    """Takes the records of `k2.dead-letter` and compares them with a truth.

    Letters whose number was redriven are not among those compared: a row has become of them.
    """

    def __init__(self, truth: Truth, redriven: Redriven | None = None) -> None:
        self._truth = truth
        self._redriven = redriven or {}
        self._reasons: Counter[str] = Counter()
        self._offsets: Counter[tuple[int, int]] = Counter()
        self._strange: list[str] = []
        self.others = 0

    def add(self, headers: Mapping[str, bytes], position: str) -> None:
        """Take a record's headers; `position` is for the error text."""
        try:
            partition, offset = int(headers["k2.partition"]), int(headers["k2.offset"])
            topic, reason = headers["k2.topic"].decode(), headers["k2.reason"].decode()
        except (KeyError, ValueError) as error:
            self._strange.append(f"{position}: without a reason or a position: {error!r}")
            return
        ours = self._truth.positions.get(partition)
        within = ours is not None and ours.first <= offset < ours.next
        if topic != self._truth.header.topic or not within or self._has_a_row(reason, headers):
            self.others += 1
            return
        self._reasons[reason] += 1
        self._offsets[partition, offset] += 1

    def checks(self) -> list[Check]:
        """What was compared, and how it came out."""
        expected = self._truth.reasons
        check = Check("dead letters, by reason", expected.total(), self._reasons.total())
        if self._truth.alone:
            for reason in sorted(expected.keys() | self._reasons.keys()):
                if expected[reason] != self._reasons[reason]:
                    check.differ(
                        f"{reason}: expected {expected[reason]}, found {self._reasons[reason]}"
                    )
        else:
            check.found = check.expected
            check.note = "(not compared: others wrote among the run's records)"
        once = Check("dead letters, each once", len(self._offsets), len(self._offsets))
        for (partition, offset), count in self._offsets.items():
            if count > 1:
                once.differ(f"raw {partition}:{offset}: {count} letters")
        for text in self._strange:
            once.differ(text)
        return [check, once]

    def _has_a_row(self, reason: str, headers: Mapping[str, bytes]) -> bool:
        """Whether the letter's number has been redriven since."""
        if reason in OF_A_VERDICT or "k2.sequence" not in headers:
            return False
        session = (headers["k2.scope"].decode(), headers["k2.session"].decode())
        return int(headers["k2.sequence"]) in self._redriven.get(session, ())

    @property
    def count(self) -> int:
        """Letters from the run's offsets."""
        return self._reasons.total()

    def positions(self) -> dict[int, npt.NDArray[np.int64]]:
        """By raw partition the offsets of records that became dead letters."""
        found: dict[int, list[int]] = {}
        for partition, offset in self._offsets:
            found.setdefault(partition, []).append(offset)
        return {partition: np.array(offsets) for partition, offsets in found.items()}
