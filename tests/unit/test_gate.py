"""A partition is paused for as long as somebody holds it, and no longer."""

from k2_streams.core.types import TopicPartition
from k2_streams.runtime.gate import FlowGate

ONE, OTHER = TopicPartition("t", 0), TopicPartition("t", 1)


class _Consumer:
    """Faust's side of pausing: which of the assigned partitions are fetched."""

    def __init__(self, *assigned: TopicPartition) -> None:
        self.assigned = set(assigned)
        self.active = set(assigned)

    def assignment(self) -> set[TopicPartition]:
        return self.assigned

    def pause_partitions(self, tps: set[TopicPartition]) -> None:
        self.active -= tps

    def resume_partitions(self, tps: set[TopicPartition]) -> None:
        self.active |= tps


def test_resumes_when_the_last_reason_is_gone() -> None:
    """Two reasons, two releases; the other partition goes on all the while."""
    consumer = _Consumer(ONE, OTHER)
    gate = FlowGate(consumer)
    gate.hold([ONE], "busy")
    gate.hold([ONE], "lake far behind")
    gate.release([ONE], "busy")
    assert consumer.active == {OTHER}
    gate.release([ONE], "lake far behind")
    assert consumer.active == {ONE, OTHER}


def test_a_reason_that_goes_after_the_partition_does_not_hold_it_when_it_returns() -> None:
    """Released while not assigned: not fetched then, open for the next assignment."""
    consumer = _Consumer(ONE)
    gate = FlowGate(consumer)
    gate.hold([ONE], "busy")
    consumer.assigned.clear()
    gate.release([ONE], "busy")
    assert consumer.active == set()
    assert gate.open([ONE]) == {ONE}


def test_partitions_may_come_as_a_generator() -> None:
    """They are walked more than once."""
    consumer = _Consumer(ONE)
    gate = FlowGate(consumer)
    gate.hold((tp for tp in [ONE]), "busy")
    assert consumer.active == set()
    gate.release((tp for tp in [ONE]), "busy")
    assert consumer.active == {ONE}
