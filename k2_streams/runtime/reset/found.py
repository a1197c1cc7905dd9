"""What there is of an app on the broker, in the lake and on this machine. Changes nothing."""

import asyncio
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from k2_streams.core.types import TopicPartition
from k2_streams.kafka.groups import GroupInfo
from k2_streams.kafka.log_reader import LogReader, holds_records
from k2_streams.kafka.topics import TopicAdmin
from k2_streams.lake.removal import TableState, table_state
from k2_streams.runtime.reset.plan import STATE, Found, guards_of, owned_topics, streams_of
from k2_streams.runtime.settings.worker import Settings
from k2_streams.topology.declarations import Topology


async def look(topology: Topology, settings: Settings, group: GroupInfo) -> Found:
    """Find what a reset may delete.

    Args:
        topology: of the app.
        settings: of a worker of it.
        group: the app's consumer group.

    Raises:
        KafkaError, OSError: the broker does not answer.
        LakeError: the catalog does not.
    """
    own = owned_topics(topology, settings.app_id)
    async with TopicAdmin(settings.kafka) as admin:
        there = await admin.describe([one.name for one in own])
    outputs = [one.name for one in own if one.kind not in STATE and one.name in there]
    partitions = {name: topic.partitions for name, topic in there.items()}
    async with LogReader(settings.kafka) as reader:
        written = await _written(reader, outputs, partitions)
        unguarded = await _unguarded(reader, topology, written)
    tables = {
        name: await asyncio.to_thread(table_state, settings.lake, stream)
        for name, stream in streams_of(topology).items()
    }
    filled = frozenset(name for name, state in tables.items() if state is TableState.FILLED)
    return Found(
        topics=frozenset(there),
        written=frozenset(tp.topic for tp in written),
        unguarded=(*map(str, unguarded), *_without_log(topology, filled, written)),
        tables=frozenset(n for n, state in tables.items() if state is not TableState.ABSENT),
        filled=filled,
        folders=tuple(state_folders(settings.data_dir, settings.folder)),
        has_group=group.exists,
    )


def state_folders(data_dir: Path, stem: str) -> list[Path]:
    """The folders `<stem>-<worker id>` of all workers that ran on this machine."""
    name = re.compile(rf"{re.escape(stem)}-[0-9]+")
    if not data_dir.is_dir():
        return []
    return sorted(one for one in data_dir.iterdir() if one.is_dir() and name.fullmatch(one.name))


def _without_log(
    topology: Topology, filled: Collection[str], written: Iterable[TopicPartition]
) -> list[str]:
    """Tables with rows whose log was never written to, or is another one."""
    logs = {tp.topic for tp in written}
    streams = streams_of(topology).values()
    return [f"table {one.log}" for one in streams if one.name in filled and one.log not in logs]


async def _written(
    reader: LogReader, topics: Iterable[str], partitions: dict[str, int]
) -> list[TopicPartition]:
    """The partitions in which offsets are used."""
    every = [TopicPartition(topic, p) for topic in topics for p in range(partitions[topic])]
    ends = await reader.high_watermarks(every) if every else {}
    return [tp for tp in every if ends[tp]]


async def _unguarded(
    reader: LogReader, topology: Topology, written: list[TopicPartition]
) -> list[TopicPartition]:
    """Written partitions of which no log of their source holds a record any more."""
    found = []
    for logs, outputs in guards_of(topology):
        for partition in sorted({tp.partition for tp in written if tp.topic in outputs}):
            guards = [TopicPartition(log, partition) for log in logs]
            if not [tp for tp in guards if tp in written and await holds_records(reader, tp)]:
                found += [tp for tp in written if tp.partition == partition and tp.topic in outputs]
    return found
