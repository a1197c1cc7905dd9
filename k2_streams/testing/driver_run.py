"""The workers of a `StreamDriver` and their world: time, progress, crashes."""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from k2_streams.failpoints import POINTS
from k2_streams.runtime.limits import Limits
from k2_streams.runtime.output import AnsweredLog
from k2_streams.runtime.settings.app_defaults import AppDefaults
from k2_streams.runtime.settings.instruments import load
from k2_streams.runtime.settings.worker import Settings, from_environment
from k2_streams.runtime.topics import topics_of
from k2_streams.testing.driver_errors import DriverError
from k2_streams.testing.driver_topics import When
from k2_streams.testing.memory.fleet import Fleet, FleetError
from k2_streams.testing.memory.worker import MemoryWorker
from k2_streams.topology.declarations import Topology

#: The workers take their partitions over in this time before the driver's start.
LEAD_S = 5
#: Virtual time in which workers must take their partitions over: a dead one's session is 6 s.
UP_WITHIN_S = 60.0
#: Virtual time in which everything that was sent must be processed and committed.
SETTLED_WITHIN_S = 120.0
#: Virtual time, beyond the interval of commits, in which a failpoint must be reached.
REACHED_WITHIN_S = 60.0
#: Virtual time, beyond the interval of commits, in which a commit must be seen by queries.
COMMITTED_WITHIN_S = 30.0


