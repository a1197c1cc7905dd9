"""The wiring of a worker, once: production, simulation, benchmarks and test driver build it here.

    group (driver)                       ports: log, disk, catalog, clock, threads, chance
        | assign, revoke, deliver          |
        v                                  v
Worker: Ownership --> tasks --> log --> sink --> lake
            |           |         '---> node (tail, query)
            |           '---> committed rows, from memory, to sink and tail
            '-- control: load, watchdog, topics, status

`K2_ROLE` says which of it a process has: `work` all but the nodes, `query` the nodes alone, without
tasks, sinks and a group. What it has is wired the same way.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

import structlog

from k2_streams.core.enrich.instruments import Instruments, positive_prices
from k2_streams.core.enrich.notional import Notional, of_ones
from k2_streams.core.ledger.streams import gap_events_among, has_gap_events
from k2_streams.core.load.circuit_breaker import BreakerState
from k2_streams.core.records.source import RawInput
from k2_streams.core.records.stream import Stream
from k2_streams.core.records.vector import Vector
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.hanging_transactions import Settling
from k2_streams.kafka.topics import TopicInfo, changelog_topic
from k2_streams.lake.breaker import Guard
from k2_streams.lake.maintenance.compaction import Compactor
from k2_streams.query.gaps import GapsView
from k2_streams.query.hybrid import HybridQuery
from k2_streams.query.lake_view import LakeView
from k2_streams.query.reading import Reader
from k2_streams.query.relations import ServedLog
from k2_streams.query.sql.sandbox import Sandbox
from k2_streams.runtime.assignment import Ownership, UndeclaredTopicError
from k2_streams.runtime.committed_rows import CommittedRows
from k2_streams.runtime.control.api_keys_file import ApiKeysFile
from k2_streams.runtime.control.load_monitor import LoadMonitor
from k2_streams.runtime.control.memory import query_limit_bytes
from k2_streams.runtime.control.sessions import ExchangeSessions
from k2_streams.runtime.control.stale_assignment import StaleAssignment
from k2_streams.runtime.control.status import Monitors, Status
from k2_streams.runtime.control.supervisor import Supervisor
from k2_streams.runtime.control.topic_watch import TopicWatch
from k2_streams.runtime.control.watchdog import Watchdog
from k2_streams.runtime.deferral.overload import Overload
from k2_streams.runtime.fetched import Fetched
from k2_streams.runtime.flow import PartitionFlow
from k2_streams.runtime.history.lake_history import LakeHistory
from k2_streams.runtime.limits import DEFAULT_LIMITS, Limits
from k2_streams.runtime.maintenance.keeper import TableKeeper
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.metrics.declaration import or_unknown
from k2_streams.runtime.node.engine import new_engine
from k2_streams.runtime.node.log_topics import LogTopics
from k2_streams.runtime.node.node import Node, open_to_read
from k2_streams.runtime.node.tail_quota import TailLimits
from k2_streams.runtime.output import AnsweredLog, WrittenLog
from k2_streams.runtime.ports import Ports
from k2_streams.runtime.settings.worker import Settings
from k2_streams.runtime.sinks.runner import SinkRunner
from k2_streams.runtime.task.agents import AgentProgram
from k2_streams.runtime.task.context import TaskContext
from k2_streams.runtime.task.lifecycle import TaskLifecycle
from k2_streams.runtime.task.market import MarketProgram, memory_of
from k2_streams.runtime.task.program import Program
from k2_streams.runtime.topics import followed_inputs, logs_of, topics_of
from k2_streams.topology.declarations import Source, StreamSource, Topology
from k2_streams.web.http.api_keys import KeyRing
from k2_streams.web.http.connections import Connections
from k2_streams.web.services import Services

log = structlog.get_logger(__name__)

#: A setting, a file or a topic is not what the worker needs: a person has to change it.
EXIT_CONFIGURATION = 2
#: Findings are few, and answered from the tail meanwhile: they wait for so many of the intervals
#: that rows wait for their commit.
LEDGER_INTERVALS = 6


class Worker:
    """One process's parts. Complete when it is made; `start` begins what runs in the background.

    The driver (Faust in production) calls `assign`, `revoke` and `deliver`; what the worker asks of
    the driver is the port `group`.

    Args:
        topology: what runs.
        settings: of the worker.
        topics: what the topics are, as they were checked at the start.
        ports: everything outside.
        instruments: reference data, if the settings name a file.
        metrics: of the process.
        limits: what bounds buffers, batches and retries.

    Raises:
        ApiKeysError: the file of the API keys cannot be used any more.
    """

    def __init__(
        self,
        topology: Topology,
        settings: Settings,
        topics: dict[str, TopicInfo],
        ports: Ports,
        *,
        metrics: Metrics,
        instruments: Instruments | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._topology = topology
        self._settings = settings
        self._ports = ports
        self._limits = limits
        self._metrics = metrics
        self._known = topics
        self.native = ports.native
        self._notional: Notional = of_ones if instruments is None else instruments.notional
        self._stack = contextlib.AsyncExitStack()
        file = settings.keys_file
        self._keys_file = None if file is None else ApiKeysFile(file)
        self._keys = (
            self._keys_file.ring if self._keys_file else KeyRing.of_texts(settings.api_keys)
        )
        clock = ports.clock
        self.supervisor = Supervisor(clock, metrics, ports.chance, limits)
        sources = [one.topic for one in topology.sources] if settings.processes else []
        read = [TopicPartition(topic, p) for topic in sources for p in range(settings.partitions)]
        self.flow = PartitionFlow(ports.group, read, self.supervisor, limits, metrics.source)
        self.overload = Overload(settings.overload, clock)
        self.pool = ports.threads.executor("tasks")
        self.engine = new_engine(settings, ports, metrics.query)
        self.sandbox = Sandbox(ports.clock)
        self._histories: list[LakeView] = []
        #: The accepted rows first, the ledger last.
        self._logs = logs_of(topology, settings)
        self._lake_guards = {stream: self._new_guard(stream, "lake") for stream in self._logs}
        self._committed = {
            stream: CommittedRows(clock, limits.committed_rows_bytes) for stream in self._logs
        }
        #: Its own logs in their order, then those that other apps write.
        self.answered: Sequence[AnsweredLog] = self._new_answered() if settings.answers else []
        nodes = {one.stream: one.node for one in self.answered}
        self.written: Sequence[WrittenLog] = [
            self._new_written(stream, nodes.get(stream))
            for stream in (self._logs if settings.processes else ())
        ]
        self.owner = Ownership(
            {
                source.topic: self._tasks_of(source, instruments)
                for source in topology.sources
                if settings.processes
            },
            {log.stream.log: log.sink for log in self.written},
            self.flow,
            ports.group.is_member,
            self.supervisor,
            partitions=settings.partitions,
            limits=limits,
        )
        self.topics = TopicWatch(
            ports.kafka, ports.topics, topics_of(topology, settings), topics, sources, clock
        )
        self.load = LoadMonitor(
            topology.levels,
            settings,
            self.owner,
            self.overload,
            metrics,
            clock,
            ports.memory,
            self.pool,
            downstream_full=self._is_downstream_full,
            hold_source=lambda held: self.flow.hold_sources(held, "circuit_break"),
            limits=limits,
        )
        self.status = Status(
            topology,
            settings,
            self.owner,
            self.load,
            self.overload,
            metrics,
            clock,
            written=self.written,
            answered=self.answered,
            monitors=Monitors(
                self.supervisor,
                self.topics,
                lambda: ports.group.faults,
                ports.disk.memory,
                self.engine.memory,
            ),
        )
        self.watchdog = Watchdog(
            self.owner,
            [log.sink for log in self.written],
            self.status,
            clock,
            ports.threads,
            stale=StaleAssignment(self.owner, self.topics, ports.group, clock),
            end=ports.end,
            hold_source=lambda held: self.flow.hold_sources(held, "lake_behind"),
            waits_for_group=lambda: ports.group.waits_for_group,
            lost_task=ports.group.lost_task,
            limits=limits,
        )
        process, disk = metrics.process, ports.disk
        process.rocksdb_block_cache_bytes.set_function(lambda: disk.memory().cache_bytes)
        process.rocksdb_memtable_bytes.set_function(lambda: disk.memory().buffers_bytes)
        process.disk_free_bytes.set_function(or_unknown(lambda: disk.free_bytes(settings.data_dir)))

    # -- its life --------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin what runs in the background. What is started last is stopped first."""
        if self._topology.raw is not None and self._settings.processes:
            self._log_filters()
        stack = self._stack
        stack.callback(self.pool.shutdown)
        # 4 Queries are answered until the end.
        stack.push_async_callback(self._close_engines)
        for lake in self._histories:
            stack.push_async_callback(lake.close)
        for answered in self.answered:
            stack.push_async_callback(answered.node.close)
            for name, work in answered.node.background.items():
                self._keep(self._name(name, answered.stream), work)
        # 3 The sinks let a commit under way end; what they buffer is read again.
        for written in self.written:
            stack.push_async_callback(written.sink.close)
            self._keep(self._name("sink", written.stream), written.sink.run)
            self._keep(self._name("sink-given", written.stream), written.sink.run_given)
            if written.keeper is not None:
                stack.push_async_callback(written.keeper.close)
                self._keep(self._name("maintenance", written.stream), written.keeper.run)
        # 2 Tasks commit what is open and end; what is not committed is processed again.
        stack.push_async_callback(self.owner.close)
        stack.callback(self.flow.close)
        # 1 Nothing is watched any more.
        if self._keys_file is not None:
            self._keep("api-keys", self._keys_file.run)
        if self._settings.calendars:
            calendars, show = self._settings.calendars, self._metrics.show_session
            self._keep("sessions", ExchangeSessions(calendars, self._ports.clock, show).run)
        stack.push_async_callback(self.topics.close)
        self._keep("topics", self.topics.run)
        stack.push_async_callback(self.load.close)
        self._keep("load", self.load.run)
        stack.callback(self.watchdog.close)
        self._keep("watchdog", self.watchdog.run)

    def _log_filters(self) -> None:
        memory, settings = memory_of(self._settings), self._settings
        log.info(
            "filters of trade ids, each made when it is needed",
            partitions=settings.partitions,
            ids_expected=settings.dedup_expected_ids,
            ttl_s=settings.dedup_ttl_s,
            false_positive_rate=settings.dedup_false_positive_rate,
            partition_bytes=memory.size_bytes,
            total_bytes=memory.size_bytes * settings.partitions,
        )

    async def close(self) -> None:
        """Stop in the reverse order of the start."""
        await self._stack.aclose()

    async def _close_engines(self) -> None:
        for engine in (self.engine, self.sandbox):
            await asyncio.get_running_loop().run_in_executor(None, engine.close)

    def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        kept = self.supervisor.keep(name, work)
        self._stack.push_async_callback(kept.close)

    def _name(self, name: str, stream: Stream) -> str:
        """Of a background task; those of the first log go by their kind alone."""
        return name if stream in self._logs[:1] else f"{name}:{stream.log}"

    # -- called by the driver --------------------------------------------------------------------

    async def assign(self, assigned: set[TopicPartition], generation: int) -> None:
        """The group has decided: own these partitions, and read each from where its state says."""
        try:
            starts = await self.owner.take_over(assigned, generation)
        except UndeclaredTopicError as error:
            self._ports.end(EXIT_CONFIGURATION, str(error))
            raise
        self._ports.group.pause_partitions(assigned - set(starts))
        await self.flow.resume(starts)

    async def revoke(self) -> None:
        """A rebalance has begun: commit what is open, within a bound of seconds."""
        await self.owner.release()

    def deliver(self, fetched: Fetched) -> None:
        """Records of an assigned partition. Never blocks."""
        self.owner.offer(fetched)

    # -- what the web shows ----------------------------------------------------------------------

    def services(self, connections: Connections) -> Services:
        """What the web needs of this worker."""
        settings = self._settings
        return Services(
            logs=tuple(ServedLog(one.stream, one.node.query) for one in self.answered),
            status=self.status.as_dict,
            lines=self.status.lines,
            ready=self.status.ready,
            telemetry=self._metrics.web,
            keys=self._keys,
            rate_limit_per_s=settings.rate_limit_per_s,
            connections=connections,
            # Of answers in progress: the same part of the process as queries have.
            answers_bytes=query_limit_bytes(self._ports.memory.limit_bytes),
            clock=self._ports.clock,
            streams_max=settings.streams_max,
            sandbox=self.sandbox,
        )

    # -- parts -----------------------------------------------------------------------------------

    def _is_downstream_full(self) -> bool:
        return any(log.node.quota.is_source_paused for log in self.answered) or any(
            log.sink.is_far_behind for log in self.written
        )

    def _new_answered(self) -> list[AnsweredLog]:
        """A node per log. The gap events' is made first: answers about other logs ask it."""
        followed = followed_inputs(self._topology, self._settings)
        limits = TailLimits.each(self._settings, [*self._logs, *(one.stream for one in followed)])
        #: What the sequence events say of the raw source, for its rows and for their own log.
        findings = None if self._topology.raw is None else GapsView()
        nodes: dict[Stream, Node] = {}
        for stream in sorted(self._logs, key=has_gap_events, reverse=True):
            gap_events = gap_events_among(nodes, stream)
            nodes[stream] = self._new_node(
                stream,
                LogTopics.of(self._topology, stream, with_source=not self._settings.processes),
                limits[stream.name],
                self._lake_guards[stream],
                findings=findings if stream.is_sequenced or has_gap_events(stream) else None,
                gap_events=None if gap_events is None else nodes[gap_events].query,
                on_tail_full=self._holding_sources(stream),
                committed=self._committed[stream],
            )
        return [
            *(AnsweredLog(stream, nodes[stream]) for stream in self._logs),
            *(self._new_followed(one, limits[one.stream.name]) for one in followed),
        ]

    def _holding_sources(self, stream: Stream) -> Callable[[bool], None] | None:
        """What a full tail of one of its own logs calls; None: it pauses no source.

        A ledger's topic is kept for ever, and a query node has no source: such a tail reads later
        what it has no room for.
        """
        if stream.is_ledger or not self._settings.processes:
            return None
        return lambda full: self.flow.hold_sources(full, "tail_full", stream.log)

    def _new_written(self, stream: Stream, node: Node | None) -> WrittenLog:
        """The sink of a log. It shares the breaker of the lake with the log's node, if any."""
        settings, ports, topic = self._settings, self._ports, stream.log
        guard, committed = self._lake_guards[stream], self._committed[stream]

        def show(_: Vector) -> None:
            if node is not None:
                node.query.lake_refresh.soon()

        sink = SinkRunner(
            ports.catalog.open(stream),
            ports.kafka,
            self._known[topic],
            self._metrics.lake.of(stream.name),
            ports.clock,
            commit_every_s=settings.lake_commit_interval_s
            * (LEDGER_INTERVALS if stream.is_ledger else 1),
            commit_rows=settings.lake_commit_rows,
            on_pause=lambda partitions, busy: self.flow.set_busy(
                [TopicPartition(topic, p) for p in partitions], busy=busy
            ),
            on_seek=lambda starts: self.flow.seek_soon(
                {TopicPartition(topic, p): offset for p, offset in starts.items()}
            ),
            on_memory=lambda partitions, in_memory: self.flow.set_in_memory(
                [TopicPartition(topic, p) for p in partitions], in_memory=in_memory
            ),
            committed=committed,
            on_committed=show,
            thread=ports.threads.executor("lake"),
            guard=guard,
            limits=self._limits,
        )
        return WrittenLog(stream, sink, committed, self._new_keeper(stream, guard))

    def _new_followed(self, followed: RawInput, tail_limits: TailLimits) -> AnsweredLog:
        """The node of a log that another app writes. Its full tail pauses no source of this one."""
        stream = followed.stream
        node = self._new_node(
            stream,
            LogTopics.of_input(followed),
            tail_limits,
            self._new_guard(stream, "lake"),
            findings=GapsView(),
            gap_events=None,
            on_tail_full=None,
            # Empty for ever: this worker makes none of these rows.
            committed=CommittedRows(self._ports.clock, self._limits.committed_rows_bytes),
        )
        return AnsweredLog(stream, node)

    def _new_node(
        self,
        stream: Stream,
        beside: LogTopics,
        tail_limits: TailLimits,
        guard: Guard,
        *,
        findings: GapsView | None,
        gap_events: HybridQuery | None,
        on_tail_full: Callable[[bool], None] | None,
        committed: CommittedRows,
    ) -> Node:
        return Node(
            stream,
            beside,
            self._known[stream.log],
            tail_limits,
            self._metrics.tail.of(stream.name),
            self._ports,
            self.engine,
            findings=findings,
            gap_events=gap_events,
            guard=guard,
            reads=self._new_guard(stream, "store"),
            on_tail_full=on_tail_full,
            notional=self._notional,
            rules=self._settings.conditions_file,
            committed=committed,
            limits=self._limits,
        )

    def _new_keeper(self, stream: Stream, guard: Guard) -> TableKeeper | None:
        """Maintenance of a log's table, by the worker that owns the log's first partition."""
        settings, ports, first = self._settings, self._ports, TopicPartition(stream.log, 0)
        if not settings.maintenance:
            return None
        lake = ports.catalog.open(stream)
        return TableKeeper(
            lake,
            Compactor(lake, ports.clock, settings.compaction),
            self._metrics.maintenance.of(stream.name),
            ports.clock,
            # A lake that does not answer the sink is not asked by anybody else either.
            may_work=lambda: first in self.owner.assigned and guard.state is BreakerState.CLOSED,
            interval_s=settings.maintenance_interval_s,
            delete_delay_s=settings.delete_delay_s,
            thread=ports.threads.executor("maintenance"),
            limits=self._limits,
        )

    def _tasks_of(
        self, source: Source, instruments: Instruments | None
    ) -> Callable[[int], TaskLifecycle]:
        """Makes the tasks of a source."""
        settings, ports = self._settings, self._ports
        context = TaskContext(
            program=self._program(source, instruments),
            source=self._known[source.topic],
            settings=settings,
            kafka=ports.kafka,
            clock=ports.clock,
            metrics=self._metrics,
            pool=self.pool,
            overload=self.overload,
            supervisor=self.supervisor,
            settling=Settling(ports.kafka),
            disk=ports.disk,
            native=ports.native,
            limits=self._limits,
            committed={stream.log: committed for stream, committed in self._committed.items()},
            history=self._history_of(source),
        )

        def new_task(partition: int) -> TaskLifecycle:
            tp = TopicPartition(source.topic, partition)
            return TaskLifecycle(
                partition,
                context,
                on_pause=lambda busy: self.flow.set_busy([tp], busy=busy),
                on_seek=lambda offset: self.flow.seek_soon({tp: offset}),
                is_source_held=lambda: self.flow.is_source_held,
                on_ended=self.owner.on_task_ended,
            )

        return new_task

    def _history_of(self, source: Source) -> LakeHistory | None:
        """Where the records of a source are that its topic has lost; None: nobody wants them."""
        if not isinstance(source, StreamSource) or source.start != "lake":
            return None
        stream, ports = source.stream, self._ports
        lake = LakeView(lambda: open_to_read(stream, ports), self._new_guard(stream, "lake"))
        self._histories.append(lake)
        reads = None if ports.catalog.files is None else self._new_guard(stream, "store")
        reader = Reader(stream, lake, self.engine, reads=reads)
        rows = self._limits.history_rows
        return LakeHistory(stream, self._known[stream.log], lake, reader, rows)

    def _program(self, source: Source, instruments: Instruments | None) -> Program:
        """What the tasks of a source run."""
        topics, app_id = self._known, self._settings.app_id
        if isinstance(source, StreamSource):
            return AgentProgram.of(self._topology, source, topics, app_id)
        (agent,) = self._topology.agents_of(source)
        return MarketProgram(
            agent,
            deferred=topics[source.input.deferred],
            sequence=topics[changelog_topic(app_id, "sequence")],
            dedup=topics[changelog_topic(app_id, "dedup")],
            notional=self._notional,
            price_domains=instruments.price_domain if instruments else positive_prices,
        )

    def _new_guard(self, stream: Stream, name: str) -> Guard:
        """A closed breaker, whose states the metrics show under its stream and its name."""
        return Guard(
            self._settings.breaker,
            self._ports.clock,
            chance=self._ports.chance,
            on_change=self._metrics.breaker(stream.name, name),
            name=name,
        )
