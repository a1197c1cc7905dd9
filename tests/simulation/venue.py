"""What a venue sends, and what must come of it: a fold of `step` over the source's log."""

import copy
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from k2_streams.core.records import events
from k2_streams.core.records.events import Duplicates, Event
from k2_streams.core.records.partitioner import partition_of
from k2_streams.core.sequence import codec as sequence_codec
from k2_streams.core.sequence.step import (
    ACCEPTED,
    Nature,
    ScopeMessage,
    ScopeState,
    SequenceLimits,
    Verdict,
    step,
)
from k2_streams.feeds.feed import CANONICAL, feed
from k2_streams.kafka.topics import RAW
from k2_streams.testing.memory.cluster import BEGIN_MS, MemoryCluster

EXCHANGE = "SIM"
SCOPES_A_PARTITION = 3
#: Numbers that may be passed over at once, and how far back a repeat or a late one reaches.
GAP_MAX, BACK_MAX = 3, 8
#: Between two messages, now and then: a number sent again after a second is no repeat.
SILENCES_MS = (500, 999, 1_001, 1_500, 60_000)
#: Ids of trades without a number: so few that most come again.
IDS = 6
#: A gap waits so long for late ones, of a run of fourteen seconds.
LATE_HORIZON_S = 3
#: A scope keeps so little that a run of some thirty messages meets it.
SEQUENCE_LIMITS = SequenceLimits(missing=4, sessions=3)


@dataclass(slots=True)
class Sent:
    """What was sent, as the fold needs it."""

    offset: int
    scope: str | None  # None: nothing of it can be read
    sequence: int | None
    session: str | None
    time_ns: int
    append_ms: int
    usable: bool
    trade_id: str | None = None


