"""Sends dead letters to their raw topic again: those that would be accepted, each once.

Per partition, in this order:

1. Start the producer. Its transactional id is the redrive's of this partition, so Kafka ends what a
   killed redrive has left open, and fences one that still runs. Before this step what was sent
   could still change.
2. Read which letters were sent again: exactly those of committed transactions.
3. Read the letters, and of those not sent again foretell what would become of them.
4. Send those that would be accepted, some hundred per transaction, and in the same transaction that
   they were sent. Were these two transactions, a kill between them would send records twice.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from k2_streams.clock import Clock
from k2_streams.core.records.source import RawInput
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import Record
from k2_streams.kafka.record_columns import FetchedRecord
from k2_streams.kafka.topics import TopicInfo
from k2_streams.kafka.transactions import OutputRecord, TransactionalProducer
from k2_streams.runtime.redrive.letters import (
    RedriveEntry,
    encode_entry,
    ranges_of,
    raw_record_of,
    redriven_letters,
)
from k2_streams.runtime.redrive.outlook import Foretold, Outlook, ReadTopic

#: Of one transaction: a small part of its time-out, and of what a producer may hold.
TRANSACTION_RECORDS = 500
TRANSACTION_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RedriveRequest:
    """What is to be sent again.

    Attributes:
        id: of the redrive; it stands in the header `k2.redrive`.
        source: whose dead letters they are.
        letters: the topic of the dead letters.
        app_id: of the app that works the raw topic.
        wanted: which letters, by partition and record.
        limit: how many at most; None: all.
        dry_run: foretell alone, and send nothing.
        transaction_records: how many one transaction takes at most.
    """

    id: str
    source: RawInput
    letters: TopicInfo
    app_id: str
    wanted: Callable[[int, Record], bool]
    limit: int | None = None
    dry_run: bool = False
    transaction_records: int = TRANSACTION_RECORDS


@dataclass(slots=True)
class RedriveReport:
    """What became of the dead letters that were asked for."""

    matched: int = 0
    accepted: int = 0  # would be, where it is a dry run
    sent: int = 0
    present: int = 0  # their numbers were received meanwhile
    redriven_before: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # again, by reason


@dataclass(frozen=True, slots=True)
class Redrive:
    """One run.

    Attributes:
        request: what is to be sent again.
        kafka: the cluster.
        read: its topics.
        outlook: of a partition.
        clock: the time.
    """

    request: RedriveRequest
    kafka: KafkaConfig
    read: ReadTopic
    outlook: Callable[[int], Awaitable[Outlook]]
    clock: Clock

    async def run(self) -> RedriveReport:
        """Every partition, one after the other.

        Raises:
            FencedError: another redrive of this topic has started; what this one has sent stays.
            KafkaError: the outcome of the last transaction is unknown: run it again.
        """
        report = RedriveReport()
        for partition in range(self.request.letters.partitions):
            if self.request.dry_run:
                await self._partition(partition, None, report)
                continue
            name = f"{self.request.app_id}-redrive-{self.request.source.raw}-{partition}"
            producer = TransactionalProducer(self.kafka, name, partition)
            try:
                await producer.start()
                await self._partition(partition, producer, report)
            finally:
                await producer.stop()
        return report

    async def _partition(
        self, partition: int, producer: TransactionalProducer | None, report: RedriveReport
    ) -> None:
        request = self.request
        entries = [
            record.value
            async for records in self.read(request.source.redrives, partition)
            for record in records
        ]
        before = redriven_letters(entries, request.letters.id)
        outlook = await self.outlook(partition)
        async for records in self.read(request.letters.name, partition):
            if report.accepted == request.limit:
                return
            wanted = [record for record in records if request.wanted(partition, record)]
            new = [record for record in wanted if record.offset not in before]
            report.matched += len(wanted)
            report.redriven_before += len(wanted) - len(new)
            for letters in _portions(new, request.transaction_records):
                accepted = self._foretold(letters, outlook, report)
                if accepted and producer is not None:
                    await producer.send(self._outputs(accepted))
                    report.sent += len(accepted)

    def _foretold(
        self, letters: Sequence[Record], outlook: Outlook, report: RedriveReport
    ) -> list[FetchedRecord]:
        """The raw records of the letters that would be accepted, up to the limit."""
        now_ms = self.clock.time_ns() // 1_000_000
        records = [
            raw_record_of(one, self.request.id, offset=one.offset, time_ms=now_ms)
            for one in letters
        ]
        accepted: list[FetchedRecord] = []
        for record, fate in zip(records, outlook.of(records), strict=True):
            if fate.outcome is Foretold.REFUSED:
                report.refused[fate.reason] += 1
            elif fate.outcome is Foretold.PRESENT:
                report.present += 1
            elif self.request.limit is None or report.accepted < self.request.limit:
                report.accepted += 1
                accepted.append(record)
        return accepted

    def _outputs(self, records: Sequence[FetchedRecord]) -> list[OutputRecord]:
        request = self.request
        entry = RedriveEntry(
            redrive=request.id,
            topic_id=request.letters.id,
            letters=ranges_of([record.offset for record in records]),
        )
        return [
            *(OutputRecord(request.source.raw, one.key, one.value, one.headers) for one in records),
            OutputRecord(request.source.redrives, request.id.encode(), encode_entry(entry)),
        ]


def _portions(letters: Sequence[Record], most: int) -> Iterator[Sequence[Record]]:
    """The letters in parts of what a transaction takes."""
    start = size = 0
    for at, letter in enumerate(letters):
        size += len(letter.value or b"")
        if at + 1 - start == most or size >= TRANSACTION_BYTES:
            yield letters[start : at + 1]
            start, size = at + 1, 0
    if start < len(letters):
        yield letters[start:]
