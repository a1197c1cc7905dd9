"""The consumer group of a process that is in none: a query node's."""

from collections.abc import Iterable, Mapping

from k2_streams.core.types import TopicPartition
from k2_streams.kafka.partition_faults import PartitionFault


class NoGroup:
    """Assigns nothing and delivers nothing; `runtime.ports.ConsumerGroup`."""

    faults: tuple[PartitionFault, ...] = ()
    waits_for_group = False

    def assignment(self) -> set[TopicPartition]:
        """Nothing."""
        return set()

    def pause_partitions(self, tps: Iterable[TopicPartition]) -> None:
        """Nothing is delivered anyway."""

    def resume_partitions(self, tps: Iterable[TopicPartition]) -> None:
        """Nothing is delivered: none of them is assigned."""

    async def seek_to(self, starts: Mapping[TopicPartition, int]) -> None:
        """All of them are left out, since none is assigned."""

    async def is_member(self, generation: int) -> bool:  # noqa: ARG002 - of no generation
        """It never is."""
        return False

    async def reject(self, tp: TopicPartition, offset: int, error: Exception) -> None:
        """No partition is read here that could stop."""

    def request_rejoin(self, reason: str) -> None:
        """There is nothing to join."""

    def lost_task(self) -> str | None:
        """No consumer runs of which a task could end."""
        return None
