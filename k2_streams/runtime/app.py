"""`k2.App`: a Faust app in which a user declares a topology, started as any Faust app.

import k2_streams as k2

app = k2.App("surveillance")
trades = app.stream("trades")
recent = app.Table("recent", value=Recent)
alerts = app.output("alerts", schema=ALERTS, key=("exchange", "symbol"), time="event_time_ns")

@app.agent(trades, tables=[recent], outputs=[alerts])
def wash_trades(batch: pa.RecordBatch, ctx: k2.Context) -> None:
    ...

faust -A surveillance worker -l info
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, overload

import pyarrow as pa

from k2_streams.core.enrich.instruments import Instruments
from k2_streams.core.records.source import QUOTES_INPUT, TRADES_INPUT, RawInput
from k2_streams.core.records.stream import Stream
from k2_streams.feeds.feed import FEEDS, Feeds
from k2_streams.feeds.plugins import FeedPluginError, with_plugged_in
from k2_streams.feeds.quote_feeds import QUOTE_FEEDS
from k2_streams.runtime.faust_driver.worker_app import WorkerApp
from k2_streams.runtime.settings.app_defaults import WEB_PORT, AppDefaults
from k2_streams.runtime.settings.instruments import InstrumentsError, load
from k2_streams.runtime.settings.worker import SettingsError, from_environment
from k2_streams.runtime.worker import EXIT_CONFIGURATION
from k2_streams.topology.builder import TopologyBuilder
from k2_streams.topology.declarations import (
    BuiltInTable,
    Output,
    RawSource,
    Source,
    StartOf,
    StreamSource,
)
from k2_streams.topology.declarations import Table as DeclaredTable
from k2_streams.topology.errors import TopologyError
from k2_streams.web.declaration.endpoint import EndpointError
from k2_streams.web.endpoints.stream import check_key

AgentT = TypeVar("AgentT", bound=Callable[[Any, Any], None])
PageT = TypeVar("PageT", bound=Callable[[Any], Any])
#: Feeds of K2's own, by the stream of the accepted rows.
_OWN_FEEDS: Mapping[str, Feeds] = {
    TRADES_INPUT.stream.name: FEEDS,
    QUOTES_INPUT.stream.name: QUOTE_FEEDS,
}
#: What an agent of K2 is declared with, and one of Faust is not.
_AGENT_OPTIONS = frozenset({"tables", "outputs", "on_error", "on_timer"})


class App(WorkerApp):
    """An app: its declarations, and the Faust app that runs them.

    Settings are read from the environment. A bad setting, or a bad feed of another package, ends
    the process with exit code 2 and one line that names it.

    What Faust's own `agent`, `stream` and `page` take is theirs: a topic, a channel, a view.

    Args:
        name: of the topology. It is the consumer group (`K2_APP_ID` overrides that), and the
            beginning of the names of changelogs, dead letters and folders.
        web_port: where `K2_WEB_PORT` is not set.
        folder: stem of the folder of a worker's own state; None: `<name>-worker`.

    Raises:
        TopologyError: the name cannot be one.
    """

    def __init__(self, name: str, *, web_port: int = WEB_PORT, folder: str | None = None) -> None:
        declared = TopologyBuilder(name)
        try:
            settings = from_environment(defaults=AppDefaults(name, web_port, folder))
            instruments = _instruments(settings.instruments_file)
        except (SettingsError, OSError) as error:
            _refuse(str(error))
        except InstrumentsError as error:
            _refuse(f"K2_INSTRUMENTS_FILE: {error}")
        super().__init__(declared, settings, instruments)

    def source(self, raw: RawInput, *, feeds: Feeds | None = None) -> RawSource:
        """Declare a raw topic, whose records are decoded, sequenced and deduplicated.

        Args:
            raw: `k2.TRADES_INPUT`, `k2.QUOTES_INPUT` or one of your own.
            feeds: that decode its records; None: K2's own of that stream. Feeds that installed
                packages declare for the stream are added.

        Raises:
            TopologyError: the topic is declared twice, or no feeds are known.
        """
        name = raw.stream.name
        own = _OWN_FEEDS.get(name) if feeds is None else feeds
        if own is None:
            raise TopologyError(f"source {raw.raw}: K2 has no feeds for {name}: pass feeds=")
        try:
            declared = self._builder.source(raw, with_plugged_in(name, own))
        except FeedPluginError as error:
            _refuse(str(error))
        for topic in (declared.topic, raw.stream.log):
            self.deliver(topic)
        for stream in raw.ledger if self.settings.ledger else ():
            self.deliver(stream.log)
        return declared

    @overload
    def stream(self, channel: str | Stream | Output, *, start: StartOf = "log") -> StreamSource: ...

    @overload
    def stream(self, channel: Any, *args: Any, **options: Any) -> Any: ...

    def stream(self, channel: Any, *args: Any, **options: Any) -> Any:
        """Declare the rows of another app's log, or make a stream of Faust's.

        Args:
            channel: `"trades"`, `"quotes"`, or the output or the `k2.Stream` of another app; what
                else Faust takes is handed to Faust.
            args: Faust's.
            options: `start`: where an app without state begins. `"log"`: at the first record that
                the log still has. `"lake"`: in the lake, which has every row, and then in the log.
                What else: Faust's.

        Raises:
            TopologyError: there is no such stream.
        """
        if not isinstance(channel, str | Stream | Output):
            return super().stream(channel, *args, **options)
        declared = self._builder.stream(channel, **options)
        self.deliver(declared.topic)
        return declared

    def Table(self, name: str, *, value: Any, version: int = 1) -> DeclaredTable:  # noqa: N802 - as Faust's
        """Declare keyed state of one agent, in RocksDB with a changelog.

        Args:
            name: of the folder, and of the changelog `<app>-<name>-changelog`.
            value: the type of a row's value: a `msgspec.Struct`, a dataclass, `int`, `list[str]`...
            version: raise it when the type or its meaning changes.

        Raises:
            TopologyError: the name is taken, or the type cannot be stored.
        """
        return self._builder.table(name, value, version)

    def output(self, name: str, *, schema: pa.Schema, key: Iterable[str], time: str) -> Output:
        """Declare rows that one agent emits: a topic, an Iceberg table, a tail and a path.

        Args:
            name: of the topic `k2.<name>`, the table `k2.<name>` and the path `/v1/<name>`.
            schema: of the rows.
            key: the columns that name what a row is about, from the widest to the narrowest.
            time: the column of event time, in nanoseconds since 1970 UTC.

        Raises:
            TopologyError: the rows could not be stored or queried, or a column of the key has the
                name of a parameter of the path.
        """
        declared = self._builder.output(name, schema, key, time)
        try:
            check_key(declared.stream)
        except EndpointError as error:
            raise TopologyError(str(error)) from None
        self.deliver(declared.stream.log)
        return declared

    @overload
    def agent(
        self,
        channel: Source,
        *,
        name: str | None = None,
        tables: Iterable[DeclaredTable | BuiltInTable] = (),
        outputs: Iterable[Output] = (),
        on_error: Literal["stop", "dead-letter"] = "stop",
        on_timer: Callable[[str, int, Any], None] | None = None,
    ) -> Callable[[AgentT], AgentT]: ...

    @overload
    def agent(self, channel: Any = None, **options: Any) -> Any: ...

    def agent(self, channel: Any = None, **options: Any) -> Any:
        """Declare a function over the batches of a source; it stays the function that it is.

        The function is called with a `pyarrow.RecordBatch` and a `k2.Context`. It is pure: what it
        does depends on the rows and their order alone. A source of Faust's makes an agent of
        Faust's.

        Args:
            channel: what `app.source` or `app.stream` gave.
            options: `name` (None: the function's), `tables` that it reads and writes, `outputs`
                that it emits to, `on_error` ("stop" or "dead-letter"), `on_timer`, a function that
                is called with key, event time and `k2.Context` for each timer that is due.

        Raises:
            TopologyError: the declaration cannot work.
        """
        if isinstance(channel, RawSource | StreamSource):
            return lambda function: self._declare_agent(channel, function, **options)
        if _AGENT_OPTIONS & set(options) or isinstance(channel, RawInput | Stream | Output):
            raise TopologyError(
                f"agent on {getattr(channel, 'name', channel)}: expected a source: pass what "
                "app.source(...) or app.stream(...) gave"
            )
        return super().agent(channel, **options)

    def _declare_agent(
        self,
        source: Source,
        function: AgentT,
        *,
        name: str | None = None,
        tables: Iterable[DeclaredTable | BuiltInTable] = (),
        outputs: Iterable[Output] = (),
        on_error: str = "stop",
        on_timer: Callable[[str, int, Any], None] | None = None,
    ) -> AgentT:
        self._builder.agent(source, function, name, tables, outputs, on_error, on_timer)
        return function

    @overload
    def page(self, path: str) -> Callable[[PageT], PageT]: ...

    @overload
    def page(self, path: str, **options: Any) -> Any: ...

    def page(self, path: str, **options: Any) -> Any:
        """Declare a page of your own, or with Faust's options a view of Faust's.

        Args:
            path: below `/pages`.
            options: Faust's.
        """
        if options:
            return super().page(path, **options)

        def declare(function: PageT) -> PageT:
            self._builder.page(path, function)
            return function

        return declare


def _instruments(file: Path | None) -> Instruments | None:
    return None if file is None else load(file)


def _refuse(text: str) -> NoReturn:
    """End the process: a person has to change something outside the code."""
    sys.stderr.write(f"k2: {text}\n")
    raise SystemExit(EXIT_CONFIGURATION) from None
