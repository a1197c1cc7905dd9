"""What a reset deletes, in which order, and why that order. Pure.

    1 group        deleted by the broker only if nobody is in it: a worker that is alive stops here
    2 folders      a store is rebuilt from its changelog: without it nothing is lost
    3 changelogs   those of agents first, the one with the position last: without a part of its
                   state an app refuses to start, and without a position it refuses while its logs
                   hold records
    4 tables       in Iceberg
    5 outputs      events and dead letters first, the logs last: they are what makes an app without
                   a position refuse to start

Whatever moment a reset ends at, the app then starts as if nothing had happened, or refuses to. It
never starts on half of it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from k2_streams.core.records.stream import Stream
from k2_streams.kafka.topics import changelog_topic
from k2_streams.topology.declarations import RawSource, Topology


class Deleted(StrEnum):
    """What is deleted, in the order in which it is."""

    GROUP = "group offsets"
    FOLDER = "state folder"
    CHANGELOG = "changelog"
    DEFERRED = "deferred records"
    TABLE = "Iceberg table"
    EVENTS = "sequence events"
    DEAD_LETTERS = "dead letters"
    REDRIVES = "redrives"
    REPAIRS = "repairs"
    LEVELS = "level changes"
    LOG = "output"


#: What an app keeps for itself; the others are its outputs.
STATE = frozenset({Deleted.GROUP, Deleted.FOLDER, Deleted.CHANGELOG, Deleted.DEFERRED})
#: Outputs that are no reason to ask whether outputs are deleted: no row is written twice for them.
_BESIDE = frozenset({Deleted.LEVELS, Deleted.REDRIVES, Deleted.REPAIRS})


@dataclass(frozen=True, slots=True)
class Deletion:
    """One thing to delete: a topic, a table, a folder, a group."""

    kind: Deleted
    name: str


@dataclass(frozen=True, slots=True)
class Found:
    """What there is of an app.

    Attributes:
        topics: of those that it may own.
        written: topics of outputs with offsets that are used.
        unguarded: outputs that were written and of which no log holds a record any more, so that an
            app without a position would start and write them again.
        tables: names of streams with a table in Iceberg.
        filled: those whose tables have snapshots.
        folders: of workers on this machine.
        has_group: whether the broker knows the consumer group.
    """

    topics: frozenset[str] = frozenset()
    written: frozenset[str] = frozenset()
    unguarded: tuple[str, ...] = ()
    tables: frozenset[str] = frozenset()
    filled: frozenset[str] = frozenset()
    folders: tuple[Path, ...] = ()
    has_group: bool = False


@dataclass(frozen=True, slots=True)
class ResetPlan:
    """A reset.

    Attributes:
        deletions: in their order.
        kept: outputs that hold something and are not deleted.
        read: topics that the app reads; never deleted.
    """

    deletions: tuple[Deletion, ...]
    kept: tuple[Deletion, ...]
    read: tuple[str, ...]


def plan_of(topology: Topology, app_id: str, found: Found, *, outputs: bool) -> ResetPlan:
    """What to delete.

    Args:
        topology: of the app.
        app_id: its consumer group, with which the names of its changelogs begin.
        found: what there is.
        outputs: whether the outputs are deleted too.
    """
    there = [one for one in _owned(topology, app_id, found) if _exists(one, found)]
    order = list(Deleted)
    there.sort(key=lambda one: order.index(one.kind))
    written = {Deleted.TABLE: found.filled}
    return ResetPlan(
        tuple(one for one in there if outputs or one.kind in STATE),
        tuple(
            one
            for one in there
            if not outputs
            and one.kind not in STATE | _BESIDE
            and one.name in written.get(one.kind, found.written)
        ),
        tuple(source.topic for source in topology.sources),
    )


def owned_topics(topology: Topology, app_id: str) -> list[Deletion]:
    """Every topic that is the app's own: no source, and no topic of another app.

    Changelogs stand in the order in which they are deleted.
    """
    read = {source.topic for source in topology.sources}
    return [one for one in dict.fromkeys(_topics(topology, app_id)) if one.name not in read]


def guards_of(topology: Topology) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Per source the logs that keep an app without a position from starting, and all outputs."""
    found = []
    for source in topology.sources:
        logs = tuple(
            stream.log for stream in topology.streams if topology.source_of(stream) is source
        )
        events = topology.events(source)
        others = (topology.dead_letter(source), *(() if events is None else (events,)))
        found.append((logs, (*logs, *others)))
    return found


def streams_of(topology: Topology) -> dict[str, Stream]:
    """Those of the app's tables in Iceberg, by name."""
    return {stream.name: stream for stream in (*topology.streams, *topology.ledger)}


def _owned(topology: Topology, app_id: str, found: Found) -> Iterator[Deletion]:
    yield Deletion(Deleted.GROUP, app_id)
    yield from (Deletion(Deleted.FOLDER, str(folder)) for folder in found.folders)
    yield from owned_topics(topology, app_id)
    yield from (Deletion(Deleted.TABLE, name) for name in streams_of(topology))


def _exists(one: Deletion, found: Found) -> bool:
    match one.kind:
        case Deleted.GROUP:
            return found.has_group
        case Deleted.FOLDER:
            return True
        case Deleted.TABLE:
            return one.name in found.tables
    return one.name in found.topics


def _topics(topology: Topology, app_id: str) -> Iterator[Deletion]:
    yield from _changelogs((table.name for table in topology.tables), app_id)
    for source in topology.sources:
        if isinstance(source, RawSource):
            yield from _changelogs(reversed(source.input.tables), app_id)
            yield Deletion(Deleted.DEFERRED, source.input.deferred)
            yield Deletion(Deleted.REDRIVES, source.input.redrives)
            yield Deletion(Deleted.REPAIRS, source.input.repairs)
        else:
            yield from _changelogs((source.position_table,), app_id)
        events = topology.events(source)
        if events is not None:
            yield Deletion(Deleted.EVENTS, events)
        yield Deletion(Deleted.DEAD_LETTERS, topology.dead_letter(source))
    yield Deletion(Deleted.LEVELS, topology.levels)
    yield from (Deletion(Deleted.LOG, stream.log) for stream in topology.streams)


def _changelogs(tables: Iterable[str], app_id: str) -> Iterator[Deletion]:
    for table in tables:
        yield Deletion(Deleted.CHANGELOG, changelog_topic(app_id, table))
