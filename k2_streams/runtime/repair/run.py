"""Asks a source for what is missing, and sends what fills a gap, as one more line.

1. Choose: of the source's records those whose number is missing and was asked for. The step of the
   sequence, on the state of the last checkpoint, says so; the worker's own decides in the end. Were
   a record sent twice, by this or an earlier run, it is a duplicate.
2. Send them to the raw topic with the header `line` of this repair.
3. Wait until the tasks have processed what was sent, and look what is still missing.

A record that fills the middle of a range leaves two. Where a scope keeps no more of them, that
would abandon the numbers of its lowest: such a record is not sent, and the next run may send it.
"""

import asyncio
from array import array
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from k2_streams.clock import Clock
from k2_streams.core.ledger.repairs import RepairedRange
from k2_streams.core.records.events import GapAbandoned
from k2_streams.core.records.partitioner import partition_of
from k2_streams.core.sequence.step import ScopeMessage, ScopeState, Verdict, step
from k2_streams.kafka.sender import Sender
from k2_streams.runtime.repair.decoding import decoded_portions
from k2_streams.runtime.repair.missing import (
    MissingRange,
    PartitionStates,
    still_missing,
    still_told,
)
from k2_streams.runtime.repair.sources import RepairRecord
from k2_streams.runtime.task.decoding import DecodedBatch, Decoding
from k2_streams.runtime.task.headers import FEED, LINE

#: Records that are decoded at once, and sent at once.
PORTION_RECORDS = 1_000
#: Between two looks at what the tasks have processed.
LOOK_AGAIN_S = 0.5
#: The line of a repair; its id stands behind it.
LINE_PREFIX = "repair-"


class Chooser:
    """Which of a source's records fill what is missing.

    Args:
        scopes: the states of the last checkpoint.
        asked: the ranges.
        decoding: of the feeds of the source's records.
        horizon_ms: how long a missing number is waited for.
        tolerance_ms: how much later than its session a repeat may be.
    """

    def __init__(
        self,
        scopes: Mapping[str, ScopeState],
        asked: Sequence[MissingRange],
        decoding: Decoding,
        horizon_ms: int,
        tolerance_ms: int,
    ) -> None:
        self._decoding = decoding
        self._horizon_ms = horizon_ms
        self._tolerance_ms = tolerance_ms
        self._asked: dict[str, list[MissingRange]] = {}
        for one in asked:
            self._asked.setdefault(one.scope, []).append(one)
        self._states = {scope: scopes[scope] for scope in self._asked}
        #: The numbers of each range that were chosen, each once.
        self.chosen: defaultdict[MissingRange, array[int]] = defaultdict(lambda: array("q"))

    def of(self, records: Sequence[RepairRecord], now_ms: int) -> list[RepairRecord]:
        """Those that are to be sent, of at least one."""
        chosen = []
        for portion, batch in decoded_portions(self._decoding, records, now_ms):
            bad = {entry.message for entry in batch.bad}
            chosen += [
                one for at, one in enumerate(portion) if at not in bad and self._fills(batch, at)
            ]
        return chosen

    def _fills(self, batch: DecodedBatch, at: int) -> bool:
        decoded = batch.decoded
        scope, number = int(decoded.scope[at]), int(decoded.sequence[at])
        if scope < 0 or number < 0:
            return False
        key = decoded.scopes[scope]
        asked = [one for one in self._asked.get(key, ()) if one.first <= number <= one.last]
        if not asked:
            return False
        session, description = int(decoded.session[at]), batch.descriptions[int(batch.feed[at])]
        message = ScopeMessage(
            number,
            decoded.sessions[session] if session >= 0 else None,
            int(decoded.event_time_ns[at]),
            key,
            0,
            at,
            int(batch.append_time_ms[at]),
        )
        tolerance_ms = description.tolerance_ms(self._tolerance_ms)
        rule = description.session_rule
        after = step(self._states[key], message, rule, self._horizon_ms, tolerance_ms)
        if any(isinstance(one, GapAbandoned) and one.reason == "limit" for one in after.events):
            return False
        for one in asked:
            if after.verdict is Verdict.LATE and after.session_id == one.session:
                assert after.state is not None  # noqa: S101 - the message has a number
                self._states[key] = after.state
                self.chosen[one].append(number)
                return True
        return False


