"""What a repair works with: the platform that the options name, and the source that it asks."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from k2_streams.cli.errors import CannotError
from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.records.source import INPUTS
from k2_streams.core.sequence.codec import SequenceFormatError
from k2_streams.feeds.plugins import FeedPluginError, with_plugged_in
from k2_streams.kafka.log_reader import LogError, Record
from k2_streams.kafka.publisher import NotPublishedError
from k2_streams.kafka.sender import UNREACHABLE, NotAcknowledgedError
from k2_streams.kafka.topics import TopicAdmin, TopicConfigurationError, repairs_topic
from k2_streams.kafka.transactions import REQUEST_FAILED
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.errors import LakeError
from k2_streams.lake.scan import scan
from k2_streams.lake.table import Lake
from k2_streams.runtime.repair.missing import GapSelection
from k2_streams.runtime.repair.platform import RepairPlatform
from k2_streams.runtime.repair.sources import (
    LAKE_COLUMNS,
    LakeSource,
    PluggedInSource,
    RecordingSource,
    RepairSource,
    RepairSourceError,
    TopicSource,
)
from k2_streams.runtime.settings.app_defaults import AppDefaults
from k2_streams.runtime.settings.instruments import InstrumentsError, load
from k2_streams.runtime.settings.kafka import with_bootstrap
from k2_streams.runtime.settings.worker import SettingsError, from_environment
from k2_streams.testing.oracle.topic_records import NotReachedError, read_topic
from k2_streams.testing.streams import DECODERS


@contextmanager
def cannot() -> Iterator[None]:
    """What can go wrong, as one line and exit code 2."""
    try:
        yield
    except (
        SettingsError, NotReachedError, TopicConfigurationError, FeedPluginError, InstrumentsError,
        SequenceFormatError, RepairSourceError, LakeError,
    ) as error:  # fmt: skip
        raise CannotError(str(error)) from error
    except (
        *UNREACHABLE, *REQUEST_FAILED, LogError, NotAcknowledgedError, NotPublishedError,
    ) as error:  # fmt: skip
        raise CannotError(f"not done to the end: {error}: run it again") from error


async def platform_of(options: Mapping[str, Any], *, writes: bool) -> RepairPlatform:
    """The platform; the topic of the repairs is created if it is to be written to.

    Raises:
        NotReachedError: it has no raw topic.
    """
    source = INPUTS[options["stream"]]
    settings = from_environment(defaults=AppDefaults.of_input(source))
    settings = settings.with_kafka(with_bootstrap(settings.kafka, options["bootstrap"]))
    async with TopicAdmin(settings.kafka, settings.replication) as admin:
        raw = (await admin.describe([source.raw])).get(source.raw)
        if raw is None:
            raise NotReachedError(f"topic {source.raw}: expected to repair it, found none")
        if writes:
            await admin.ensure([repairs_topic(source.repairs, raw.partitions)])

    async def read(topic: str, partition: int) -> AsyncIterator[Sequence[Record]]:
        async for _, records in read_topic(settings.kafka, topic, partition):
            yield records

    return RepairPlatform(
        settings,
        source,
        raw.partitions,
        with_plugged_in(source.stream.name, DECODERS[source.stream.name]),
        load(settings.instruments_file) if settings.instruments_file else None,
        read,
        SYSTEM_CLOCK,
    )


def selection_of(options: Mapping[str, Any]) -> GapSelection:
    """Which gaps the options name."""
    names = ("exchange", "symbol", "since", "until", "max_numbers")
    return GapSelection(*(options[name] for name in names))


def source_of(text: str, feed: str, platform: RepairPlatform) -> RepairSource:
    """The source that an option names.

    Raises:
        RepairSourceError: there is none of this name.
    """
    kind, _, where = text.partition(":")
    if kind == "file" and where:
        return RecordingSource(Path(where), feed)
    if kind == "kafka" and "/" in where:
        bootstrap, _, topic = where.rpartition("/")
        kafka = with_bootstrap(platform.settings.kafka, bootstrap)

        async def portions() -> AsyncIterator[Sequence[Record]]:
            async for _, records in read_topic(kafka, topic):
                yield records

        return TopicSource(portions)
    if kind == "lake" and where:
        lake, stream = platform.settings.lake, platform.source.stream
        config = LakeConfig(where, lake.warehouse, lake.properties)

        def tables() -> Iterator[Any]:
            with closing(Lake(config, stream=stream)) as other:
                yield from scan(other, LAKE_COLUMNS)

        return LakeSource(tables)
    return PluggedInSource(text)
