"""A scope's messages by lines: what folding `lines.step` over them gives, and the lines' figures.

In the traffic of a day each number comes once per line, a little apart, and the first copies follow
each other: `core.sequence.moves` takes such scopes all together. Those where something is missing,
a session begins or a time is odd come here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from k2_streams.core.dedup.duplicates import DuplicateCounter
from k2_streams.core.lines.stats import LineKey, LineStats, alive
from k2_streams.core.lines.step import Arrival, step
from k2_streams.core.records.events import Event
from k2_streams.core.sequence.scopes import exchange_of, exchanges_of
from k2_streams.core.sequence.sessions import Counting
from k2_streams.core.sequence.step import (
    ACCEPTED,
    Nature,
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

    def __init__(self, lined: Lined, scopes: Sequence[str], scope: Int32s) -> None:
        self._lined = lined
        self._scopes = scopes
        self._scope = scope  # of each message: index into `scopes`
        self._places: dict[LineKey, Int64s] | None = None

    def at(self, index: int) -> tuple[str, ...]:
        """The lines of the message's exchange, with its own."""
        if self._places is None:
            self._places = self._by_line()
        lined, exchange = self._lined, exchange_of(self._scopes[self._scope[index]])
        seen_ms = {key: ms for key, ms in lined.seen_ms.items() if key[0] == exchange}
        for key, places in self._places.items():
            before = int(np.searchsorted(places, index, side="right"))
            if key[0] == exchange and before:
                seen_ms[key] = int(lined.now_ms[places[before - 1]])
        return alive(seen_ms, exchange, int(lined.now_ms[index]))

    def _by_line(self) -> dict[LineKey, Int64s]:
        lined = self._lined
        exchange, exchanges = exchanges_of(self._scopes, self._scope)
        named = np.flatnonzero(lined.line >= 0)
        code = exchange[named].astype(np.int64) * len(lined.names) + lined.line[named]
        return {
            (exchanges[one // len(lined.names)], lined.names[one % len(lined.names)]): named[
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
    nature: Int8s  # a `Nature`


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
        out = ScopeStep(state, np.empty(len(part.places), np.int8), [])
        columns = (
            part.places, part.sequence, part.session, part.event_time_ns, part.offset,
            part.append_ms, part.nature,
        )  # fmt: skip
        fields = zip(*(column.tolist() for column in columns), strict=True)
        for place, (index, sequence, session, time_ns, offset, append_ms, nature) in enumerate(
            fields
        ):
            line = self.lined.line_at(index)
            message = ScopeMessage(
                sequence,
                self.names[session] if session >= 0 else None,
                time_ns,
                part.scope,
                part.partition,
                offset,
                append_ms,
                Nature(nature),
            )
            arrival = Arrival(line, int(self.lined.now_ms[index]), self.alive_at(index))
            rule, tolerance_ms = self.counting_at(index)
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
