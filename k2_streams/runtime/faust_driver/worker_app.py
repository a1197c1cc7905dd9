"""Faust's side of a worker: its start and stop, its consumer, its agents and its web server.

What runs inside is a `Worker`.
"""

import asyncio
import gc
import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import faust
import structlog
from faust.app.base import BootStrategy

from k2_streams import failpoints
from k2_streams.certificates import FollowingContext, TlsFiles
from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.enrich.instruments import Instruments
from k2_streams.kafka.log_reader import LogError
from k2_streams.kafka.topics import TopicConfigurationError, ensure_topics
from k2_streams.native import load_native
from k2_streams.runtime.acls import acls_of
from k2_streams.runtime.assignment import UndeclaredTopicError
from k2_streams.runtime.control.descriptors import DescriptorLimitError, needed, raise_limit
from k2_streams.runtime.control.watchdog import EXIT_FENCED_INSTANCE, EXIT_TASK_LOST
from k2_streams.runtime.faust_driver import transport
from k2_streams.runtime.faust_driver.bounded_web import BoundedWeb
from k2_streams.runtime.faust_driver.tables import NoTables
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
from k2_streams.runtime.no_group import NoGroup
from k2_streams.runtime.ports import system_ports
from k2_streams.runtime.settings.api_keys import ApiKeysError
from k2_streams.runtime.settings.worker import Settings
from k2_streams.runtime.topics import followed_inputs, logs_of, topics_of
from k2_streams.runtime.tracing import start_traces
from k2_streams.runtime.worker import EXIT_CONFIGURATION, Worker
from k2_streams.topology.builder import PageDeclaration, TopologyBuilder
from k2_streams.topology.declarations import Topology
from k2_streams.topology.errors import TopologyError
from k2_streams.web.declaration.endpoint import EndpointError
from k2_streams.web.http.connections import (
    BACKLOG,
    LEAST_CONNECTIONS,
    ConnectionLimits,
    Connections,
)
from k2_streams.web.pages import page_endpoints
from k2_streams.web.server import HANDLER_ARGS, install

log = structlog.get_logger(__name__)

#: A stop that takes longer ends the process: Kafka and the lake are as after a kill, which is safe.
STOP_WITHIN_S = 20.0
EXIT_STOP_TOO_SLOW = 70
#: Messages are batches: Faust's default of 4,096 of them would be gigabytes.
STREAM_BUFFER_MESSAGES = 8
#: One fetch: bounds how long one batch holds the event loop (about 40 ms).
POLL_RECORDS = 8_192
#: A member that polls nothing for so long leaves its group: ten years. Nothing is polled during a
#: take-over, nor while all partitions are paused, for days if the lake is away so long. Whether the
#: worker makes progress is seen by its watchdog.
MAX_POLL_INTERVAL_S = 10 * 365 * 86_400.0
#: Records come and go by the ten thousand: with Python's default of 700 the collector runs all the
#: time, and a full run walks every object of every library for a tenth of a second.
GC_THRESHOLDS = (50_000, 20, 100)
#: Every Arrow call releases the interpreter, and waits up to this long for it to come back from the
#: consumer's or a query's thread. With Python's default of 5 ms, 20 calls took 20 ms and more.
SWITCH_INTERVAL_S = 0.001


class FaustWorker(faust.Worker):  # type: ignore[misc]
    """Faust's worker, whose lines have the shape and the bounds of K2's."""

    def _schedule_shutdown(self, signal: signal.Signals) -> None:
        self.app.is_stop_asked = True
        super()._schedule_shutdown(signal)

    def on_setup_root_logger(self, logger: logging.Logger, level: int) -> None:
        """Faust has made the root logger's handlers."""
        super().on_setup_root_logger(logger, level)
        shape(logger.handlers, self.app.settings.log_format)


class QueryNodeBoot(BootStrategy):  # type: ignore[misc]
    """What Faust starts of a query node: its web server, and nothing that talks to Kafka."""

    enable_kafka = False

    def agents(self) -> list[Any]:
        """None: nothing is delivered to them."""
        return []


