"""The flow of records into a worker, as its parts steer it: pause, resume, seek, reject."""

import asyncio
from collections.abc import Iterable, Mapping

from k2_streams.core.types import TopicPartition
from k2_streams.runtime.control.supervisor import Supervisor
from k2_streams.runtime.gate import FlowGate
from k2_streams.runtime.limits import Limits
from k2_streams.runtime.metrics.table import SourceMetrics
from k2_streams.runtime.ports import ConsumerGroup

#: A task or a sink that has enough to do.
_BUSY = "busy"
#: A sink that takes its rows from memory.
_IN_MEMORY = "in memory"


class PartitionFlow:
    """Steers what the group's driver delivers. For one event loop.

    Args:
        group: delivers the records.
        sources: every partition of the worker's sources, whoever owns it.
        supervisor: of the worker's background tasks.
        limits: for the pause before a seek is repeated.
        metrics: show why the sources are paused.
    """

    def __init__(
        self,
        group: ConsumerGroup,
        sources: Iterable[TopicPartition],
        supervisor: Supervisor,
        limits: Limits,
        metrics: SourceMetrics,
    ) -> None:
        self._group = group
        self._sources = frozenset(sources)
        self._supervisor = supervisor
        self._limits = limits
        self._gate = FlowGate(group)
        self._metrics = metrics
        self._holders: dict[str, set[str]] = {}  # of the sources, by reason
        self._owned: frozenset[TopicPartition] = frozenset()
        self._closed = False

    def own(self, tps: Iterable[TopicPartition]) -> None:
        """These partitions are worked here; whatever else is assigned stays paused."""
        self._owned = frozenset(tps)
        # A task or sink that gets a partition back may have room again, and releases what it has
        # itself held alone: a hold from before would last for ever.
        for reason in (_BUSY, _IN_MEMORY):
            self._gate.forget_others(self._owned, reason)

    def disown(self, tp: TopicPartition) -> None:
        """This one waits for a person: nothing of it is read."""
        self._owned -= {tp}

    def set_busy(self, tps: Iterable[TopicPartition], *, busy: bool) -> None:
        """Pause partitions whose owner has enough to do, and resume them."""
        self._set(tps, _BUSY, held=busy)

    def set_in_memory(self, tps: Iterable[TopicPartition], *, in_memory: bool) -> None:
        """Deliver nothing of a log's partitions whose rows come from memory; deliver them again.

        Their position has moved meanwhile: a seek has to follow.
        """
        self._set(tps, _IN_MEMORY, held=in_memory)

    def _set(self, tps: Iterable[TopicPartition], reason: str, *, held: bool) -> None:
        if held:
            self._gate.hold(self._owned.intersection(tps), reason)
        else:
            self._gate.release(tps, reason)
            self._pause_others()

    def hold_sources(self, held: bool, reason: str, holder: str = "") -> None:
        """Put nothing more into the logs, whoever owns the sources' partitions.

        The lake may lag so far behind that a log loses what it lacks; the tail may have no room;
        the process may take too much memory.

        Args:
            held: False: this holder does not need it any more.
            reason: one of `PAUSE_REASONS`.
            holder: which of several that may have the same reason.
        """
        holders = self._holders.setdefault(reason, set())
        (holders.add if held else holders.discard)(holder)
        self._metrics.source_paused.labels(reason).set(bool(holders))
        if held:
            self._gate.hold(self._sources, f"{reason} {holder}")
        else:
            self._gate.release(self._sources, f"{reason} {holder}")
            self._pause_others()

    @property
    def is_source_held(self) -> bool:
        """Whether nothing more may be put into the logs, for whatever reason."""
        return any(self._holders.values())

    def _pause_others(self) -> None:
        """A partition that was refused must not be resumed with those that are worked."""
        others = set(self._group.assignment()) - self._owned
        if others:
            self._group.pause_partitions(others)

    async def resume(self, starts: Mapping[TopicPartition, int]) -> None:
        """Read these partitions on from here, unless something holds them back.

        What is held is paused: with each assignment the driver resumes all partitions.
        """
        await self._group.seek_to(starts)
        wanted = self._owned.intersection(starts, self._group.assignment())
        unheld = self._gate.open(wanted)
        self._group.pause_partitions(wanted - unheld)
        self._group.resume_partitions(unheld)

    def seek_soon(self, starts: Mapping[TopicPartition, int]) -> None:
        """As `resume`, without waiting; repeated until it succeeds."""
        self._supervisor.spawn("seek", self.resume(starts), lambda _: self._seek_again(starts))

    def _seek_again(self, starts: Mapping[TopicPartition, int]) -> None:
        """A seek failed. Without it its partitions would never be read on."""
        still = {tp: offset for tp, offset in starts.items() if tp in self._owned}
        if still and not self._closed:
            loop = asyncio.get_running_loop()
            loop.call_later(self._limits.seek_again_s, self._seek_if_open, still)

    def _seek_if_open(self, starts: Mapping[TopicPartition, int]) -> None:
        if not self._closed:
            self.seek_soon(starts)

    def reject(self, tp: TopicPartition, offset: int, error: Exception) -> None:
        """The records of a partition from this offset on cannot be used."""
        self._supervisor.spawn("reject", self._group.reject(tp, offset, error), lambda _: None)

    def close(self) -> None:
        """Repeat no seek any more."""
        self._closed = True
