"""What a topology consists of, by the names that an operator meets: topics, tables, paths."""

from collections.abc import Iterable

import msgspec

from k2_streams.core.records.stream import Stream
from k2_streams.kafka.topics import changelog_topic
from k2_streams.runtime.settings.worker import Settings
from k2_streams.topology.declarations import (
    Agent,
    BuiltInTable,
    RawSource,
    Source,
    Table,
    Topology,
)

#: Of every Iceberg table.
_NAMESPACE = "k2"


class DescribedOutput(msgspec.Struct, frozen=True):
    """A log, and where its rows are found.

    Attributes:
        name: of the stream.
        topic: of the log.
        table: in Iceberg.
        path: of the HTTP endpoint.
        key: the columns that name what a row is about.
        time: the column of event time.
    """

    name: str
    topic: str
    table: str
    path: str
    key: tuple[str, ...]
    time: str


class DescribedTable(msgspec.Struct, frozen=True):
    """Keyed state.

    Attributes:
        name: of the folder.
        changelog: the topic from which it is restored.
        version: of the state; None: K2's own table.
        value: the type of a row's value; empty: K2's own table.
    """

    name: str
    changelog: str
    version: int | None = None
    value: str = ""


class DescribedAgent(msgspec.Struct, frozen=True):
    """A function over the batches of a source."""

    name: str
    on_error: str
    has_timers: bool
    tables: tuple[DescribedTable, ...]
    outputs: tuple[DescribedOutput, ...]


class DescribedSource(msgspec.Struct, frozen=True):
    """What is read, by one task per partition.

    Attributes:
        topic: that is read.
        stream: whose rows they are, or become.
        feeds: that decode the records; empty: the rows of another app's log.
        tables: of the task itself, the position among them.
        agents: in their order.
        events: the topic of sequence events; None: nothing is sequenced here.
        deferred: the topic of records that were deferred under load; None: none is.
        dead_letter: the topic of records that could not be processed.
    """

    topic: str
    stream: str
    feeds: tuple[str, ...]
    tables: tuple[DescribedTable, ...]
    agents: tuple[DescribedAgent, ...]
    events: str | None
    deferred: str | None
    dead_letter: str


class DescribedTopology(msgspec.Struct, frozen=True):
    """A topology under the settings of an environment."""

    name: str
    app_id: str
    partitions: int
    state: str
    web: str
    levels: str
    sources: tuple[DescribedSource, ...]
    pages: tuple[str, ...]


def describe(
    topology: Topology, settings: Settings, pages: Iterable[str] = ()
) -> DescribedTopology:
    """Describe a topology.

    Args:
        topology: which.
        settings: of a worker of it.
        pages: the paths of the user's pages, below `/pages`.
    """
    return DescribedTopology(
        name=topology.name,
        app_id=settings.app_id,
        partitions=settings.partitions,
        state=str(settings.worker_dir),
        web=f"http://{settings.web_host}:{settings.web_port}",
        levels=topology.levels,
        sources=tuple(_source(topology, source, settings.app_id) for source in topology.sources),
        pages=tuple(f"/pages{path}" for path in pages),
    )


def _source(topology: Topology, source: Source, app_id: str) -> DescribedSource:
    agents = topology.agents_of(source)
    declared = {table.name for agent in agents for table in agent.tables}
    raw = source if isinstance(source, RawSource) else None
    stream = source.input.stream if isinstance(source, RawSource) else source.stream
    own = source.input.tables if isinstance(source, RawSource) else (source.position_table,)
    return DescribedSource(
        topic=source.topic,
        stream=stream.name,
        feeds=() if raw is None else tuple(raw.feeds),
        tables=tuple(
            DescribedTable(name, changelog_topic(app_id, name))
            for name in own
            if name not in declared
        ),
        agents=tuple(_agent(agent, app_id) for agent in agents),
        events=topology.events(source),
        deferred=None if raw is None else raw.input.deferred,
        dead_letter=topology.dead_letter(source),
    )


def _agent(agent: Agent, app_id: str) -> DescribedAgent:
    return DescribedAgent(
        name=agent.name,
        on_error=agent.on_error.value,
        has_timers=agent.on_timer is not None,
        tables=tuple(_table(table, app_id) for table in agent.tables),
        outputs=tuple(_output(output.stream) for output in agent.outputs),
    )


def _table(table: Table | BuiltInTable, app_id: str) -> DescribedTable:
    changelog = changelog_topic(app_id, table.name)
    if isinstance(table, BuiltInTable):
        return DescribedTable(table.name, changelog)
    value = getattr(table.value, "__name__", str(table.value))
    return DescribedTable(table.name, changelog, table.version, value)


def _output(stream: Stream) -> DescribedOutput:
    return DescribedOutput(
        stream.name,
        stream.log,
        f"{_NAMESPACE}.{stream.name}",
        f"/v1/{stream.name}",
        stream.key,
        stream.time,
    )
