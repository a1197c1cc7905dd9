"""A Faust app whose K2 topics belong to K2: what `faust -A topologies.trades worker` runs."""

import contextlib
import gc
import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import faust
import structlog

from k2_streams import failpoints
from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.enrich.instruments import Instruments, positive_prices
from k2_streams.core.enrich.notional import Notional, of_ones
from k2_streams.core.load.circuit_breaker import BreakerState
from k2_streams.core.records.source import RawInput
from k2_streams.core.records.vector import Vector
from k2_streams.core.types import TopicPartition
from k2_streams.feeds.feed import Feeds
from k2_streams.feeds.plugins import FeedPluginError, with_plugged_in
from k2_streams.kafka.hanging_transactions import Settling
from k2_streams.kafka.log_reader import LogError
from k2_streams.kafka.topics import (
    TopicConfigurationError,
    TopicInfo,
    TopicSpec,
    changelog_topic,
    ensure_topics,
    stream_topics,
)
from k2_streams.lake.breaker import Guard
from k2_streams.lake.table import Lake
from k2_streams.runtime.assignment import Ownership
from k2_streams.runtime.control.descriptors import DescriptorLimitError, needed, raise_limit
from k2_streams.runtime.control.library_tasks import LibraryTasks
from k2_streams.runtime.control.load_monitor import LoadMonitor
from k2_streams.runtime.control.status import Monitors, Status
from k2_streams.runtime.control.supervisor import Supervisor
from k2_streams.runtime.control.topic_watch import TopicWatch
from k2_streams.runtime.control.watchdog import EXIT_FENCED_INSTANCE, EXIT_TASK_LOST, Watchdog
from k2_streams.runtime.deferral.overload import Overload
from k2_streams.runtime.faust_driver import transport
from k2_streams.runtime.faust_driver.bounded_web import BoundedWeb
from k2_streams.runtime.faust_driver.gate import FlowGate
from k2_streams.runtime.fetched import Fetched
from k2_streams.runtime.lock import (
    DirectoryHeldError,
    DirectoryLock,
    DirectoryUnusableError,
    PortHeldError,
    check_port,
)
from k2_streams.runtime.logs import configure_logs, shape
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.node.node import Node
from k2_streams.runtime.settings.instruments import InstrumentsError, load
from k2_streams.runtime.settings.worker import Settings, SettingsError, from_environment
from k2_streams.runtime.sinks.runner import SinkRunner
from k2_streams.runtime.task.context import TaskContext
from k2_streams.runtime.task.lifecycle import TaskLifecycle
from k2_streams.runtime.task.tables import memory_of, window_of
from k2_streams.state.rocks import ROCKS_DISK
from k2_streams.web.http.connections import (
    BACKLOG,
    LEAST_CONNECTIONS,
    ConnectionLimits,
    Connections,
)
from k2_streams.web.server import HANDLER_ARGS, install
from k2_streams.web.services import Services

BatchAgent = Callable[[AsyncIterator[Fetched]], Awaitable[None]]

log = structlog.get_logger(__name__)

#: A stop that takes longer ends the process: Kafka and the lake are as after a kill, which is safe.
STOP_WITHIN_S = 20.0
EXIT_STOP_TOO_SLOW = 70
EXIT_CONFIGURATION = 2
#: Messages are batches: Faust's default of 4,096 of them would be gigabytes.
STREAM_BUFFER_MESSAGES = 8
#: One fetch: bounds how long one batch holds the event loop (about 40 ms).
POLL_RECORDS = 8_192
#: Records come and go by the ten thousand: with Python's default of 700 the collector runs all the
#: time, and a full run walks every object of every library for a tenth of a second.
GC_THRESHOLDS = (50_000, 20, 100)
#: Every Arrow call lets go of the interpreter, and waits up to this long for it to come back from
#: the consumer's or a query's thread. With Python's default of 5 ms, 20 calls took 20 ms and more.
SWITCH_INTERVAL_S = 0.001
#: A seek that failed is tried again after this.
SEEK_AGAIN_S = 1.0


class Worker(faust.Worker):  # type: ignore[misc]
    """Faust's worker, whose lines have the shape and the bounds of K2's."""

    def _schedule_shutdown(self, signal: signal.Signals) -> None:
        self.app.is_stop_asked = True
        super()._schedule_shutdown(signal)

    def on_setup_root_logger(self, logger: logging.Logger, level: int) -> None:
        """Faust has made the root logger's handlers."""
        super().on_setup_root_logger(logger, level)
        shape(logger.handlers)


