"""A topology as data: sources, agents, tables and outputs, checked when they are declared.

    source ---> agent ---> output
                 |  '----> dead letters
               tables, timers

What is declared says nothing of partitions, offsets or checkpoints. One task per partition of a
source runs all agents of that source in one transaction per checkpoint.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, get_args

import msgspec
import pyarrow as pa

from k2_streams.core.records.source import RawInput
from k2_streams.core.records.stream import STREAMS, Stream, StreamError
from k2_streams.topology.checks import require_function, require_name, require_unique
from k2_streams.topology.errors import TopologyError

#: Tables of the task itself.
RESERVED_TABLES = frozenset({"position", "deferral", "timers", "sequence", "dedup"})
#: Begins the names of the tables that hold the positions in other topologies' logs.
_POSITION_OF = "position-"


#: Where an app begins in another app's log.
StartOf = Literal["log", "lake"]


class OnError(StrEnum):
    """What becomes of a partition when an agent fails on a row again and again."""

    STOP = "stop"
    DEAD_LETTER = "dead-letter"


@dataclass(frozen=True, slots=True, eq=False)
class RawSource:
    """A raw topic, whose records are decoded by feeds.

    Attributes:
        input: the topic, and what becomes of its records.
        feeds: of the topic, by name.
    """

    input: RawInput
    feeds: Mapping[str, Any]
    accepted: "Output" = field(init=False)  # its accepted rows

    def __post_init__(self) -> None:
        """The output follows from the input."""
        object.__setattr__(self, "accepted", Output(self.input.stream))

    @property
    def topic(self) -> str:
        """What is read."""
        return self.input.raw


@dataclass(frozen=True, slots=True, eq=False)
class StreamSource:
    """The rows of another topology's log.

    Attributes:
        stream: whose rows.
        start: where an app without state begins: at the beginning of the `log`, or in the `lake`,
            which has what the log has lost.
    """

    stream: Stream
    start: StartOf = "log"

    def __post_init__(self) -> None:
        """Check the declaration."""
        if self.start not in get_args(StartOf):
            raise TopologyError(
                f"stream {self.stream.name}: expected start 'log' or 'lake', found {self.start!r}"
            )

    @property
    def topic(self) -> str:
        """What is read."""
        return self.stream.log

    @property
    def position_table(self) -> str:
        """The table that holds how far it is read, and the timers of its agents."""
        return f"{_POSITION_OF}{self.stream.name}"


Source = RawSource | StreamSource


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Keyed state of one agent: a store per partition and a changelog.

    Attributes:
        name: of the folder, and of the changelog `<app>-<name>-changelog`.
        value: the type of a row's value, as msgspec knows types.
        version: of the state. Raise it when `value` or its meaning changes: state of another
            version is refused, not guessed at.
    """

    name: str
    value: Any
    version: int = 1
    _decoder: msgspec.msgpack.Decoder[Any] = field(init=False)

    def __post_init__(self) -> None:
        """Check the declaration."""
        require_name("table", self.name)
        if self.name in RESERVED_TABLES or self.name.startswith(_POSITION_OF):
            raise TopologyError(f"table {self.name}: K2 has a table of that name: take another")
        try:
            decoder = msgspec.msgpack.Decoder(self.value)
        except TypeError as error:
            raise TopologyError(f"table {self.name}: {error}") from error
        object.__setattr__(self, "_decoder", decoder)

    def encode(self, value: Any) -> bytes:
        """A value's bytes.

        Raises:
            TypeError: it is not of the declared type.
        """
        encoded = msgspec.msgpack.encode(value)
        try:
            self._decoder.decode(encoded)
        except msgspec.ValidationError as error:
            raise TypeError(f"table {self.name}: {error}") from error
        return encoded

    def decode(self, encoded: bytes) -> Any:
        """The inverse of `encode`; each call gives an object of its own."""
        return self._decoder.decode(encoded)


@dataclass(frozen=True, slots=True, eq=False)
class BuiltInTable:
    """A table of the agent of a raw source, whose rows the steps of its context read and write.

    Attributes:
        name: as of a `Table`.
        holds: what its rows are, for people.
    """

    name: str
    holds: str


