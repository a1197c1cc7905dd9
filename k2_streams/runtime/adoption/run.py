"""An adoption, step by step. Killed at any time, the next run begins again and comes to the end.

1. Create the topics, and write their ids into the table's properties: topics of these ids, and no
   others, may be deleted by the next run.
2. Restore what was published, at the offsets that it had ended at. The log of the rows is filled
   first: while it holds records and there is no position, a worker refuses to start.
3. Write the state into the changelogs, the position last: without it a worker refuses.
4. Delete what filled the topics.
5. Let the tables go on from the new topics, that of the rows last: it says that all is done.

The raw topic is created last and never deleted again: producers may have begun to send.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import closing

from k2_streams.clock import Clock
from k2_streams.core.records.events import encode, stamped
from k2_streams.core.types import TopicPartition
from k2_streams.failpoints import failpoint_in_loop
from k2_streams.kafka.log_reader import LogReader
from k2_streams.kafka.sender import Record, Sender
from k2_streams.kafka.topics import TopicAdmin, TopicInfo, changelog_topic
from k2_streams.lake.adoption import adopt_log, write_created_topics
from k2_streams.lake.table import Lake
from k2_streams.runtime.adoption.changelogs import changelogs_of
from k2_streams.runtime.adoption.found import FoundApp, tables_of
from k2_streams.runtime.adoption.plan import AdoptedTopic, AdoptionPlan
from k2_streams.runtime.redrive.letters import RedriveEntry, encode_entry, ranges_of
from k2_streams.runtime.settings.worker import Settings

#: Of the records that fill a topic, in one go; a batch of them takes a few KiB.
FILLER_RECORDS = 50_000
_FILLER: Record = (None, b"", [])
#: The redrive that dead letters without a number count as sent by.
_REDRIVE = "adopt"


class AdoptionIncompleteError(Exception):
    """A part was done and the next could not be; the same command begins again."""


class Adoption:
    """One run.

    Args:
        found: the app.
        plan: what is made of it.
        settings: of its workers.
        clock: the time.
        report: told of each step when it is done.
    """

    def __init__(
        self,
        found: FoundApp,
        plan: AdoptionPlan,
        settings: Settings,
        clock: Clock,
        report: Callable[[str], None],
    ) -> None:
        self._found = found
        self._plan = plan
        self._settings = settings
        self._report = report
        now_us = clock.time_ns() // 1_000
        self._now_ms = now_us // 1_000
        #: Accepted times never go back within a partition.
        self._accepted_us = [max(now_us, one.evidence.newest_us) for one in plan.partitions]

    async def run(self) -> None:
        """Every step.

        Raises:
            AdoptionIncompleteError: the raw topic was written to while it was being filled.
            KafkaError, OSError, NotAcknowledgedError: the broker did not do it.
            LakeError: the lake did not.
        """
        topics = await self._create()
        await failpoint_in_loop("adopt.created")
        for topic in self._plan.topics:
            await self._restore(topic)
        await self._add_events()
        await self._close_letters(topics)
        await failpoint_in_loop("adopt.restored")
        await self._write_state(topics)
        await failpoint_in_loop("adopt.positioned")
        async with TopicAdmin(self._settings.kafka) as admin:
            for topic in self._plan.topics:
                await admin.delete_before(topic.name, dict(enumerate(topic.begins)))
        await asyncio.to_thread(self._adopt_tables, topics)
        await failpoint_in_loop("adopt.committed")
        self._report("the tables go on from the new topics")

    async def _create(self) -> dict[str, TopicInfo]:
        """Step 1."""
        settings, source, specs = self._settings, self._found.source, list(self._found.specs)
        others = [one for one in specs if one.name != source.raw]
        raw = [one for one in specs if one.name == source.raw]
        async with TopicAdmin(settings.kafka, settings.replication) as admin:
            begun = [one.name for one in others if self._found.is_ours(one.name)]
            if begun:
                await admin.delete(begun)
            topics = await admin.ensure(others)
            topics |= await admin.ensure(raw)
        ids = {name: one.id for name, one in topics.items()}
        await asyncio.to_thread(self._write_down, ids)
        self._report(f"created {len(topics)} topics")
        return topics

    def _write_down(self, ids: dict[str, str]) -> None:
        with closing(Lake(self._settings.lake, stream=self._found.source.stream)) as lake:
            write_created_topics(lake, ids)

    async def _restore(self, topic: AdoptedTopic) -> None:
        """Step 2, of one topic."""
        ends = await self._ends(topic.name)
        async with self._sender(topic.name, compression="zstd") as sender:
            for partition, begin in enumerate(topic.begins):
                for start in range(ends[partition], begin, FILLER_RECORDS):
                    fillers = [_FILLER] * min(FILLER_RECORDS, begin - start)
                    await sender.send(partition, fillers, self._now_ms)
                records = topic.records[partition]
                await sender.send(
                    partition,
                    [(one.key, one.value, list(one.headers)) for one in records],
                    self._now_ms,
                )
            await sender.finish()
        found = await self._ends(topic.name)
        wrong = [at for at, end in enumerate(topic.ends) if ends[at] < end != found[at]]
        if wrong:
            raise AdoptionIncompleteError(
                f"{topic.name}: partitions {wrong}: somebody wrote into it meanwhile: stop "
                "producers, delete the topic and run the command again"
            )
        restored = sum(map(len, topic.records))
        self._report(f"{topic.name}: {restored:,} records, behind {sum(topic.begins):,} offsets")

    async def _ends(self, topic: str) -> list[int]:
        at = [TopicPartition(topic, number) for number in range(self._settings.partitions)]
        async with LogReader(self._settings.kafka) as reader:
            ends = await reader.high_watermarks(at)
        return [ends[one] for one in at]

    async def _add_events(self) -> None:
        """Publish what the ledger lacks, as a task would have."""
        async with self._sender(self._found.source.events) as sender:
            for partition, adopted in enumerate(self._plan.partitions):
                accepted_us = self._accepted_us[partition]
                records: list[Record] = [
                    (one.scope.encode(), encode(stamped(one, accepted_us)), [])
                    for one in adopted.events
                ]
                await sender.send(partition, records, self._now_ms)
            await sender.finish()

    async def _close_letters(self, topics: dict[str, TopicInfo]) -> None:
        """Whether a letter without a number was redriven is not known: it is not again."""
        source = self._found.source
        (letters,) = (one for one in self._plan.topics if one.name == source.dead_letter)
        async with self._sender(source.redrives) as sender:
            for partition, adopted in enumerate(self._plan.partitions):
                begin = letters.begins[partition]
                offsets = [begin + place for place in adopted.evidence.unnumbered]
                if not offsets:
                    continue
                entry = RedriveEntry(
                    redrive=_REDRIVE,
                    topic_id=topics[source.dead_letter].id,
                    letters=ranges_of(offsets),
                )
                record: Record = (_REDRIVE.encode(), encode_entry(entry), [])
                await sender.send(partition, [record], self._now_ms)
            await sender.finish()

    async def _write_state(self, topics: dict[str, TopicInfo]) -> None:
        """Step 3: the ids first, the position last."""
        source, app_id = self._found.source, self._settings.app_id
        scopes, dedup = (changelog_topic(app_id, table) for table in source.tables)
        async with self._sender(dedup) as ids, self._sender(scopes) as rows:
            for partition, adopted in enumerate(self._plan.partitions):
                made = changelogs_of(
                    source,
                    adopted,
                    source_id=topics[source.raw].id,
                    partitions=self._settings.partitions,
                    accepted_us=self._accepted_us[partition],
                )
                await ids.send(partition, _rows(made.ids), self._now_ms)
                await ids.finish()
                await rows.send(partition, _rows(made.scopes), self._now_ms)
            await rows.finish()
        states = sum(len(one.states) for one in self._plan.partitions)
        self._report(f"wrote the state of {states} scopes")

    def _adopt_tables(self, topics: dict[str, TopicInfo]) -> None:
        """Step 5."""
        for stream in tables_of(self._found.source):
            with closing(Lake(self._settings.lake, stream=stream)) as lake:
                lake.create()
                adopt_log(lake, self._found.vectors[stream], topics[stream.log].id)

    def _sender(self, topic: str, compression: str | None = None) -> Sender:
        return Sender(self._settings.kafka, topic, self._settings.partitions, compression)


def _rows(rows: Sequence[tuple[bytes, bytes | None]]) -> list[Record]:
    return [(key, value, []) for key, value in rows]
