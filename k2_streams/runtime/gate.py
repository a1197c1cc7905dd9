"""Which partitions are paused, and why: one resumes when nobody holds it back any more."""

from collections.abc import Iterable
from typing import Protocol

from k2_streams.core.types import TopicPartition


class PausableConsumer(Protocol):
    """Who delivers the records of partitions."""

    def assignment(self) -> Iterable[TopicPartition]:
        """The partitions that are assigned now."""
        ...

    def pause_partitions(self, tps: Iterable[TopicPartition]) -> None:
        """Deliver nothing more of these."""
        ...

    def resume_partitions(self, tps: Iterable[TopicPartition]) -> None:
        """Deliver these again."""
        ...


class FlowGate:
    """Pauses and resumes partitions of a consumer by named reasons.

    A task that has enough to do and a lake that is far behind may hold the same partition.
    """

    def __init__(self, consumer: PausableConsumer) -> None:
        self._consumer = consumer
        self._reasons: dict[TopicPartition, set[str]] = {}

    def hold(self, tps: Iterable[TopicPartition], reason: str) -> None:
        """Pause for this reason."""
        held = set(tps)
        for tp in held:
            self._reasons.setdefault(tp, set()).add(reason)
        self._consumer.pause_partitions(held)

    def release(self, tps: Iterable[TopicPartition], reason: str) -> None:
        """This reason is gone; what no other reason holds is resumed, if it is still assigned."""
        released = set(tps)
        for tp in released:
            reasons = self._reasons.get(tp, set())
            reasons.discard(reason)
            if not reasons:
                self._reasons.pop(tp, None)
        self._consumer.resume_partitions(self.open(released) & set(self._consumer.assignment()))

    def forget_others(self, tps: Iterable[TopicPartition], reason: str) -> None:
        """This reason holds no partition but these; nothing is resumed by it."""
        for tp in set(self._reasons).difference(tps):
            self._reasons[tp].discard(reason)
            if not self._reasons[tp]:
                del self._reasons[tp]

    def open(self, tps: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Those of the partitions that nothing holds back."""
        return {tp for tp in tps if tp not in self._reasons}