@dataclass(slots=True)
class Truth:
    """What must come of one partition's source."""

    rows: list[tuple[int, str, str, int | None, bool]] = field(default_factory=list)
    letters: list[tuple[int, str]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    duplicates: Counter[tuple[str, str]] = field(default_factory=Counter)
    states: dict[str, ScopeState] = field(default_factory=dict)
    ids: set[tuple[str, str, str]] = field(default_factory=set)  # scope, session, trade id
    repeated_ids: int = 0

    def encoded(self) -> dict[bytes, bytes]:
        """The table's rows."""
        return {scope.encode(): sequence_codec.encode(s) for scope, s in self.states.items()}


class Venue:
    """Sends to one partition, in bursts, and remembers what."""

    def __init__(
        self, cluster: MemoryCluster, partition: int, partitions: int, chance: random.Random
    ):
        self._cluster = cluster
        self._at = (RAW, partition)
        self._chance = chance
        # Of its own: what the faults of a seed are does not depend on what the venue's clock does.
        self._silence = copy.copy(chance)
        self.sent: list[Sent] = []
        self._scopes = _scopes(partition, partitions)
        self._next = {scope: chance.randrange(5) for scope in self._scopes}
        self._left_out: dict[str, list[int]] = {scope: [] for scope in self._scopes}
        self._time_ns = BEGIN_MS * 1_000_000
        self._session: dict[str, str | None] = {
            scope: self._silence.choice([None, "day-0"]) for scope in self._scopes
        }

    def burst(self) -> None:
        """A few records, and now and then an offset that no reader is given."""
        for _ in range(self._chance.randrange(1, 16)):
            if self._chance.random() < 0.03:
                self._cluster.marker(self._at)
            self._send(self._chance.choice(self._scopes))

    def _send(self, scope: str) -> None:
        chance, kind = self._chance, self._chance.random()
        self._time_ns += 1_000_000
        if self._silence.random() < 0.03:
            self._time_ns += self._silence.choice(SILENCES_MS) * 1_000_000
        time_ns = self._time_ns
        if kind < 0.04:
            value = chance.choice([b"{", b"", b'{"a":"x', b"[]"])
            offset = self._cluster.append(self._at, scope.encode(), value)
            self.sent.append(Sent(offset, None, None, None, 0, 0, usable=False))
            return
        usable = kind > 0.07
        sequence: int | None = self._number(scope)
        trade_id = None
        if kind > 0.94:
            sequence = None
            if chance.random() < 0.7:
                trade_id = f"t{chance.randrange(IDS)}"
        elif kind > 0.93:
            self._session[scope] = f"day-{chance.randrange(4)}"
        body: dict[str, Any] = {
            "exchange": EXCHANGE,
            "symbol": scope.partition(":")[2],
            "price": "1.25" if usable else "-1",
            "quantity": "3",
            "exchange_time_ns": time_ns,
        }
        if sequence is not None:
            body["sequence"] = sequence
        if trade_id is not None:
            body["trade_id"] = trade_id
        if self._session[scope] is not None:
            body["session"] = self._session[scope]
        offset = self._cluster.append(self._at, scope.encode(), json.dumps(body).encode())
        named, now_ms = self._session[scope], self._cluster.now_ms
        self.sent.append(Sent(offset, scope, sequence, named, time_ns, now_ms, usable, trade_id))

    def _number(self, scope: str) -> int:
        chance, left_out = self._chance, self._left_out[scope]
        kind = chance.random()
        if kind < 0.1 and left_out:
            return left_out.pop(chance.randrange(len(left_out)))
        if kind < 0.25:
            return max(self._next[scope] - 1 - chance.randrange(BACK_MAX), 0)
        if kind < 0.32:
            skipped = chance.randrange(1, GAP_MAX + 1)
            left_out += range(self._next[scope], self._next[scope] + skipped)
            self._next[scope] += skipped
        self._next[scope] += 1
        return self._next[scope] - 1

    def truth(self, partition: int) -> Truth:
        """The fold of `step` over everything sent."""
        truth, rule = Truth(), feed(CANONICAL).description.session_rule
        for sent in self.sent:
            if sent.scope is None:
                truth.letters.append((sent.offset, "bad"))
                continue
            if sent.sequence is None and not sent.usable:
                truth.letters.append((sent.offset, "bad"))
                continue
            message = ScopeMessage(
                sent.sequence,
                sent.session,
                sent.time_ns,
                sent.scope,
                partition,
                sent.offset,
                sent.append_ms,
                Nature.USUAL if sent.usable else Nature.DEAD,
            )
            state = truth.states.get(sent.scope)
            stepped = step(state, message, rule, LATE_HORIZON_S * 1000, limits=SEQUENCE_LIMITS)
            if stepped.state is not None:
                truth.states[sent.scope] = stepped.state
            truth.events += stepped.events
            if stepped.verdict is Verdict.DUPLICATE:
                truth.duplicates[sent.scope, stepped.session_id] += 1
            if not sent.usable or stepped.verdict in {Verdict.STALE, Verdict.CONFLICTING}:
                truth.letters.append((sent.offset, "bad"))
            elif sent.trade_id and (sent.scope, stepped.session_id, sent.trade_id) in truth.ids:
                truth.duplicates[sent.scope, stepped.session_id] += 1
                truth.repeated_ids += 1
            elif stepped.verdict in ACCEPTED:
                if sent.trade_id:
                    truth.ids.add((sent.scope, stepped.session_id, sent.trade_id))
                late = stepped.verdict is Verdict.LATE
                row = (sent.offset, sent.scope, stepped.session_id, sent.sequence, late)
                truth.rows.append(row)
        return truth


def _scopes(partition: int, partitions: int) -> list[str]:
    found: list[str] = []
    number = 0
    while len(found) < SCOPES_A_PARTITION:
        scope = f"{EXCHANGE}:S{number}"
        if partition_of(scope.encode(), partitions) == partition:
            found.append(scope)
        number += 1
    return found


def plain(event: Event) -> bytes:
    """An event without the time of its checkpoint, which is no part of the truth."""
    return events.encode(events.stamped(event, 0))


def split(found: list[Event]) -> tuple[list[Event], Counter[tuple[str, str]]]:
    """Events without the duplicates, and how many numbers of each scope and session repeated."""
    counted: Counter[tuple[str, str]] = Counter()
    others = []
    for event in found:
        if isinstance(event, Duplicates):
            counted[event.scope, event.session] += event.count
        else:
            others.append(event)
    return others, counted
