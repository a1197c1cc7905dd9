"""Every topic of a topology, with what it must be: created where it is absent, checked at start."""

from k2_streams.core.records.source import INPUTS, RawInput
from k2_streams.core.records.stream import Stream
from k2_streams.kafka.topics import (
    TopicSpec,
    answered_topics,
    dead_letter_topic,
    levels_topic,
    log_topic,
    stream_topics,
    table_topic,
)
from k2_streams.runtime.node.log_topics import LogTopics
from k2_streams.runtime.settings.worker import Settings
from k2_streams.runtime.task.market import window_of
from k2_streams.topology.declarations import StreamSource, Topology


def followed_inputs(topology: Topology, settings: Settings) -> list[RawInput]:
    """Raw topics of other apps, from whose logs a worker of a topology answers too."""
    own = {stream.name for stream in topology.streams}
    return [INPUTS[name] for name in settings.streams if name not in own]


def logs_of(topology: Topology, settings: Settings) -> tuple[Stream, ...]:
    """Every log that workers of a topology keep in a table; the main one first."""
    return (*topology.streams, *(topology.ledger if settings.ledger else ()))


def _of_query_node(topology: Topology, settings: Settings) -> set[str]:
    """The topics of a topology that a query node reads: its logs, and what is beside them."""
    names: set[str | None] = set()
    for stream in logs_of(topology, settings):
        names |= {stream.log, *LogTopics.of(topology, stream, with_source=True)}
    for followed in followed_inputs(topology, settings):
        names |= {followed.stream.log, *LogTopics.of_input(followed)}
    return {name for name in names if name is not None}


def topics_of(topology: Topology, settings: Settings) -> list[TopicSpec]:
    """The topics that a worker of a topology needs, each once.

    The log of another app is among them, as that app makes it, and a query node has those that
    workers make: whichever of the two starts first creates it.
    """
    partitions, app_id = settings.partitions, settings.app_id
    specs: list[TopicSpec] = []
    if topology.raw is not None:
        ttl_ms = window_of(settings).ttl_ms
        specs += stream_topics(topology.raw.input, app_id, partitions, ids_ttl_ms=ttl_ms)
    for source in topology.sources:
        if isinstance(source, StreamSource):
            specs += [
                log_topic(source.topic, partitions),
                table_topic(app_id, source.position_table, partitions),
                dead_letter_topic(topology.dead_letter(source), partitions),
            ]
    specs += [log_topic(stream.log, partitions) for stream in topology.streams]
    for followed in followed_inputs(topology, settings):
        specs += answered_topics(followed, partitions)
    specs += [table_topic(app_id, table.name, partitions) for table in topology.tables]
    specs.append(levels_topic(topology.levels, partitions))
    once: dict[str, TopicSpec] = {}
    for spec in specs:
        once.setdefault(spec.name, spec)
    if settings.processes:
        return list(once.values())
    read = _of_query_node(topology, settings)
    return [spec for spec in once.values() if spec.name in read]
