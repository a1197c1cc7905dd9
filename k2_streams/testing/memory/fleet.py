"""Workers of one app in memory, and the world that they share: started, stopped, killed."""

import asyncio
import contextlib
import sys
import warnings
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from k2_streams import failpoints
from k2_streams.core.enrich.instruments import Instruments
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.topics import TopicSpec
from k2_streams.runtime.limits import Limits
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.settings.groups import Role
from k2_streams.runtime.settings.worker import Settings
from k2_streams.runtime.task.lifecycle import TaskState
from k2_streams.runtime.topics import logs_of
from k2_streams.testing.memory.catalog import MemoryCatalogService
from k2_streams.testing.memory.clients import MemoryKafka, MemoryNetwork
from k2_streams.testing.memory.cluster import MemoryCluster
from k2_streams.testing.memory.disk import MemoryDisk
from k2_streams.testing.memory.engine import LazyEngine
from k2_streams.testing.memory.faults import NoFaults, seeded
from k2_streams.testing.memory.group import MemoryGroup
from k2_streams.testing.memory.loop import ProcessState, VirtualLoop, end_process
from k2_streams.testing.memory.ports import LAKE, MemoryLakeCatalog, VirtualClock
from k2_streams.testing.memory.warehouse import MemoryFiles
from k2_streams.testing.memory.worker import MemoryMachine, MemoryWorker, MemoryWorld
from k2_streams.topology.declarations import Topology

_T = TypeVar("_T")

#: How often a condition is looked at while time passes.
LOOK_EVERY_S = 0.01
#: How often it is looked whether something failed while time passes.
CHECK_EVERY_S = 1.0
#: Virtual time that a worker may take for an answer.
ANSWER_WITHIN_S = 60.0
#: Virtual time that a worker may take for its orderly stop.
STOP_WITHIN_S = 30.0


class FleetError(Exception):
    """A worker ended, refuses a partition, or a part of it failed; the text says which and why."""