class WorkerApp(faust.App):  # type: ignore[misc]
    """A Faust app that runs a topology.

    Args:
        declared: what runs.
        settings: of the worker.
        instruments: reference data, if the settings name a file.
    """

    def __init__(
        self,
        declared: TopologyBuilder,
        settings: Settings,
        instruments: Instruments | None = None,
    ) -> None:
        self._builder = declared
        transport.register()
        failpoints.arm(settings.failpoints, settings.failpoints_record)
        self._instruments = instruments
        self.settings = settings
        if not settings.processes:
            self.BootStrategy = QueryNodeBoot
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
            broker_max_poll_interval=MAX_POLL_INTERVAL_S,
            consumer_group_instance_id=settings.member_id,
            stream_buffer_maxsize=STREAM_BUFFER_MESSAGES,
            Worker=FaustWorker,
            TableManager=NoTables,
            web_host=settings.web_host,
            web_bind=settings.web_host,
            web_port=settings.web_port,
            web_application_options={"handler_args": HANDLER_ARGS},
            **transport.credentials(settings.kafka),
        )
        self.is_stop_asked = False  # by a signal
        self._metrics = Metrics(settings.app_id)
        self._connections = Connections(on_closed=self._metrics.web.connection_closed)
        self._lock: DirectoryLock | None = None
        self._worker: Worker | None = None
        self._delivered: set[str] = set()
        self._end_traces: Callable[[], None] = lambda: None

    @property
    def topology(self) -> Topology:
        """The declarations as data, checked; nothing more can be declared afterwards.

        Raises:
            TopologyError: they do not fit together.
        """
        return self._builder.topology

    @property
    def pages(self) -> tuple[PageDeclaration, ...]:
        """The user's pages, in the order of their declaration."""
        return tuple(self._builder.pages)

    @property
    def worker(self) -> Worker:
        """What runs; Faust's consumer and agents ask for it once the app has started."""
        assert self._worker is not None  # noqa: S101 - they start behind the app
        return self._worker

    def deliver(self, topic: str) -> None:
        """Hand every batch of a topic to the worker, if it processes any; before the start."""
        if topic in self._delivered or not self.settings.processes:
            return
        self._delivered.add(topic)
        channel = self.topic(
            topic,
            schema=transport.BatchSchema(),
            partitions=self.settings.partitions,
            # Faust keeps every acknowledged offset until it commits, which it never does here.
            acks=False,
        )

        async def deliver(batches: AsyncIterator[Fetched]) -> None:
            async for fetched in batches:
                self.worker.deliver(fetched)

        # As `faust.App.agent` does, without what finds an agent from another module: that compares
        # the file of the caller with those of all modules, a tenth of a second.
        agent = self.conf.Agent(
            deliver,
            name=f"deliver-{topic}",
            app=self,
            channel=channel,
            on_error=self._on_agent_error,
        )
        self.agents[agent.name] = agent
        self.topics.beacon.add(agent)

    @property
    def delivered_topics(self) -> frozenset[str]:
        """What the worker's consumer subscribes to."""
        return frozenset(self._delivered)

    def _new_web(self) -> Any:
        settings = self.settings
        tls = None
        if settings.web_cert_file is not None:
            files = TlsFiles(None, settings.web_cert_file, settings.web_key_file)
            tls = FollowingContext(files, server_side=True)
        return BoundedWeb(self, self._connections, settings.web_host, settings.web_port, tls)

    async def on_first_start(self) -> None:
        """Check the topology, and take the data directory before Faust writes to it.

        The log of the process is set up here and not where the app is declared: who imports a
        topology for a command or a test keeps a log of his own.
        """
        configure_logs(self.settings.log_format)
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        gc.set_threshold(*GC_THRESHOLDS)
        settings = self.settings
        self._end_traces = start_traces(
            settings.traces_endpoint, settings.app_id, settings.member_id
        )
        try:
            topology, settings = self.topology, self.settings
            logs = len(logs_of(topology, settings)) + len(followed_inputs(topology, settings))
            least = needed(topology, settings.partitions if settings.processes else 0, logs)
            limit = raise_limit(least + LEAST_CONNECTIONS + BACKLOG)
            self._lock = DirectoryLock(self.settings.worker_dir)
            check_port(self.settings.web_host, self.settings.web_port)
        except (
            DescriptorLimitError,
            DirectoryHeldError,
            DirectoryUnusableError,
            PortHeldError,
            TopologyError,
        ) as error:
            self._end(EXIT_CONFIGURATION, str(error))
        else:
            self._connections.limits = ConnectionLimits.for_descriptors(limit, least)
            await super().on_first_start()

    async def on_start(self) -> None:
        """Check what the worker needs, then build and start it."""
        try:
            self._check_agents()
            worker = self._worker = await self._build()
        except (
            TopologyError,
            UndeclaredTopicError,
            TopicConfigurationError,
            ApiKeysError,
            LogError,
            OSError,
        ) as error:
            self._end(EXIT_CONFIGURATION, str(error))
            raise
        services = worker.services(self._connections)
        try:
            pages = self.pages if self.settings.answers else ()
            views = page_endpoints(pages, services.by_name)
            install(self.web.web_app, services, views)
        except EndpointError as error:
            self._end(EXIT_CONFIGURATION, str(error))
            raise
        gc.freeze()  # what is imported and wired stays: no run needs to look at it again
        worker.start()
        await super().on_start()

    def _check_agents(self) -> None:
        """What Faust itself was given has a place in the topology.

        Raises:
            UndeclaredTopicError: Faust would assign a topic's partitions, and nothing would read
                them.
            TopologyError: a table of Faust's, whose rows no checkpoint would hold.
        """
        topology = self.topology
        if self.tables.data:
            raise TopologyError(
                f"table {', '.join(sorted(self.tables.data))}: Faust's tables are in no checkpoint "
                "of K2: declare app.Table(name, value=...) and name it in tables= of its agent"
            )
        declared = {
            *(one.topic for one in topology.sources),
            *(one.log for one in logs_of(topology, self.settings)),
        }
        topics = {
            topic
            for agent in self.agents.values()
            for topic in getattr(agent.channel, "topics", ())
        }
        undeclared = topics - declared
        if undeclared:
            raise UndeclaredTopicError(undeclared, declared)

    async def _build(self) -> Worker:
        """The worker on production's ports.

        Raises:
            TopicConfigurationError: a topic is not what the worker needs.
            LogError, OSError: the broker does not answer.
        """
        settings = self.settings
        topology = self.topology
        specs = topics_of(topology, settings)
        ports = system_ports(
            group=self.consumer if settings.processes else NoGroup(),
            kafka=settings.kafka,
            lake=settings.lake,
            clock=SYSTEM_CLOCK,
            chance=secrets.SystemRandom().random,
            memory_limit_bytes=settings.overload.memory_limit_bytes,
            end=self._end,
            native=load_native(settings.native, self._metrics.left_to_python),
        )
        return Worker(
            topology,
            settings,
            await ensure_topics(
                settings.kafka,
                specs,
                replication=settings.replication,
                acls=acls_of(topology, settings),
            ),
            ports,
            metrics=self._metrics,
            instruments=self._instruments,
        )

    async def on_stop(self) -> None:
        """Stop in order, within a bound.

        1. The worker: tasks commit what is open, a lake commit under way ends, queries end.
        2. Faust leaves: with static membership the partitions wait for this worker's return.
        """
        timer = threading.Timer(
            STOP_WITHIN_S, self._end, (EXIT_STOP_TOO_SLOW, "stop took too long")
        )
        timer.daemon = True
        timer.start()
        if self._worker is not None:
            await self._worker.close()
        await asyncio.to_thread(self._end_traces)
        if self._lock is not None:
            self._lock.release()
        await super().on_stop()
        if not self.is_stop_asked:
            reason = f"a part of Faust ended: {self.crash_reason!r}"
            self._end(EXIT_TASK_LOST, reason)
        # The timer goes on: what Faust stops after this has no bound of its own. A consumer that
        # was about to join its group waited for ever.

    def end_fenced_instance(self) -> None:
        """The group has another process with this worker's id: the newer one works."""
        self._end(
            EXIT_FENCED_INSTANCE,
            f"another worker has joined group {self.settings.app_id} as "
            f"{self.settings.member_id}: give each worker its own K2_WORKER_ID",
        )

    @staticmethod
    def _end(code: int, reason: str) -> None:
        """End the process at once: what is committed stands, what is not is processed again."""
        log.error("worker ends", reason=reason, code=code)
        sys.stderr.write(f"k2: {reason}\n")
        sys.stderr.flush()
        os._exit(code)