SEQUENCE = BuiltInTable("sequence", "per scope: numbers received, open gaps, sessions, lines")
DEDUP = BuiltInTable("dedup", "ids of messages without a sequence number, for a time")


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """Rows that one agent emits: a log `k2.<name>`, a table, a tail, a path.

    Attributes:
        stream: describes the rows.
    """

    stream: Stream

    @classmethod
    def of(cls, name: str, schema: pa.Schema, *, key: tuple[str, ...], time: str) -> "Output":
        """An output of a user's own.

        Args:
            name: of topic, table and path.
            schema: of the rows.
            key: the columns that name what a row is about.
            time: the column of event time, in nanoseconds.

        Raises:
            TopologyError: the rows could not be stored or queried.
        """
        require_name("output", name)
        try:
            return cls(Stream.of_output(name, schema, key=key, time=time))
        except StreamError as error:
            raise TopologyError(str(error)) from error

    @property
    def name(self) -> str:
        """Of topic, table and path."""
        return self.stream.name


@dataclass(frozen=True, slots=True, eq=False)
class Agent:
    """A function over the batches of one source.

    It is pure: it has no clock, no randomness and no I/O, and what it does depends on rows and
    their order, never on how they are cut into batches.

    Attributes:
        name: see `checks.NAME`.
        source: what it reads.
        function: called with a batch and a `Context`.
        tables: that it reads and writes; no other agent does.
        outputs: that it emits to; no other agent does.
        on_error: see `OnError`.
        on_timer: called with key, event time and a `Context` for each timer that is due.
    """

    name: str
    source: Source
    function: Callable[[Any, Any], None]
    tables: tuple[Table | BuiltInTable, ...] = ()
    outputs: tuple[Output, ...] = ()
    on_error: OnError = OnError.STOP
    on_timer: Callable[[str, int, Any], None] | None = None

    def __post_init__(self) -> None:
        """Check the declaration."""
        require_name("agent", self.name)
        try:
            object.__setattr__(self, "on_error", OnError(self.on_error))
        except ValueError:
            raise TopologyError(
                f"agent {self.name}: expected on_error 'stop' or 'dead-letter', found "
                f"{self.on_error!r}"
            ) from None
        require_function(f"agent {self.name}", self.function, "batch", "ctx")
        if self.on_timer is not None:
            require_function(
                f"on_timer of agent {self.name}", self.on_timer, "key", "event_time_ns", "ctx"
            )
        of_raw = isinstance(self.source, RawSource)
        for table in self.tables:
            if isinstance(table, BuiltInTable) is not of_raw:
                raise TopologyError(
                    f"agent {self.name}: table {table.name} cannot be used on {self.source.topic}: "
                    "the agent of a raw source has k2.SEQUENCE and k2.DEDUP, every other one has "
                    "tables that app.Table(...) declares"
                )

    def require_table(self, table: "Table | BuiltInTable") -> None:
        """Check that a table is the agent's.

        Raises:
            ValueError: the agent does not declare it.
        """
        if table not in self.tables:
            raise ValueError(
                f"agent {self.name} does not declare table {table.name}: add it to tables="
            )

    def require_output(self, output: Output) -> None:
        """Check that an output is the agent's.

        Raises:
            ValueError: the agent does not declare it.
        """
        if output not in self.outputs:
            raise ValueError(
                f"agent {self.name} does not declare output {output.name}: add it to outputs="
            )

    @property
    def declared_tables(self) -> tuple[Table, ...]:
        """Those that its topology declares."""
        return tuple(table for table in self.tables if isinstance(table, Table))


