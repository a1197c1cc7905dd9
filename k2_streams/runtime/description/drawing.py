"""A described topology as text for a terminal, and as a Mermaid diagram."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from k2_streams.runtime.description.topology import (
    DescribedAgent,
    DescribedOutput,
    DescribedSource,
    DescribedTable,
    DescribedTopology,
)


class _Row(NamedTuple):
    """A line of the text: what it is about, and what there is to know."""

    name: str
    what: str


def text(topology: DescribedTopology) -> str:
    """Source by source what is read, the agents in between, and what is kept and written."""
    blocks = [list(_source(source)) for source in topology.sources]
    pages = [_Row(f"page {path}", f"{topology.web}{path}") for path in topology.pages]
    blocks.append([_Row("levels", topology.levels), *pages])
    width = max(len(row.name) for block in blocks for row in block)
    drawn = [
        "\n".join(f"{row.name:<{width}}  {row.what}".rstrip() for row in block) for block in blocks
    ]
    head = (
        f"topology {topology.name}: app id {topology.app_id}, {topology.partitions} partitions\n"
        f"state in {topology.state}, web at {topology.web}"
    )
    return "\n\n".join([head, *drawn])


def _source(source: DescribedSource) -> Iterator[_Row]:
    what = (
        f"raw records, by the feeds {' '.join(source.feeds)}"
        if source.feeds
        else f"rows of the stream {source.stream}"
    )
    yield _Row(f"source {source.topic}", what)
    for table in source.tables:
        yield from _below([_table(table)])
    for agent in source.agents:
        yield from _below(_agent(agent))
    for name, topic in (("deferred", source.deferred), ("events", source.events)):
        if topic is not None:
            yield from _below([_Row(name, topic)], arrow="->")
    yield from _below([_Row("dead letters", source.dead_letter)], arrow="->")


def _agent(agent: DescribedAgent) -> Iterator[_Row]:
    timers = ", with timers" if agent.has_timers else ""
    yield _Row(f"agent {agent.name}", f"on error: {agent.on_error}{timers}")
    for table in agent.tables:
        yield from _below([_table(table)])
    for output in agent.outputs:
        yield from _below(_output(output), arrow="->")


def _table(table: DescribedTable) -> _Row:
    kind = "" if table.version is None else f", {table.value} version {table.version}"
    return _Row(f"table {table.name}", f"changelog {table.changelog}{kind}")


def _output(output: DescribedOutput) -> Sequence[_Row]:
    return (
        _Row(f"output {output.name}", f"{output.topic}, Iceberg {output.table}, {output.path}"),
        _Row("", f"key {' '.join(output.key)}, time {output.time}"),
    )


def _below(rows: Iterable[_Row], arrow: str = "--") -> Iterator[_Row]:
    """The same rows, one level further in."""
    for number, row in enumerate(rows):
        yield _Row(f"  |{arrow if number == 0 else '  '} {row.name}", row.what)


def mermaid(topology: DescribedTopology) -> str:
    """A flowchart: topics, agents, tables, and where rows can be queried."""
    lines = ["flowchart LR"]
    for number, source in enumerate(topology.sources):
        lines += [f"  {line}" for line in _flow(source, f"s{number}")]
    return "\n".join(lines)


def _flow(source: DescribedSource, at: str) -> Iterator[str]:
    """A source with what follows from it; the ids begin with `at`."""
    yield f'{at}[/"{source.topic}"/]'
    for number, agent in enumerate(source.agents):
        box = f"{at}a{number}"
        yield f'{at} --> {box}["{agent.name}"]'
        yield from _kept(agent.tables, box)
        yield from _written(agent.outputs, box)
    yield from _kept(source.tables, at)
    topics = (
        ("deferred", source.deferred),
        ("events", source.events),
        ("dead", source.dead_letter),
    )
    for name, topic in topics:
        if topic is not None:
            yield f'{at} -.-> {at}{name}[/"{topic}"/]'


def _kept(tables: Iterable[DescribedTable], box: str) -> Iterator[str]:
    for number, table in enumerate(tables):
        yield f'{box} <--> {box}t{number}[("{table.name}")]'


def _written(outputs: Iterable[DescribedOutput], box: str) -> Iterator[str]:
    for number, output in enumerate(outputs):
        log = f"{box}o{number}"
        yield f'{box} --> {log}[/"{output.topic}"/]'
        yield f'{log} --> {log}table[("Iceberg {output.table}")]'
        yield f'{log} --> {log}path(["{output.path}"])'
