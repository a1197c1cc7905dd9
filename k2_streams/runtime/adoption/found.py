"""What there is of an app whose broker was lost, and whether it can be adopted. Changes nothing."""

import asyncio
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

from k2_streams.core.records.source import RawInput
from k2_streams.core.records.stream import Stream
from k2_streams.core.records.vector import Vector
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.groups import GroupAdmin
from k2_streams.kafka.log_reader import LogReader
from k2_streams.kafka.topics import TopicAdmin, TopicInfo, TopicSpec, stream_topics
from k2_streams.lake.adoption import created_topics
from k2_streams.lake.errors import TableMissingError
from k2_streams.lake.registration import unregistered
from k2_streams.lake.table import Lake
from k2_streams.runtime.lock import is_held
from k2_streams.runtime.reset.found import state_folders
from k2_streams.runtime.settings.worker import Settings
from k2_streams.topology.declarations import RawSource, Topology


class AdoptionRefusedError(Exception):
    """The app cannot be adopted as it is; nothing was changed. The text says what to do."""


@dataclass(frozen=True, slots=True)
class LostCatalog:
    """A table that the catalog does not know, and the metadata file that it is known again by."""

    stream: Stream
    metadata_file: str


@dataclass(frozen=True, slots=True)
class FoundApp:
    """An app on its new broker, and in the lake.

    Attributes:
        source: the raw topic that it reads.
        specs: what its topics must be.
        topics: of those, the ones that are there.
        ours: those that an adoption which was not finished has created.
        vectors: of its tables.
    """

    source: RawInput
    specs: tuple[TopicSpec, ...]
    topics: Mapping[str, TopicInfo]
    ours: Mapping[str, str]
    vectors: dict[Stream, Vector]

    @property
    def is_adopted(self) -> bool:
        """Whether the table of its rows goes on from the topic that is there."""
        stream = self.source.stream
        topic = self.topics.get(stream.log)
        return topic is not None and self.vectors[stream].id_of(stream.log) == topic.id

    def is_ours(self, topic: str) -> bool:
        """Whether an adoption which was not finished has created it."""
        found = self.topics.get(topic)
        return found is not None and self.ours.get(topic) == found.id


def source_of(topology: Topology) -> RawInput:
    """The raw topic of an app that can be adopted.

    Raises:
        AdoptionRefusedError: it has state or rows that the lake cannot give back.
    """
    raw = topology.raw
    own = [one.name for one in topology.outputs if raw is None or one is not raw.accepted]
    others = [one.topic for one in topology.sources if not isinstance(one, RawSource)]
    if raw is None or topology.tables or own or others:
        raise AdoptionRefusedError(
            f"app {topology.name}: expected one raw topic and nothing else: what its own agents "
            "keep is not in the lake: adopt the app of the raw topic, then start the others anew "
            "(`k2 app reset`)"
        )
    return raw.input


def tables_of(source: RawInput) -> tuple[Stream, ...]:
    """The tables that an adoption reads; that of the rows last, as it is the last to be changed."""
    return (*source.ledger, source.stream)


def lost_catalogs(source: RawInput, settings: Settings) -> list[LostCatalog]:
    """The tables that the catalog does not know and that are there.

    Raises:
        LakeError: the catalog or the store does not answer.
    """
    found = []
    for stream in tables_of(source):
        metadata_file = unregistered(settings.lake, stream)
        if metadata_file is not None:
            found.append(LostCatalog(stream, metadata_file))
    return found


async def look(source: RawInput, settings: Settings) -> FoundApp:
    """Find what is there.

    Raises:
        AdoptionRefusedError: it cannot be adopted.
        KafkaError, OSError: the broker does not answer.
        LakeError: the catalog does not.
    """
    await _require_unused(settings)
    specs = stream_topics(
        source, settings.app_id, settings.partitions, ids_ttl_ms=settings.dedup_ttl_s * 1000
    )
    vectors, ours = await asyncio.to_thread(_tables, source, settings)
    async with TopicAdmin(settings.kafka) as admin:
        topics = await admin.describe([one.name for one in specs])
    found = FoundApp(source, tuple(specs), topics, ours, vectors)
    if not found.is_adopted:
        await _require_empty(found, settings)
    return found


async def _require_unused(settings: Settings) -> None:
    async with GroupAdmin(settings.kafka) as admin:
        group = await admin.describe(settings.app_id)
    if group.members:
        raise AdoptionRefusedError(
            f"group {group.name} has members: {', '.join(group.members)}: stop the workers"
        )
    held = [str(one) for one in state_folders(settings.data_dir, settings.folder) if is_held(one)]
    if held:
        raise AdoptionRefusedError(f"{', '.join(held)}: in use by a worker: stop it")


def _tables(source: RawInput, settings: Settings) -> tuple[dict[Stream, Vector], dict[str, str]]:
    vectors: dict[Stream, Vector] = {}
    ours: dict[str, str] = {}
    for stream in tables_of(source):
        with closing(Lake(settings.lake, stream=stream)) as lake:
            try:
                vectors[stream] = lake.head().vector
                ours = created_topics(lake)
            except TableMissingError as error:
                if stream in (source.ledger.levels, source.ledger.repairs):
                    vectors[stream] = Vector()  # no state is made of them
                    continue
                raise AdoptionRefusedError(
                    f"table k2.{stream.name} is not there ({error}): expected a lake that a worker "
                    "with K2_LEDGER=1 has written"
                ) from error
    held = vectors[source.stream].topics.get(source.stream.log)
    if held is None:
        raise AdoptionRefusedError(
            f"table k2.{source.stream.name} has no rows: there is nothing to adopt: start a worker"
        )
    beyond = [number for number in held.next if number >= settings.partitions]
    if beyond:
        raise AdoptionRefusedError(
            f"table k2.{source.stream.name} has rows of partition {max(beyond)}, K2_PARTITIONS is "
            f"{settings.partitions}: set K2_PARTITIONS={max(beyond) + 1}"
        )
    return vectors, ours


async def _require_empty(found: FoundApp, settings: Settings) -> None:
    """Nothing may have been written but by an adoption that was not finished."""
    every = [
        TopicPartition(name, number)
        for name, topic in found.topics.items()
        if not found.is_ours(name)
        for number in range(topic.partitions)
    ]
    async with LogReader(settings.kafka) as reader:
        ends = await reader.high_watermarks(every) if every else {}
    written = sorted({tp.topic for tp, end in ends.items() if end})
    if written:
        raise AdoptionRefusedError(
            f"{', '.join(written)}: expected no records, found some: adopt on a broker that has "
            "none of the app's topics, before producers and workers start; delete topics "
            "whose records may go"
        )