class StreamApp(faust.App):  # type: ignore[misc]
    """Wires the worker: topics, ownership, sink, query node, web, watchdog."""

    def __init__(
        self,
        source: RawInput,
        feeds: Feeds,
        settings: Settings,
        instruments: Instruments | None = None,
    ) -> None:
        transport.register()
        failpoints.arm(settings.failpoints, settings.failpoints_record)
        self._source = source
        self._feeds = feeds
        self._notional: Notional = of_ones if instruments is None else instruments.notional
        self._price_domains = instruments.price_domain if instruments else positive_prices
        self.settings = settings
        super().__init__(
            settings.app_id,
            broker=transport.broker_url(settings.kafka.bootstrap),
            store="memory://",
            datadir=str(settings.worker_dir / "faust"),
            topic_partitions=settings.partitions,
            topic_replication_factor=settings.replication,
            topic_disable_leader=True,
            table_standby_replicas=0,
            broker_session_timeout=settings.session_timeout_s,
            broker_heartbeat_interval=max(settings.session_timeout_s / 6, 0.2),
            broker_max_poll_records=POLL_RECORDS,
            consumer_group_instance_id=settings.member_id,
            stream_buffer_maxsize=STREAM_BUFFER_MESSAGES,
            Worker=Worker,
            web_host=settings.web_host,
            web_bind=settings.web_host,
            web_port=settings.web_port,
            web_application_options={"handler_args": HANDLER_ARGS},
            **transport.credentials(settings.kafka),
        )
        self.metrics = Metrics()
        self.metrics.stores_cache_bytes.set_function(lambda: ROCKS_DISK.memory().cache_bytes)
        self.metrics.stores_buffers_bytes.set_function(lambda: ROCKS_DISK.memory().buffers_bytes)
        self.is_stop_asked = False  # by a signal
        self.owner: Ownership
        self.node: Node
        self._connections = Connections()
        self.supervised: Supervisor
        self._topics: TopicWatch
        self._parts = contextlib.AsyncExitStack()  # closed in the reverse order of their start

    def batch_agent(self, topic: str) -> Callable[[BatchAgent], BatchAgent]:
        """Make a coroutine the agent of a topic of K2's: each event is a `Fetched`."""
        channel = self.topic(
            topic,
            schema=transport.BatchSchema(),
            partitions=self.settings.partitions,
            # Faust keeps every acknowledged offset until it commits, which it never does here.
            acks=False,
        )
        agent: Callable[[BatchAgent], BatchAgent] = self.agent(channel)
        return agent

    def _new_web(self) -> Any:
        settings = self.settings
        return BoundedWeb(self, self._connections, settings.web_host, settings.web_port)

    async def on_first_start(self) -> None:
        """Take the data directory before Faust writes to it."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        gc.set_threshold(*GC_THRESHOLDS)
        partitions = self.settings.partitions
        try:
            limit = raise_limit(partitions, LEAST_CONNECTIONS + BACKLOG)
            lock = DirectoryLock(self.settings.worker_dir)
            check_port(self.settings.web_host, self.settings.web_port)
        except (
            DescriptorLimitError,
            DirectoryHeldError,
            DirectoryUnusableError,
            PortHeldError,
        ) as error:
            self._end(EXIT_CONFIGURATION, str(error))
        else:
            self._connections.limits = ConnectionLimits.for_descriptors(limit, needed(partitions))
            self._parts.callback(lock.release)
            await super().on_first_start()

    async def on_start(self) -> None:
        """Check what the worker stands on, then wire it."""
        source, settings, clock = self._source, self.settings, SYSTEM_CLOCK
        stream = source.stream
        specs = stream_topics(
            source, settings.app_id, settings.partitions, ids_ttl_ms=window_of(settings).ttl_ms
        )
        topics = await self._ensure_topics(specs)
        pool = ThreadPoolExecutor(1, thread_name_prefix="tasks")
        self._parts.callback(pool.shutdown)
        overload = Overload(settings.overload, clock)
        supervisor = self.supervised = Supervisor(
            clock, self.metrics, secrets.SystemRandom().random
        )
        self._topics = TopicWatch(settings.kafka, specs, topics, source.raw, clock, supervisor)
        context = TaskContext(
            source=source,
            feeds=self._feeds,
            notional=self._notional,
            price_domains=self._price_domains,
            settings=settings,
            kafka=settings.kafka,
            clock=clock,
            metrics=self.metrics,
            pool=pool,
            raw=topics[source.raw],
            deferred=topics[source.deferred],
            overload=overload,
            supervisor=supervisor,
            changelog=topics[changelog_topic(settings.app_id, "sequence")],
            ids_changelog=topics[changelog_topic(settings.app_id, "dedup")],
            settling=Settling(settings.kafka),
        )
        memory = memory_of(settings)
        log.info(
            "filters of trade ids, each made when it is needed",
            partitions=settings.partitions,
            ids_expected=settings.dedup_expected_ids,
            ttl_s=settings.dedup_ttl_s,
            false_positive_rate=settings.dedup_false_positive_rate,
            bytes_a_partition=memory.size_bytes,
            bytes_in_all=memory.size_bytes * settings.partitions,
        )
        guard = self._new_guard("lake")
        self.node = Node(
            source,
            settings,
            topics[stream.log],
            self.metrics,
            clock,
            guard=guard,
            reads=self._new_guard("store"),
            supervisor=supervisor,
            hold_source=lambda held: self._hold_source(held, "tail full"),
            notional=self._notional,
        )
        sink = SinkRunner(
            Lake(settings.lake, clock, stream=stream),
            settings.kafka,
            topics[stream.log],
            self.metrics,
            clock,
            commit_every_s=settings.lake_commit_interval_s,
            commit_rows=settings.lake_commit_rows,
            on_pause=lambda partitions, paused: self._pause(stream.log, partitions, paused=paused),
            on_seek=lambda starts: self._seek_soon(stream.log, starts),
            on_committed=self._committed,
            supervisor=supervisor,
            guard=guard,
        )
        self.owner = Ownership(
            source,
            lambda partition: TaskLifecycle(
                partition,
                context,
                on_pause=lambda paused: self._pause(source.raw, {partition}, paused=paused),
                on_seek=lambda offset: self._seek_soon(source.raw, {partition: offset}),
                on_ended=self._task_ended,
            ),
            sink,
            self._resume,
            self._is_member,
            supervisor,
            self._reject,
            settings.partitions,
        )
        load = LoadMonitor(
            source,
            settings,
            self.owner,
            overload,
            self.metrics,
            clock,
            pool,
            supervisor,
            downstream_full=lambda: self.node.room.is_held or sink.is_far_behind,
            hold_source=lambda held: self._hold_source(held, "circuit break"),
        )
        status = Status(
            settings,
            self.owner,
            sink,
            self.node,
            load,
            overload,
            self.metrics,
            clock,
            monitors=Monitors(supervisor, self._topics, lambda: self.consumer.faults),
        )
        self.gate = FlowGate(self.consumer)
        watchdog = Watchdog(
            self.owner,
            sink,
            status,
            clock,
            supervisor,
            end=self._end,
            hold_source=lambda held: self._hold_source(held, "lake far behind"),
            waits_for_group=lambda: self.consumer.waits_for_group,
            lost_task=LibraryTasks(
                lambda: {"main": self.loop, "consumer": self.consumer.loop_of_thread},
                lambda: self.consumer.is_heartbeat_lost,
                lambda: self.consumer.flow_active,
                clock,
            ).look,
        )
        install(
            self.web.web_app,
            Services(
                stream=stream,
                query=self.node.query,
                status=status.as_dict,
                lines=status.lines,
                ready=status.ready,
                metrics_registry=self.metrics.registry,
                keys=settings.api_keys,
                rate_limit_per_s=settings.rate_limit_per_s,
                connections=self._connections,
                answers_bytes=self.node.answers_bytes,
                clock=clock,
            ),
        )
        self._parts.push_async_callback(self.node.close)
        await self.node.start()
        self._parts.push_async_callback(self.owner.close)
        gc.collect()
        gc.freeze()  # what is imported and wired stays: no run needs to look at it again
        self._topics.start()
        self._parts.push_async_callback(self._topics.close)
        load.start()
        self._parts.push_async_callback(load.close)
        watchdog.start()
        self._parts.push_async_callback(watchdog.close)
        await super().on_start()

    async def on_stop(self) -> None:
        """Stop in order, within a bound.

        1. Tasks commit what is open, and let go; what is not committed is worked again.
        2. The sink lets a commit under way end; what it buffers is read again.
        3. The query side stops.
        4. Faust leaves: with static membership the partitions wait for this worker's return.
        """
        timer = threading.Timer(
            STOP_WITHIN_S, self._end, (EXIT_STOP_TOO_SLOW, "stop took too long")
        )
        timer.daemon = True
        timer.start()
        await self._parts.aclose()
        await super().on_stop()
        if not self.is_stop_asked:
            reason = f"a part of Faust ended: {self.crash_reason!r}"
            self._end(EXIT_TASK_LOST, reason)
        # The timer goes on: what Faust stops after this has no bound of its own. A consumer that
        # was about to join its group waited for ever.

    async def _ensure_topics(self, specs: Sequence[TopicSpec]) -> dict[str, TopicInfo]:
        settings = self.settings
        try:
            return await ensure_topics(settings.kafka, specs, replication=settings.replication)
        except (TopicConfigurationError, LogError, OSError) as error:
            self._end(EXIT_CONFIGURATION, str(error))
            raise

    @property
    def broker_timed(self) -> str:
        """The topic whose records the broker dates."""
        return self._source.raw

    @property
    def append_time_seen_s(self) -> float:
        """When the source's topic was last seen to date its records, by the monotonic clock."""
        return self._topics.append_time_seen_s

    def end_fenced_instance(self) -> None:
        """The group has another process with this worker's id: the newer one works."""
        self._end(
            EXIT_FENCED_INSTANCE,
            f"another worker has joined group {self.settings.app_id} as "
            f"{self.settings.member_id}: give each worker its own K2_WORKER_ID",
        )

    # -- what the parts ask of the flow ----------------------------------------------------------

    def _pause(self, topic: str, partitions: set[int], *, paused: bool) -> None:
        tps = {TopicPartition(topic, partition) for partition in partitions}
        if paused:
            self.gate.hold(tps & self.owner.assigned, "busy")
        else:
            self.gate.release(tps, "busy")

    def _hold_source(self, held: bool, reason: str) -> None:
        """Put nothing more into the log, whoever owns the source's partitions.

        The lake may lag so far behind that the log loses what it lacks; the tail may have no room;
        the process may take too much memory.
        """
        source = {
            TopicPartition(self._source.raw, partition)
            for partition in range(self.settings.partitions)
        }
        if held:
            self.gate.hold(source, reason)
        else:
            self.gate.release(source, reason)
            self.consumer.pause_partitions(
                {TopicPartition(self._source.raw, p) for p in self.owner.refused}
            )

    def _new_guard(self, name: str) -> Guard:
        """A closed breaker, whose states the metrics show under its name."""
        gauge, changes = self.metrics.breakers[name]

        def show(state: BreakerState) -> None:
            for each in BreakerState:
                gauge.labels(each.value).set(each is state)

        def changed(state: BreakerState) -> None:
            changes.labels(state.value).inc()
            show(state)

        guard = Guard(
            self.settings.breaker,
            SYSTEM_CLOCK,
            chance=secrets.SystemRandom().random,
            on_change=changed,
            name=name,
        )
        show(guard.state)
        return guard

    async def _is_member(self, generation: int) -> bool:
        member: bool = await self.consumer.is_member(generation)
        return member

    async def _resume(self, starts: Mapping[TopicPartition, int]) -> None:
        await self.consumer.seek_and_resume(starts)

    def _reject(self, tp: TopicPartition, offset: int, error: Exception) -> None:
        self.supervised.spawn("reject", self.consumer.reject(tp, offset, error), lambda _: None)

    def _seek_soon(self, topic: str, starts: Mapping[int, int]) -> None:
        tps = {TopicPartition(topic, partition): offset for partition, offset in starts.items()}
        self.supervised.spawn("seek", self._resume(tps), lambda _: self._seek_again(topic, starts))

    def _seek_again(self, topic: str, starts: Mapping[int, int]) -> None:
        """A seek failed. Without it its partitions would never be read on."""
        still = {
            p: at for p, at in starts.items() if TopicPartition(topic, p) in self.owner.assigned
        }
        if still and not self.should_stop:
            self.loop.call_later(SEEK_AGAIN_S, self._seek_soon, topic, still)

    def _committed(self, _vector: Vector) -> None:
        self.node.query.refresh_soon()

    def _task_ended(self, task: TaskLifecycle) -> None:
        self.owner.on_task_ended(task)

    @staticmethod
    def _end(code: int, reason: str) -> None:
        """End the process at once: what is committed stands, what is not is worked again."""
        log.error("worker ends", reason=reason, code=code)
        sys.stderr.write(f"k2: {reason}\n")
        sys.stderr.flush()
        os._exit(code)


def stream_app(source: RawInput, feeds: Feeds) -> StreamApp:
    """A topology's app, by the environment's settings.

    A bad setting, or a bad feed of another package, ends the process with its name.
    """
    configure_logs()
    try:
        feeds = with_plugged_in(source.stream.name, feeds)
        settings = from_environment(source=source)
        file = settings.instruments_file
        return StreamApp(source, feeds, settings, None if file is None else load(file))
    except (SettingsError, FeedPluginError, InstrumentsError, OSError) as error:
        setting = "K2_INSTRUMENTS_FILE: " if isinstance(error, InstrumentsError) else ""
        sys.stderr.write(f"k2: {setting}{error}\n")
        raise SystemExit(EXIT_CONFIGURATION) from None
