"""Tells the consumer group how far the sources are processed: for lag tools, and nobody else.

A position is committed in the changelog, in the transaction of what it belongs to (ADR 0002), and
read from there alone. So the group's offsets need no transaction: they follow, once per second, in
one request for all partitions of the worker.
"""

import asyncio
from collections.abc import Mapping

import structlog

from k2_streams.core.types import TopicPartition
from k2_streams.kafka.log_reader import LogError
from k2_streams.runtime.ports import ConsumerGroup

log = structlog.get_logger(__name__)

#: No lag tool looks more often than every few seconds.
COMMIT_EVERY_S = 1.0


class GroupOffsets:
    """The offsets of one worker's source partitions.

    Args:
        group: that is told.
    """

    def __init__(self, group: ConsumerGroup) -> None:
        self._group = group
        self._positions: dict[TopicPartition, int] = {}
        self._told: dict[TopicPartition, int] = {}

    @property
    def positions(self) -> Mapping[TopicPartition, int]:
        """Of each source partition that a task took over here: the next offset, as committed."""
        return self._positions

    def reached(self, tp: TopicPartition, offset: int) -> None:
        """A task took a partition over, or committed it, up to this offset."""
        self._positions[tp] = offset

    async def run(self) -> None:
        """Tell the group for ever."""
        while True:
            await asyncio.sleep(COMMIT_EVERY_S)
            await self.tell()

    async def tell(self) -> None:
        """Tell the group what has moved; what it does not take is told with the next call."""
        if not self._positions:
            return  # the consumer may not have started: it has no assignment to be asked for
        assigned = set(self._group.assignment())
        self._positions = {tp: at for tp, at in self._positions.items() if tp in assigned}
        positions = dict(self._positions)
        if not positions or positions == self._told:
            return
        try:
            await self._group.commit_offsets(positions)
        except (LogError, OSError) as error:
            log.warning("group offsets not committed", error=f"{type(error).__name__}: {error}")
        else:
            self._told = positions