class DriverRun:
    """One run of an app.

    Args:
        topology: of the app.
        partitions: of every topic.
        settings: by the names of the environment's variables.
        seed: everything that is drawn is drawn from it.
        start: what the calendar shows at the beginning.
        limits: of every worker.
        fetch_records: records of one fetch of one partition, at the most.

    Raises:
        SettingsError: a setting cannot be used.
    """

    def __init__(
        self,
        topology: Topology,
        *,
        partitions: int,
        settings: Mapping[str, object],
        seed: int,
        start: dt.datetime,
        limits: Limits,
        fetch_records: int,
    ) -> None:
        self.topology = topology
        self.settings = _settings(topology, partitions, settings)
        self.start_ns = nanoseconds(start)
        file = self.settings.instruments_file
        self._fleet = Fleet(
            topology,
            self.settings,
            topics_of(topology, self.settings),
            begin_ms=self.start_ns // 1_000_000 - LEAD_S * 1000,
            seed=seed,
            instruments=None if file is None else load(file),
            limits=limits,
            fetch_records=fetch_records,
        )
        self.cluster = self._fleet.cluster
        self._wanted = 1  # workers

    def close(self) -> None:
        """Stop everything."""
        self._fleet.close()

    # -- time ------------------------------------------------------------------------------------

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return self._fleet.elapsed_s - LEAD_S

    @property
    def time_ns(self) -> int:
        """The time now, in nanoseconds since 1970."""
        return self.start_ns + round(self.elapsed_s * 1e9)

    def offset_s(self, moment: dt.datetime | float) -> float:
        """A moment in seconds since the start."""
        if isinstance(moment, dt.datetime):
            return (nanoseconds(moment) - self.start_ns) / 1e9
        return moment

    def advance_to(self, moment: When) -> None:
        """Let time pass until a moment; None: not at all.

        Raises:
            ValueError: it is over.
            DriverError: something failed meanwhile.
        """
        if moment is None:
            return
        offset_s, now_s = self.offset_s(moment), self.elapsed_s
        if offset_s < now_s:
            raise ValueError(f"{moment} is over: {now_s - offset_s:.6f} s ago")
        _run(lambda: self._fleet.pass_until(offset_s + LEAD_S))

    def call_at(self, offset_s: float, call: Callable[..., Any], *arguments: Any) -> None:
        """Call when time reaches a moment, whatever the workers do then."""
        self._fleet.at(offset_s + LEAD_S, call, *arguments)

    # -- progress --------------------------------------------------------------------------------

    def worker(self) -> MemoryWorker:
        """The first worker that runs.

        Raises:
            DriverError: none does.
        """
        if not self._fleet.workers:
            raise DriverError("no worker runs: call restart()")
        return self._fleet.workers[min(self._fleet.workers)]

    def output_of(self, name: str) -> AnsweredLog:
        """A log's node, of the first worker.

        Raises:
            ValueError: the app has no such output.
            DriverError: no worker runs.
        """
        outputs = {one.stream.name: one for one in self.worker().parts.answered}
        if name not in outputs:
            raise ValueError(f"the app has no output {name}: it has {', '.join(outputs)}")
        return outputs[name]

    def in_worker(self, work: Any) -> Any:
        """What a coroutine gives that runs in the first worker."""
        return _run(lambda: self._fleet.in_worker(self.worker(), work))

    def settle(self) -> None:
        """Let time pass until all that was sent is processed; with no worker things stay.

        Raises:
            DriverError: something failed, or it takes too long.
        """
        if self._fleet.workers:
            self.wait(self._is_settled, SETTLED_WITHIN_S, "everything processed")

    def commit_lake(self) -> None:
        """Let time pass until every row is in the lake, and queries read it there."""
        within_s = self.settings.lake_commit_interval_s + COMMITTED_WITHIN_S
        self.wait(self._is_in_lake, within_s, "every row in the lake")

    def wait(self, condition: Callable[[], bool], within_s: float, what: str) -> None:
        """Let time pass until a condition holds.

        Raises:
            DriverError: something failed, or it does not hold within the time.
        """
        if not _run(lambda: self._fleet.until(condition, within_s)):
            raise DriverError(f"not within {within_s:.0f} s: {what}\n{self._fleet.describe()}")

    def last_offsets(self, topic: str) -> dict[int, int]:
        """The offset of each partition's last committed record, where there is one."""
        logs = {
            partition: self.cluster.partitions[topic, partition].last_committed()
            for partition in range(self.cluster.topics[topic].partitions)
        }
        return {partition: last.offset for partition, last in logs.items() if last is not None}

    def _is_settled(self) -> bool:
        offsets = self.cluster.group_offsets.get(self.settings.app_id, {})
        for source in self.topology.sources:
            for partition, last in self.last_offsets(source.topic).items():
                if offsets.get((source.topic, partition), 0) <= last:
                    return False
        return not any(
            task.deferred_records
            for worker in self._fleet.workers.values()
            for task in worker.parts.owner.tasks.values()
        )

    def _is_in_lake(self) -> bool:
        for worker in self._fleet.workers.values():
            for log in worker.parts.answered:
                head, topic = log.node.lake.head, log.stream.log
                offsets = None if head is None else head.vector.topics.get(topic)
                held = {} if offsets is None else offsets.next
                for partition, last in self.last_offsets(topic).items():
                    if held.get(partition, 0) <= last:
                        return False
        return True

    # -- workers ---------------------------------------------------------------------------------

    def restart(self, *, empty_disks: bool = False) -> None:
        """Stop the workers that run, in order, and start all of them again."""
        for number in list(self._fleet.workers):
            self._stop(number)
        if empty_disks:
            self._fleet.empty_disks()
        self._start_missing()
        self._come_up()

    def rebalance(self, workers: int) -> None:
        """From now on so many workers."""
        self._wanted = workers
        for number in [one for one in self._fleet.workers if one >= workers]:
            self._stop(number, leave=True)
        self._start_missing()
        self._fleet.rebalance()
        self._come_up()

    def kill(self) -> None:
        """Kill all workers."""
        for number in list(self._fleet.workers):
            self._fleet.kill(number)

    def crash(self, point: str) -> None:
        """Kill the worker that first comes to a failpoint.

        Raises:
            ValueError: there is no such failpoint.
            DriverError: none comes to it.
        """
        if point not in POINTS:
            raise ValueError(f"there is no failpoint {point}: there are {', '.join(POINTS)}")
        if not point.startswith("take-over."):
            self.worker()
        within_s = REACHED_WITHIN_S + self.settings.lake_commit_interval_s
        with self._fleet.armed(point):
            self._begin(point)
            reached = _run(lambda: self._fleet.until(lambda: self._fleet.has_dead, within_s))
        if not reached:
            raise DriverError(f"no worker came to {point} within {within_s:.0f} s")
        self._fleet.reap()

    def _begin(self, point: str) -> None:
        """What a failpoint lies in, where time alone does not bring it about."""
        kind = point.partition(".")[0]
        if kind == "take-over":
            if self._fleet.workers:
                self._fleet.kill(min(self._fleet.workers))
            self._start_missing()
        elif kind == "rebalance":
            self._fleet.rebalance()
        elif kind == "shutdown":
            self._fleet.begin_stop(min(self._fleet.workers))

    def _stop(self, number: int, *, leave: bool = False) -> None:
        _run(lambda: self._fleet.stop(number, leave=leave))

    def _start_missing(self) -> None:
        for number in range(self._wanted):
            if number not in self._fleet.workers:
                self._fleet.start(number)

    def _come_up(self) -> None:
        self.wait(lambda: self._fleet.is_up, UP_WITHIN_S, "workers that run")


def _run(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except FleetError as error:
        raise DriverError(str(error)) from error
    except RuntimeError as error:
        if "another loop is running" not in str(error):
            raise
        raise DriverError(
            "StreamDriver has an event loop of its own: use it in a test without async"
        ) from error


def nanoseconds(moment: dt.datetime) -> int:
    """A time in nanoseconds since 1970.

    Raises:
        ValueError: it has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone: expected one")
    since = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1_000


def _settings(topology: Topology, partitions: int, given: Mapping[str, object]) -> Settings:
    """The settings of every worker, as they would be read from an environment.

    Without another word there is no ledger: three more sinks and tails would take most of the time
    of a test, and what they would hold is read from the topics (`driver.gaps`, `dead_letters`).
    """
    values = {"K2_PARTITIONS": partitions, "K2_DATA_DIR": "/memory", "K2_LEDGER": 0, **given}
    return from_environment(
        {name: str(value) for name, value in values.items()},
        AppDefaults(topology.name, folder=topology.folder),
    )