@dataclass(frozen=True, slots=True, eq=False)
class Topology:
    """A program: what it reads, keeps and writes, and the agents between."""

    name: str
    sources: tuple[Source, ...]
    agents: tuple[Agent, ...]
    tables: tuple[Table, ...] = ()
    outputs: tuple[Output, ...] = ()

    def __post_init__(self) -> None:
        """Check how the declarations fit together.

        Raises:
            TopologyError: they do not.
        """
        require_name("topology", self.name)
        if not self.sources:
            raise TopologyError(f"topology {self.name} has no source: declare one")
        if sum(isinstance(one, RawSource) for one in self.sources) > 1:
            raise TopologyError(
                f"topology {self.name} has more than one raw topic: declare an app per raw topic"
            )
        require_unique("agent", (one.name for one in self.agents))
        require_unique("table", (one.name for one in self.tables))
        require_unique("output", (one.name for one in self.outputs))
        require_unique("source of topic", (one.topic for one in self.sources))
        require_unique("table in Iceberg", (one.name for one in (*self.streams, *self.ledger)))
        if self.raw is None and self.name in STREAMS:
            raise TopologyError(
                f"topology {self.name}: K2's own has topics k2.{self.name}.*: take another name"
            )
        read = {one.topic for one in self.sources}
        for stream in self.streams:
            if stream.log in read:
                raise TopologyError(
                    f"output {stream.name}: its topic {stream.log} is a source of the same "
                    "topology: read it in a topology of its own"
                )
        for agent in self.agents:
            if agent.source not in self.sources:
                raise TopologyError(
                    f"agent {agent.name}: its source {agent.source.topic} is not among the "
                    "topology's: declare it there"
                )
        if self.raw is not None and len(self.agents_of(self.raw)) != 1:
            raise TopologyError(
                f"topology {self.name}: expected one agent on {self.raw.topic}: what else is to be "
                f"made of its rows is an agent on app.stream({self.raw.input.stream.name!r}) of "
                "another app"
            )
        raw = () if self.raw is None else (self.raw.accepted,)
        self._require_one_agent("table", self.tables, lambda agent: agent.declared_tables)
        self._require_one_agent("output", (*raw, *self.outputs), lambda agent: agent.outputs)

    @property
    def raw(self) -> RawSource | None:
        """The source that feeds decode; None: it reads the rows of other topologies alone."""
        return next((one for one in self.sources if isinstance(one, RawSource)), None)

    @property
    def streams(self) -> tuple[Stream, ...]:
        """Every log that it writes; the accepted rows of its raw source come first."""
        raw = () if self.raw is None else (self.raw.input.stream,)
        return (*raw, *(one.stream for one in self.outputs if one.stream not in raw))

    @property
    def ledger(self) -> tuple[Stream, ...]:
        """What is written about the records of its raw source, beside their rows, as streams."""
        return () if self.raw is None else self.raw.input.ledger

    @property
    def folder(self) -> str:
        """Stem of the folder of a worker's own state, below the data directory."""
        return f"{self.name}-worker" if self.raw is None else self.raw.input.folder

    @property
    def levels(self) -> str:
        """The topic of changes of the degradation level."""
        return f"k2.{self.name}.levels" if self.raw is None else self.raw.input.levels

    def source_of(self, stream: Stream) -> Source:
        """The source whose rows bring about those of a log."""
        for agent in self.agents:
            if any(one.stream is stream for one in agent.outputs):
                return agent.source
        assert self.raw is not None  # noqa: S101 - what no agent writes is the raw source's
        return self.raw

    def dead_letter(self, source: Source) -> str:
        """The topic of records of a source that could not be processed."""
        if isinstance(source, RawSource):
            return source.input.dead_letter
        return f"k2.{self.name}.{source.stream.name}.dead-letter"

    def events(self, source: Source) -> str | None:
        """The topic of what the sequencer finds in a source; None: nothing is sequenced there."""
        return source.input.events if isinstance(source, RawSource) else None

    def _require_one_agent(
        self, what: str, declared: tuple[Any, ...], of: Callable[[Agent], tuple[Any, ...]]
    ) -> None:
        """Shared by two agents, what one finds would depend on how rows are cut into batches."""
        users: dict[int, list[str]] = {id(one): [] for one in declared}
        for agent in self.agents:
            for one in of(agent):
                if id(one) not in users:
                    raise TopologyError(
                        f"agent {agent.name}: its {what} {one.name} is not among the topology's: "
                        "declare it there"
                    )
                users[id(one)].append(agent.name)
        for one in declared:
            names = users[id(one)]
            if len(names) != 1:
                found = f"agents {', '.join(names)}" if names else "no agent"
                raise TopologyError(
                    f"{what} {one.name}: expected one agent that uses it, found {found}: declare "
                    "one per agent"
                )

    def agents_of(self, source: Source) -> tuple[Agent, ...]:
        """The agents of one source, in the order of their declaration."""
        return tuple(agent for agent in self.agents if agent.source is source)