@dataclass(frozen=True, slots=True)
class Repair:
    """One run.

    Attributes:
        id: of the repair: its line is `repair-<id>`.
        records: of the source.
        choose: those of some records that are to be sent, which are appended at a time.
        clock: the time.
        rate: records per second at most; None: as fast as possible.
    """

    id: str
    records: Callable[[], AsyncIterator[RepairRecord]]
    choose: Callable[[Sequence[RepairRecord], int], list[RepairRecord]]
    clock: Clock
    rate: float | None = None

    async def send(self, sender: Sender | None) -> int:
        """Ask the source and send what fills; how many records. Without a sender none is sent.

        Raises:
            RepairSourceError: the source cannot be read; what was sent before stays.
            NotAcknowledgedError: something was sent and is not known to have arrived.
        """
        sent = 0
        async for portion in portions(self.records()):
            now_ms = self.clock.time_ns() // 1_000_000
            chosen = self.choose(portion, now_ms)
            sent += len(chosen)
            if sender is None or not chosen:
                continue
            by_partition: dict[int, list[RepairRecord]] = {}
            for one in chosen:
                at = partition_of(one.key, sender.partitions)
                by_partition.setdefault(at, []).append(one)
            for partition, records in by_partition.items():
                await sender.send(partition, [self._raw(one) for one in records], now_ms)
            if self.rate is not None:
                await asyncio.sleep(len(chosen) / self.rate)
        if sender is not None:
            await sender.finish()
        return sent

    def _raw(self, one: RepairRecord) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
        line = f"{LINE_PREFIX}{self.id}".encode()
        return one.key, one.value, [(FEED, one.feed.encode()), (LINE, line)]


async def wait_processed(
    read: Callable[[], Awaitable[list[PartitionStates]]],
    ends: Mapping[int, int],
    clock: Clock,
    within_s: float,
) -> dict[str, ScopeState] | None:
    """The states once the tasks have processed the raw topic up to these offsets; None: too late.

    Args:
        read: the states of now, by partition.
        ends: by partition the offset behind what was sent.
        clock: the time.
        within_s: how long to wait.
    """
    deadline = clock.monotonic() + within_s
    while True:
        states = await read()
        if all(states[partition].next_offset >= end for partition, end in ends.items()):
            return {scope: state for one in states for scope, state in one.scopes.items()}
        if clock.monotonic() > deadline:
            return None
        await asyncio.sleep(LOOK_AGAIN_S)


def repaired(
    chooser: Chooser,
    scopes: Mapping[str, ScopeState],
    asked: Sequence[MissingRange],
    about: Mapping[str, str],
) -> list[RepairedRange]:
    """What came of each range.

    Args:
        chooser: that chose what was sent.
        scopes: the states after it.
        asked: the ranges.
        about: `repair_id`, `started`, `by` and `source`.
    """
    found = []
    for one in asked:
        left = list(still_missing(scopes, one))
        missing = sum(last - first + 1 for first, last in left)
        # Whether a number was received is told no more: it counts as filled if this run sent it.
        told_from = still_told(scopes, one)
        sent = sum(number < told_from for number in chooser.chosen[one])
        abandoned = told_from - one.first - sent
        found.append(
            RepairedRange(
                **about,
                scope=one.scope,
                session=one.session,
                first=one.first,
                last=one.last,
                asked=one.numbers,
                received=len(chooser.chosen[one]),
                filled=one.numbers - missing - abandoned,
                abandoned=abandoned,
                still_missing=left,
            )
        )
    return found


async def portions(records: AsyncIterator[RepairRecord]) -> AsyncIterator[list[RepairRecord]]:
    """The records, as many at once as are decoded and sent together."""
    portion: list[RepairRecord] = []
    async for record in records:
        portion.append(record)
        if len(portion) == PORTION_RECORDS:
            yield portion
            portion = []
    if portion:
        yield portion
