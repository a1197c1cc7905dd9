"""`StreamDriver`: an app, run in a test without a broker, by the code that runs it in production.

    with StreamDriver(app) as driver:
        driver.input("k2.trades.raw").send({"exchange": "X", "symbol": "A", ...})
        driver.output("trades").read_all()          # an Arrow table
        driver.rows("trades", symbol="A")           # the hybrid answer of lake and tail

Brokers, disk, catalog and clock are in memory (`k2_streams.testing.memory`); task, checkpoint,
restore, sink, tail and query are production's. Time is virtual: it passes when the driver is told
to let it pass, and when something is read, as long as it takes until all that was sent is
processed. The same calls give the same outputs each time.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

import pyarrow as pa

from k2_streams.core.sequence.gaps import Gap
from k2_streams.kafka.log_reader import Record
from k2_streams.query.answer import Answer
from k2_streams.runtime.limits import Limits
from k2_streams.runtime.settings.worker import Settings
from k2_streams.testing.driver_errors import DriverError
from k2_streams.testing.driver_limits import DRIVER_LIMITS, FETCH_RECORDS
from k2_streams.testing.driver_queries import answer_of, gaps_of
from k2_streams.testing.driver_run import DriverRun
from k2_streams.testing.driver_tables import table_names, table_rows
from k2_streams.testing.driver_topics import (
    InputMessage,
    InputTopic,
    LogEncoder,
    OutputTopic,
    RawEncoder,
    When,
    committed_records,
)
from k2_streams.testing.oracle.dead_letters import Letter, letter_of
from k2_streams.testing.splits import check_splits
from k2_streams.topology.declarations import RawSource, Source, Topology

__all__ = ["DriverError", "InputMessage", "InputTopic", "OutputTopic", "StreamDriver"]

#: What the calendar shows when a driver starts.
START = dt.datetime(2025, 11, 23, 12, tzinfo=dt.UTC)


class HasTopology(Protocol):
    """A `k2.App`."""

    @property
    def topology(self) -> Topology:
        """What it declares, checked."""
        ...


class StreamDriver:
    """See the module. Synchronous; use it in a test without `async`.

    Args:
        app: a `k2.App` or a `Topology`.
        partitions: of every topic.
        settings: by the names of the environment's variables: `{"K2_LATE_HORIZON_S": 60}`. The
            process's own environment is not read.
        seed: everything that is drawn is drawn from it.
        start: what the calendar shows at the beginning.
        limits: of every worker: `dataclasses.replace(DRIVER_LIMITS, batch_records=2)`, for a test
            that is to meet a limit.
        fetch_records: records of one fetch of one partition, at the most.

    Raises:
        SettingsError: a setting cannot be used.
        DriverError: the app does not start.
    """

    def __init__(
        self,
        app: HasTopology | Topology,
        *,
        partitions: int = 4,
        settings: Mapping[str, object] | None = None,
        seed: int = 0,
        start: dt.datetime = START,
        limits: Limits = DRIVER_LIMITS,
        fetch_records: int = FETCH_RECORDS,
    ) -> None:
        self.topology = app if isinstance(app, Topology) else app.topology
        self._options: dict[str, Any] = {
            "partitions": partitions,
            "settings": dict(settings or {}),
            "start": start,
        }
        self._run = DriverRun(
            self.topology, seed=seed, limits=limits, fetch_records=fetch_records, **self._options
        )
        self._inputs: dict[str, InputTopic] = {}
        try:
            self._run.restart()
            self._run.advance_to(max(self._run.elapsed_s, 0.0))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """The driver runs since it was made."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Stop everything. Nothing can be asked any more."""
        self._run.close()

    @property
    def settings(self) -> Settings:
        """Of every worker."""
        return self._run.settings

    # -- topics and tables -----------------------------------------------------------------------

    def input(self, topic: str) -> InputTopic:
        """A topic that the app reads, by its name or by its stream's.

        Raises:
            ValueError: the app reads no such topic.
        """
        sources = {name: one for one in self.topology.sources for name in _names_of_source(one)}
        source = sources.get(topic)
        if source is None:
            raise ValueError(f"the app does not read {topic}: it reads {', '.join(sources)}")
        found = self._inputs.get(source.topic)
        if found is None:
            found = self._inputs[source.topic] = self._new_input(source)
        return found

    def _new_input(self, source: Source) -> InputTopic:
        run, count = self._run, self.settings.partitions
        encoder = (
            RawEncoder(count) if isinstance(source, RawSource) else LogEncoder(source.stream, count)
        )
        return InputTopic(source.topic, run.cluster, encoder, run.advance_to, lambda: run.time_ns)

    def output(self, topic: str) -> OutputTopic:
        """Any topic of the app, by its name or, of a log, by its stream's.

        Raises:
            ValueError: there is no such topic.
        """
        streams = {name: one for one in self.topology.streams for name in (one.log, one.name)}
        stream = streams.get(topic)
        name = topic if stream is None else stream.log
        cluster = self._run.cluster
        if name not in cluster.topics:
            known = sorted({*cluster.topics, *streams})
            raise ValueError(f"there is no topic {topic}: there are {', '.join(known)}")
        return OutputTopic(name, stream, cluster, self._run.settle)

    @property
    def table_names(self) -> list[str]:
        """The tables that the app has: its own, then K2's."""
        return table_names(self._run.cluster, self.topology, self.settings.app_id)

    def table(self, name: str, partition: int | None = None) -> dict[Any, Any]:
        """The committed rows of a table, decoded, by their keys.

        Args:
            name: of a table that the app declares, or of one of K2's own: `sequence`, `dedup`,
                `deferral`, `timers`.
            partition: of this partition alone.

        Raises:
            ValueError: there is no such table, or a key has a row in two partitions.
        """
        self._run.settle()
        app_id = self.settings.app_id
        return table_rows(self._run.cluster, self.topology, app_id, name, partition)

    # -- queries ---------------------------------------------------------------------------------

    def rows(self, name: str, **selection: Any) -> pa.Table:
        """Rows of a log as a query answers them: lake and tail as one.

        Args:
            name: of the stream, as in `/v1/<name>`.
            selection: as `answer` takes it.
        """
        return self.answer(name, **selection).rows

    def answer(self, name: str, *, as_of: str | None = None, **selection: Any) -> Answer:
        """The answer of a query: `rows`, and in `meta` their proof.

        Args:
            name: of the stream, as in `/v1/<name>`.
            as_of: a token (`answer.meta.token`): the rows of that answer again.
            selection: columns of the stream's key with the value wanted, or a list of them
                (`symbol="A"`), and `start_ns`, `end_ns`, `window_ns`, `limit`, `descending`,
                `view` as in `k2_streams.query.request.RowsRequest`.

        Raises:
            QueryError: as for any query: a symbol that no row was accepted of is not known.
            ValueError: the app has no such output.
            DriverError: no worker runs, or something failed.
        """
        return answer_of(self._run, name, as_of, selection)

    def gaps(self, **selection: Any) -> list[Gap]:
        """Gaps in the app's raw source; an app without one has none.

        Args:
            selection: `symbols`, `exchanges`, `states`, `start_ns`, `end_ns`, `limit` as in
                `k2_streams.query.request.GapsRequest`.
        """
        answer = gaps_of(self._run, selection)
        return [] if answer is None else list(answer.gaps)

    def dead_letters(self) -> list[Letter]:
        """The records, or rows, that could not be processed, oldest first within a partition."""
        self._run.settle()
        topics = dict.fromkeys(self.topology.dead_letter(one) for one in self.topology.sources)
        return [
            letter_of(
                one.partition,
                Record(one.offset, one.key, one.value, one.headers, one.timestamp_ms),
            )
            for topic in topics
            for one in committed_records(self._run.cluster, topic)
        ]

    # -- time ------------------------------------------------------------------------------------

    @property
    def time_ns(self) -> int:
        """The time now, in nanoseconds since 1970."""
        return self._run.time_ns

    @property
    def elapsed_s(self) -> float:
        """Seconds since the driver's start."""
        return self._run.elapsed_s

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            DriverError: something failed meanwhile.
        """
        self._run.advance_to(self._run.elapsed_s + seconds)

    def advance_to(self, moment: When) -> None:
        """Let time pass until a moment: a time, or seconds since the start.

        Raises:
            ValueError: it is over.
            DriverError: something failed meanwhile.
        """
        self._run.advance_to(moment)

    def schedule(
        self, topic: str, messages: Sequence[InputMessage], first_s: float, spacing_s: float
    ) -> float:
        """Send messages while time passes, whatever the workers do then.

        Args:
            topic: of a source.
            messages: of which those without a time are sent one after the other.
            first_s: seconds since the start, one spacing before the first of them.
            spacing_s: between two of them.

        Returns:
            When the last one is sent, in seconds since the start.
        """
        run, found, moment_s = self._run, self.input(topic), first_s
        for message in messages:
            moment_s = moment_s + spacing_s if message.at is None else run.offset_s(message.at)
            run.call_at(moment_s, found.append, message._replace(at=None))
        return moment_s

    def checkpoint(self) -> None:
        """Let time pass until everything that was sent is processed and committed.

        Raises:
            DriverError: something failed, no worker runs, or it takes longer than two minutes.
        """
        self._run.worker()
        self._run.settle()

    def commit_lake(self) -> None:
        """Let time pass until every row is in the lake, and queries read it there.

        Raises:
            DriverError: something failed, or it takes much longer than the interval of commits.
        """
        self.checkpoint()
        self._run.commit_lake()

    # -- faults ----------------------------------------------------------------------------------

    def crash(self, at: str | None = None) -> None:
        """Kill workers, as by kill -9; `restart` starts them again.

        Args:
            at: a failpoint (`k2_streams.failpoints.POINTS`): the worker that comes to it first is
                killed there. Time passes until one does; a take-over, a rebalance or a stop is
                begun if the point lies in one. None: all workers are killed where they are.

        Raises:
            ValueError: there is no such failpoint.
            DriverError: no worker came to the point: there was nothing to process, or nothing to
                commit.
        """
        if at is None:
            self._run.kill()
        else:
            self._run.crash(at)

    def restart(self, *, empty_disks: bool = False) -> None:
        """Stop the workers that run, in order, and start all of them again.

        Args:
            empty_disks: of all workers: every table is restored from its changelog alone.

        Raises:
            DriverError: one does not stop, or does not start.
        """
        self._run.restart(empty_disks=empty_disks)

    def rebalance(self, workers: int = 2) -> None:
        """From now on so many workers, whose partitions the group assigns again.

        Raises:
            ValueError: there must be one at least.
            DriverError: one does not stop, or does not start.
        """
        if workers < 1:
            raise ValueError(f"expected one worker or more, found {workers}")
        self._run.rebalance(workers)

    def check_splits(
        self, records: Sequence[InputMessage | Any], *, topic: str | None = None, seed: int = 0
    ) -> None:
        """Check that what the app makes of records does not depend on how they are cut.

        The same records, sent at the same times, are processed in fresh apps of the same
        declaration: as they come, in batches of one, in one batch, with crashes, restarts and
        rebalances in between. Outputs, tables and answers must be equal.

        Args:
            records: `InputMessage`s, or what `InputTopic.send` takes as a value.
            topic: they are sent to; None: the app reads one alone.
            seed: of the cuts.

        Raises:
            AssertionError: two runs differ; the text shows the first difference.
            ValueError: the app reads several topics, and none is named.
        """
        names = [one.topic for one in self.topology.sources]
        if topic is None and len(names) > 1:
            raise ValueError(f"the app reads {', '.join(names)}: name one with topic=")
        check_splits(
            self._another,
            topic or names[0],
            [one if isinstance(one, InputMessage) else InputMessage(one) for one in records],
            seed,
        )

    def _another(
        self, *, more_settings: Mapping[str, object], limits: Limits, fetch_records: int
    ) -> "StreamDriver":
        """A fresh driver of the same app."""
        options = {**self._options, "settings": {**self._options["settings"], **more_settings}}
        return StreamDriver(self.topology, limits=limits, fetch_records=fetch_records, **options)


def _names_of_source(source: Source) -> tuple[str, ...]:
    return (source.topic,) if isinstance(source, RawSource) else (source.topic, source.stream.name)
