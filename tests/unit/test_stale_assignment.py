"""Assigned partitions that their topic lacks: a new assignment is requested, with a bound."""

from types import SimpleNamespace

import pytest
from sink_world import HandClock

from k2_streams.core.types import TopicPartition
from k2_streams.runtime.control.stale_assignment import (
    REJOIN_EVERY_S,
    REJOINS_MAX,
    StaleAssignment,
)

BEYOND = TopicPartition("raw", 4)


class World:
    """A group that assigns what the test says, and topics that were last seen when it says."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.owner = SimpleNamespace(beyond=frozenset())
        self.has_its_partitions = True
        self.topics = SimpleNamespace(
            seen_s=self.clock.now_s, has_its_partitions=lambda _: self.has_its_partitions
        )
        self.requests: list[str] = []
        group = SimpleNamespace(request_rejoin=self.requests.append)
        self.stale = StaleAssignment(self.owner, self.topics, group, self.clock)

    def pass_time(self, seconds: float, *, topics_are_seen: bool = True) -> int:
        """Look once a second; how often a new assignment was requested meanwhile."""
        before = len(self.requests)
        for _ in range(int(seconds)):
            self.clock.now_s += 1.0
            if topics_are_seen:
                self.topics.seen_s = self.clock.now_s - 0.1
            self.stale.look()
        return len(self.requests) - before


@pytest.fixture
def world() -> World:
    return World()


def test_nothing_is_requested_while_every_assigned_partition_exists(world):
    assert world.pass_time(60) == 0


def test_a_partition_that_does_not_exist_is_given_back_by_a_new_assignment(world):
    world.owner.beyond = frozenset({BEYOND})
    assert world.pass_time(3) == 1
    assert "raw-4" in world.requests[0]
    world.owner.beyond = frozenset()
    assert world.pass_time(60) == 0


def test_topics_that_were_not_looked_at_since_the_assignment_say_nothing(world):
    """They were seen when the topic still had the partition, or before it was recreated."""
    world.owner.beyond = frozenset({BEYOND})
    assert world.pass_time(60, topics_are_seen=False) == 0
    assert world.pass_time(2) == 1


def test_partitions_that_were_added_wait_for_a_person(world):
    """The topic has them: another assignment would be the same."""
    world.has_its_partitions = False
    world.owner.beyond = frozenset({BEYOND})
    assert world.pass_time(60) == 0


def test_requests_are_bounded_until_an_assignment_is_right_again(world):
    """A rebalance stops the whole group for a moment: it is not asked for again and again."""
    world.owner.beyond = frozenset({BEYOND})
    assert world.pass_time(REJOIN_EVERY_S - 1) == 1
    assert world.pass_time(20 * REJOIN_EVERY_S) == REJOINS_MAX - 1
    world.owner.beyond = frozenset()
    world.pass_time(1)
    world.owner.beyond = frozenset({BEYOND})
    assert world.pass_time(3) == 1
