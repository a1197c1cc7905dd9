"""Asks for a new assignment where the group has assigned partitions that do not exist.

A static member that restarts within its session gets its partitions back without a rebalance: also
those of a topic that was recreated with fewer partitions meanwhile. Until the next rebalance such a
worker would not be ready.
"""

import structlog

from k2_streams.clock import Clock
from k2_streams.core.types import TopicPartition
from k2_streams.runtime.assignment import Ownership
from k2_streams.runtime.control.topic_watch import TopicWatch
from k2_streams.runtime.ports import ConsumerGroup

log = structlog.get_logger(__name__)

#: A rebalance stops the whole group for a moment. One is enough, where the member that leads the
#: group has seen what the topic is now; its metadata is at most some seconds old.
REJOINS_MAX = 3
#: A rebalance takes as long as the slowest member takes to commit.
REJOIN_EVERY_S = 10.0


class StaleAssignment:
    """Looks at what the group assigned and at what the topics are.

    Args:
        owner: of the assigned partitions.
        topics: what the topics are, as last seen.
        group: asked for a new assignment.
        clock: for the pause between two requests.
    """

    def __init__(
        self, owner: Ownership, topics: TopicWatch, group: ConsumerGroup, clock: Clock
    ) -> None:
        self._owner = owner
        self._topics = topics
        self._group = group
        self._clock = clock
        self._beyond: frozenset[TopicPartition] = frozenset()
        self._since_s = clock.monotonic()
        self._rejoins = 0

    def look(self) -> None:
        """Request a new assignment if partitions are assigned that their topic does not have."""
        now_s = self._clock.monotonic()
        if self._owner.beyond != self._beyond:
            self._beyond, self._since_s = self._owner.beyond, now_s
        if not self._beyond:
            self._rejoins = 0
            return
        # The topics must have been looked at after the assignment.
        if self._topics.seen_s <= self._since_s or self._rejoins == REJOINS_MAX:
            return
        stale = sorted(tp for tp in self._beyond if self._topics.has_its_partitions(tp.topic))
        if not stale:
            return  # the topics really have more: a person has to decide
        self._rejoins += 1
        self._since_s = now_s + REJOIN_EVERY_S
        names = ", ".join(f"{tp.topic}-{tp.partition}" for tp in stale)
        log.warning("rejoin requested", partitions=names, attempt=self._rejoins, of=REJOINS_MAX)
        self._group.request_rejoin(f"assigned partitions do not exist: {names}")