class Fleet:
    """Runs workers on virtual time; see `fleet` for what each part of the world is.

    Args:
        topology: what runs.
        settings: of every worker; each gets an id of its own.
        topics: that the brokers have.
        begin_ms: what the calendar shows at the beginning.
        seed: everything that is drawn is drawn from it.
        instruments: reference data.
        limits: of every worker.
        fetch_records: records of one fetch of one partition, at the most.
    """

    def __init__(
        self,
        topology: Topology,
        settings: Settings,
        topics: Sequence[TopicSpec],
        *,
        begin_ms: int,
        seed: int,
        instruments: Instruments | None,
        limits: Limits,
        fetch_records: int,
    ) -> None:
        self.loop = VirtualLoop()
        self.cluster = MemoryCluster(
            self.loop, {spec.name: spec.partitions for spec in topics}, begin_ms=begin_ms
        )
        #: The workers that run, by their id.
        self.workers: dict[int, MemoryWorker] = {}
        self._topology = topology
        self._settings = settings
        self._instruments = instruments
        self._limits = limits
        self._fetch_records = fetch_records
        self._begin_ms = begin_ms
        faults = NoFaults(seeded(seed, "faults"))
        partitions = range(settings.partitions)
        logs = logs_of(topology, settings)
        read = [*(one.topic for one in topology.sources), *(one.log for one in logs)]
        group = MemoryGroup(
            self.loop,
            [TopicPartition(topic, number) for number in partitions for topic in read],
        )
        self._world = MemoryWorld(loop=self.loop, faults=faults, cluster=self.cluster, group=group)
        self._network = MemoryNetwork(self.loop, faults)
        self._lake = MemoryCatalogService(self.loop, faults)
        self._machines: dict[int, MemoryMachine] = {}
        self._engines: dict[int, list[LazyEngine]] = {}
        self._errors: list[str] = []  # what ended workers, and what nobody handled
        self.loop.set_exception_handler(self._unhandled)

    # -- time ------------------------------------------------------------------------------------

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return self.loop.time()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """What a coroutine gives, while everything else runs.

        Raises:
            RuntimeError: an event loop runs in this thread already.
        """
        try:
            return self.loop.run_until_complete(work)
        except RuntimeError:
            work.close()
            raise

    def in_worker(self, worker: MemoryWorker, work: Coroutine[Any, Any, _T]) -> _T:
        """What a coroutine gives that runs in a worker's process.

        Raises:
            FleetError: it gives nothing within the time: the process ended.
        """
        task: asyncio.Task[_T] = worker.process.start(work)
        self.run(_until_ended(task))
        if not task.done():
            self.check()
            raise FleetError(f"{worker.name} gave no answer within {ANSWER_WITHIN_S:.0f} s")
        return task.result()

    def until(self, condition: Callable[[], bool], within_s: float) -> bool:
        """Let time pass until a condition holds; False if it does not within the time.

        Raises:
            FleetError: something failed meanwhile.
        """
        return self.run(self._until(condition, within_s))

    async def _until(self, condition: Callable[[], bool], within_s: float) -> bool:
        deadline_s = self.loop.time() + within_s
        while not condition():
            self.check()
            if self.loop.time() >= deadline_s:
                return False
            await asyncio.sleep(LOOK_EVERY_S)
        return True

    async def _pass_until(self, moment_s: float) -> None:
        while (left_s := moment_s - self.loop.time()) > 0:
            await asyncio.sleep(min(left_s, CHECK_EVERY_S))
            self.check()

    def pass_until(self, moment_s: float) -> None:
        """Let time pass until a moment, in seconds since the beginning.

        Raises:
            FleetError: something failed meanwhile.
        """
        self.run(self._pass_until(moment_s))

    def at(self, moment_s: float, call: Callable[..., Any], *arguments: Any) -> None:
        """Call at a moment, in no process."""
        self.loop.call_at(moment_s, call, *arguments, context=self.loop.outside)

    # -- workers ---------------------------------------------------------------------------------

    def start(self, number: int, role: Role | None = None) -> MemoryWorker:
        """Start a worker, on the disk that one of its id has left; None: the settings' role."""
        machine = self._machines.get(number)
        if machine is None:
            machine = self._machines[number] = self._new_machine(number)
        settings = self._settings.model_copy(
            update={
                "worker_id": number,
                "role": role or self._settings.role,
                "kafka": machine.kafka,
                "lake": LAKE,
            }
        )
        worker = self.workers[number] = MemoryWorker(
            self._world,
            machine,
            self._topology,
            settings,
            instruments=self._instruments,
            limits=self._limits,
            metrics=Metrics(),
            fetch_records=self._fetch_records,
            ended=self._ended,
        )
        return worker

    def _new_machine(self, number: int) -> MemoryMachine:
        clock = VirtualClock(self.loop, begin_ms=self._begin_ms)
        engines = self._engines[number] = []

        def new_engine(*given: Any) -> LazyEngine:
            engines.append(LazyEngine(*given))
            return engines[-1]

        return MemoryMachine(
            kafka=MemoryKafka(self.cluster, self._network),
            disk=MemoryDisk(),
            clock=clock,
            catalog=MemoryLakeCatalog(self._lake, clock, MemoryFiles(self._lake.warehouse)),
            new_engine=new_engine,
        )

    def kill(self, number: int) -> None:
        """SIGKILL: the group notices when the session is over."""
        self.workers[number].process.kill()
        self._remove(number)

    @property
    def has_dead(self) -> bool:
        """Whether a worker was killed where a failpoint is."""
        return any(one.process.state is ProcessState.KILLED for one in self.workers.values())

    def reap(self) -> None:
        """Remove the workers that were killed where a failpoint is."""
        for number, worker in list(self.workers.items()):
            if worker.process.state is ProcessState.KILLED:
                self._remove(number)

    def _remove(self, number: int) -> None:
        del self.workers[number]
        self._machines[number].disk.crash()
        for engine in self._engines[number]:
            engine.close()
        self._engines[number].clear()

    def begin_stop(self, number: int) -> "asyncio.Task[None]":
        """Begin to stop a worker in order."""
        worker = self.workers[number]
        return worker.process.start(worker.close())

    def stop(self, number: int, *, leave: bool = False) -> None:
        """Stop a worker in order.

        Args:
            number: its id.
            leave: it leaves the group: its partitions go to the others at once.

        Raises:
            FleetError: it did not end in time.
        """
        worker, closing = self.workers[number], self.begin_stop(number)
        ended = self.until(
            lambda: closing.done() or worker.process.state is ProcessState.KILLED, STOP_WITHIN_S
        )
        if leave:
            self._world.group.leave(worker.name)
        worker.process.kill()
        self._remove(number)
        if not ended:
            raise FleetError(f"{worker.name} did not stop within {STOP_WITHIN_S:.0f} s")
        if closing.done() and not closing.cancelled():
            closing.result()

    def empty_disks(self) -> None:
        """Delete what workers have left; none of them runs."""
        for machine in self._machines.values():
            machine.disk.empty()

    def rebalance(self) -> None:
        """Everyone joins the group again."""
        self._world.group.rebalance()

    @property
    def is_up(self) -> bool:
        """Whether every worker that runs has what the group gave it, and works it."""
        members = {one.name for one in self.workers.values() if one.is_member_of_group}
        if self._world.group.members != members:
            return False
        return all(
            one.is_settled
            and one.parts.status.ready().ok
            and all(task.state is TaskState.RUNNING for task in one.parts.owner.tasks.values())
            for one in self.workers.values()
        )

    # -- faults ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def armed(self, point: str) -> Iterator[None]:
        """The process that first comes to this failpoint is killed there, while the block runs."""
        failpoints.arm(failpoints.parse(f"{point}=crash"), crash=end_process)
        try:
            yield
        finally:
            failpoints.arm(())

    def check(self) -> None:
        """Raise what has failed.

        Raises:
            FleetError: a worker ended, refuses a partition, or a part of it failed.
        """
        problems = [*self._errors]
        for worker in self.workers.values():
            problems += [f"{worker.name}: {problem}" for problem in problems_of(worker)]
        if problems:
            raise FleetError("\n".join(problems))

    def describe(self) -> str:
        """How far each worker is, for the text of an error."""
        lines = []
        for worker in self.workers.values():
            tasks = {
                str(tp): f"{task.state.value} at {task.next_offset}"
                + (f", {type(task.error).__name__}: {task.error}" if task.error else "")
                for tp, task in sorted(worker.parts.owner.tasks.items())
            }
            lines.append(f"{worker.name}: {worker.parts.status.ready()}, tasks {tasks}")
        return "\n".join(lines) or "no worker runs"

    def _ended(self, worker: MemoryWorker, code: int, reason: str) -> None:
        self._errors.append(f"{worker.name} ended with exit code {code}: {reason}")
        worker.process.kill()

    def _unhandled(self, _loop: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self._errors.append(f"{context['message']}: {type(error).__name__}: {error}")

    def close(self) -> None:
        """Stop everything, whatever state it is in."""
        for number in list(self.workers):
            with contextlib.suppress(Exception):
                self.stop(number)
        for engines in self._engines.values():
            for engine in engines:
                engine.close()
        with warnings.catch_warnings(), _silent_ends():
            warnings.simplefilter("ignore", RuntimeWarning)  # of coroutines that were never begun
            self.loop.abandon()


async def _until_ended(task: "asyncio.Task[Any]") -> None:
    """Until a task has ended, or the time is over."""
    await asyncio.wait([task], timeout=ANSWER_WITHIN_S)


def problems_of(worker: MemoryWorker) -> list[str]:
    """What a worker could not do, and does not do again by itself."""
    parts = worker.parts
    found = [f"partition {tp} is refused: {text}" for tp, text in parts.owner.refused.items()]
    found += worker.rejected.values()
    found += [f"{name} failed: {error}" for name, error in parts.supervisor.failing.items()]
    found += [
        f"the sink of {log.stream.log} is refused: {log.sink.error}"
        for log in parts.written
        if log.sink.error is not None
    ]
    if worker.main.done() and not worker.main.cancelled():
        error = worker.main.exception()
        found.append(f"it ended: {type(error).__name__}: {error}")
    return found


@contextlib.contextmanager
def _silent_ends() -> Iterator[None]:
    """Of a killed process nothing is heard: neither what its coroutines raise in their end."""
    before, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        yield
    finally:
        sys.unraisablehook = before
