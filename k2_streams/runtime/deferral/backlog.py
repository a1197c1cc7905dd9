"""A task's part in deferral: what is deferred, the backlog, and what is drained.

Everything of it that counts is in the checkpoint's transaction: the deferred records, the table
`deferral` with their number by key, the position up to which the deferred topic was drained. So a
kill at any moment leaves either all of a step or nothing of it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from k2_streams.core.load.backlog import Backlog, Split, split
from k2_streams.core.load.degradation import Level
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.topics import TopicInfo
from k2_streams.runtime.control.supervisor import Supervisor
from k2_streams.runtime.deferral import record as deferred
from k2_streams.runtime.deferral.draining import DrainReader
from k2_streams.runtime.deferral.overload import Overload
from k2_streams.runtime.task.epoch import Epoch
from k2_streams.state.position import Section, SectionCodec
from k2_streams.state.row_tables import RowCodec
from k2_streams.state.table import RowTable


class DeferralState(msgspec.Struct, frozen=True):
    """What the position says of the backlog."""

    topic_id: str = ""  # of the deferred topic
    next_offset: int = 0  # of its partition: the next one to be drained
    records: int = 0  # of the backlog
    from_offset: int | None = None  # no record of the source below it is in the backlog


DEFERRAL = SectionCodec("deferral", 1, DeferralState)
#: Of the table: a number in digits; a key without a deferred record has no row.
COUNT_CODEC = RowCodec(lambda count: b"%d" % count, int)


class Deferral:
    """Of one partition. The task's thread changes it, the loop reads it, one after the other.

    The end of a backlog is a hand-over. While a key's records come faster than a checkpoint they
    would be deferred for ever, each behind the one before. So when all that is committed has been
    drained and the level would let a key through, the source is held until the last is drained:
    two checkpoints at the most.
    """

    def __init__(
        self,
        topic: TopicInfo,
        partition: int,
        state: DeferralState,
        table: RowTable[int],
        overload: Overload,
        kafka: KafkaConfig,
        on_ready: Callable[[], None],
        supervisor: Supervisor,
    ) -> None:
        counts = {_bytes(key): count for key, count in table.items()}
        self.backlog = Backlog(counts, state.from_offset)
        self.next_offset = state.next_offset
        self._topic_id = topic.id
        self._topic = topic.name
        self._partition = partition
        self._table = table
        self._overload = overload
        self._kafka = kafka
        self._on_ready = on_ready
        self._supervisor = supervisor
        self._uncommitted = 0  # of the records that wait
        self._in_flight = 0  # of the uncommitted, those of the sealed epoch
        self._holding = False
        self._reader: DrainReader | None = None

    # -- deferring -------------------------------------------------------------------------------

    def triage(self, records: Sequence[Any], epoch: Epoch, budget: int) -> Split[Any]:
        """Defer what has to wait, and return what is to be worked now, within the budget."""
        overload = self._overload
        found = split(records, self.backlog, overload.level, overload.tiers.of_record, budget)
        epoch.newly_deferred += [
            deferred.encode(self._topic, record, self._partition) for record in found.deferred
        ]
        epoch.records += len(found.deferred)
        self._uncommitted += len(found.deferred)
        return found

    def holds_source(self) -> bool:
        """Whether the source has to wait for the last of the backlog."""
        backlog = self.backlog
        if not backlog.records:
            self._holding = False
        elif self._holding or backlog.records == self._uncommitted:
            self._holding = backlog.holds_admitted(
                self._overload.level, self._overload.tiers.of_key
            )
        return self._holding

    # -- draining --------------------------------------------------------------------------------

    def is_ready(self) -> bool:
        """Whether there is something to drain, and the level allows it.

        Raises:
            LogError: what waits cannot be read.
        """
        if self._overload.level is Level.CIRCUIT_BREAK:
            return False
        if self._reader is None and self.backlog.records > self._uncommitted:
            self._reader = DrainReader(
                self._kafka,
                self._topic,
                self._partition,
                self.next_offset,
                self._on_ready,
                self._supervisor,
            )
        return self._reader is not None and self._reader.is_ready()

    def take(self, at_most: int) -> tuple[list[deferred.RestoredRecord | None], int]:
        """The next records that waited, and the position behind them."""
        assert self._reader is not None  # noqa: S101 - asked for only when ready
        records, end = self._reader.take(at_most)
        return [deferred.decode(record, self._partition) for record in records], end

    def drained(
        self, found: Sequence[deferred.RestoredRecord | None], end: int, epoch: Epoch
    ) -> list[Any]:
        """Those of the records that did wait; they do so no longer."""
        ours = []
        for record in found:
            if record is None or not self.backlog.is_next(record.key, record.offset):
                continue
            assert record.key is not None  # noqa: S101 - it is one that waits
            self.backlog.drained(record.key, record.offset)
            ours.append(record)
        self.next_offset = end
        epoch.drained += len(ours)
        return ours

    # -- checkpoint ------------------------------------------------------------------------------

    def seal(self, epoch: Epoch) -> Mapping[str, Section]:
        """Nothing more is added to the epoch: what the position says of the backlog."""
        self._in_flight = len(epoch.newly_deferred)
        epoch.deferred = self.backlog.records
        epoch.deferred_from = self.backlog.from_offset
        for key, count in self.backlog.changes().items():
            text = key.decode(errors="surrogateescape")
            if count:
                self._table.put(text, count)
            else:
                self._table.delete(text)
        state = DeferralState(
            self._topic_id, self.next_offset, self.backlog.records, self.backlog.from_offset
        )
        return {DEFERRAL.name: DEFERRAL.write(state)}

    def committed(self) -> None:
        """The sealed epoch is in Kafka: what it deferred can be drained."""
        self._uncommitted -= self._in_flight
        self._in_flight = 0

    async def rest(self) -> None:
        """Without a backlog, and at a level that makes none, a reader asks for nothing."""
        if self._overload.level < Level.GRACEFUL and not self.backlog.records:
            await self.close()

    async def close(self) -> None:
        """Stop reading."""
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()


def _bytes(key: str) -> bytes:
    return key.encode(errors="surrogateescape")
