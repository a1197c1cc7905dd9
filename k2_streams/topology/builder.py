"""Collects what a user declares, one declaration after the other, until the topology is built."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa

from k2_streams.core.records.source import RawInput
from k2_streams.core.records.stream import STREAMS, Stream
from k2_streams.topology.checks import require_name
from k2_streams.topology.declarations import (
    Agent,
    BuiltInTable,
    Output,
    RawSource,
    Source,
    StartOf,
    StreamSource,
    Table,
    Topology,
)
from k2_streams.topology.errors import TopologyError

Declared = TypeVar("Declared")
_TABLES: tuple[type[Table | BuiltInTable], ...] = (Table, BuiltInTable)
_OUTPUTS = (Output,)


class PageDeclaration(NamedTuple):
    """A user's own page: its path below `/pages`, and what answers it."""

    path: str
    function: Callable[[Any], Any]


class TopologyBuilder:
    """The declarations of an app, in their order.

    Each is checked as far as it can be by itself; how they fit together is checked by `build`.

    Args:
        name: of the topology.

    Raises:
        TopologyError: of every method: the declaration cannot work, or the topology has been built.
    """

    def __init__(self, name: str) -> None:
        require_name("app", name)
        self.name = name
        self.pages: list[PageDeclaration] = []
        self._sources: list[Source] = []
        self._agents: list[Agent] = []
        self._tables: list[Table] = []
        self._outputs: list[Output] = []
        self._built: Topology | None = None

    @property
    def topology(self) -> Topology:
        """What the declarations make; from the first call on nothing more can be declared."""
        if self._built is None:
            self._built = self._build()
        return self._built

    def source(self, raw: RawInput, feeds: Mapping[str, Any]) -> RawSource:
        """Declare a raw topic, whose records feeds decode."""
        declared = RawSource(raw, feeds)
        self._require_open(f"source {declared.topic}")
        if any(one.topic == declared.topic for one in self._sources):
            raise TopologyError(
                f"source {declared.topic}: declared before: use what the first app.source gave"
            )
        self._sources.append(declared)
        return declared

    def stream(self, of: str | Stream | Output, start: StartOf = "log") -> StreamSource:
        """Declare the rows of another app's log; of one that is declared already, that one."""
        stream = _stream_of(of)
        for one in self._sources:
            if isinstance(one, StreamSource) and one.topic == stream.log:
                if one.start != start:
                    raise TopologyError(
                        f"stream {stream.name}: declared before with start={one.start!r}: use what "
                        "the first app.stream gave"
                    )
                return one
        self._require_open(f"stream {stream.name}")
        declared = StreamSource(stream, start)
        self._sources.append(declared)
        return declared

    def table(self, name: str, value: Any, version: int) -> Table:
        """Declare keyed state of one agent."""
        self._require_open(f"table {name}")
        declared = Table(name, value, version)
        self._tables.append(declared)
        return declared

    def output(self, name: str, schema: pa.Schema, key: Iterable[str], time: str) -> Output:
        """Declare rows that one agent emits."""
        self._require_open(f"output {name}")
        if isinstance(key, str):
            raise TopologyError(
                f"output {name}: expected key= as a list of columns, found a text: ({key!r},)"
            )
        declared = Output.of(name, schema, key=tuple(key), time=time)
        self._outputs.append(declared)
        return declared

    def agent(
        self,
        source: Source,
        function: Callable[[Any, Any], None],
        name: str | None,
        tables: Iterable[Table | BuiltInTable],
        outputs: Iterable[Output],
        on_error: Any,
        on_timer: Callable[[str, int, Any], None] | None,
    ) -> Agent:
        """Declare an agent; without a name it has its function's."""
        name = name or str(getattr(function, "__name__", type(function).__name__))
        self._require_open(f"agent {name}")
        declared = Agent(
            name,
            source,
            function,
            _given(f"agent {name}: expected in tables= what app.Table(...) gave", tables, _TABLES),
            _given(
                f"agent {name}: expected in outputs= what app.output(...) gave", outputs, _OUTPUTS
            ),
            on_error,
            on_timer,
        )
        self._agents.append(declared)
        return declared

    def page(self, path: str, function: Callable[[Any], Any]) -> None:
        """Declare a page."""
        self._require_open(f"page {path}")
        self.pages.append(PageDeclaration(path, function))

    def _require_open(self, what: str) -> None:
        if self._built is not None:
            raise TopologyError(
                f"{what}: topology {self.name} has been built: declare everything where the app is "
                "made, before it starts"
            )

    def _build(self) -> Topology:
        built = Topology(
            self.name,
            tuple(self._sources),
            tuple(self._agents),
            tuple(self._tables),
            tuple(self._outputs),
        )
        for source in built.sources:
            if isinstance(source, StreamSource) and not built.agents_of(source):
                raise TopologyError(
                    f"topology {self.name}: no agent reads {source.topic}: declare one with "
                    "@app.agent(source, ...), or remove the source"
                )
        if not built.streams:
            raise TopologyError(
                f"topology {self.name} has no output: declare one with app.output(...) and add it "
                "to outputs= of the agent that emits its rows"
            )
        return built


def _given(expected: str, given: Any, kinds: tuple[type[Declared], ...]) -> tuple[Declared, ...]:
    """The declarations of these kinds that an option lists.

    Raises:
        TopologyError: it is no list, or lists something else.
    """
    if isinstance(given, Iterable) and not isinstance(given, str):
        found = tuple(given)
        if all(isinstance(one, kinds) for one in found):
            return found
    raise TopologyError(f"{expected}, in a list; found {given!r}")


def _stream_of(of: str | Stream | Output) -> Stream:
    if isinstance(of, Output):
        return of.stream
    if isinstance(of, Stream):
        return of
    if of not in STREAMS:
        raise TopologyError(
            f"stream {of!r}: expected {' or '.join(STREAMS)}, or the output or the k2.Stream of "
            "another app"
        )
    return STREAMS[of]
