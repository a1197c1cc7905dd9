"""Looks, while the worker runs, at what was checked at its start: the topics and their settings."""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

import structlog

from k2_streams.clock import Clock
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogError, LogReader
from k2_streams.kafka.topics import APPEND_TIME, TopicInfo, TopicProblem, TopicSpec
from k2_streams.runtime.ports import TopicReader

log = structlog.get_logger(__name__)

#: Two requests each time: what an operator changed is noticed within seconds.
WATCH_EVERY_S = 3.0
#: An answer that comes later is of no use: the next look asks again.
ANSWER_WITHIN_S = 5.0


class TopicWatch:
    """Holds what is wrong with the topics now; while the broker is away, what was known last.

    Args:
        kafka: the cluster.
        connect: to what describes topics.
        specs: what the topics must be.
        known: what they were at the start.
        sources: the sources' topics, of which unread records are counted.
        clock: for when they were looked at.
    """

    def __init__(
        self,
        kafka: KafkaConfig,
        connect: Callable[[], AbstractAsyncContextManager[TopicReader]],
        specs: Sequence[TopicSpec],
        known: Mapping[str, TopicInfo],
        sources: Sequence[str],
        clock: Clock,
    ) -> None:
        self.problems: list[TopicProblem] = []
        self.unread_records = 0  # in partitions of the sources that no task works
        #: When the topics were last looked at.
        self.seen_s = clock.monotonic()
        dated = {spec.name for spec in specs if APPEND_TIME in spec.config}
        #: Of each source whose records the broker must date: when the topic's timestamp type was
        #: last seen to be right; -inf: it is not. Records of a log are dated by their task.
        self.append_time_seen_s = {one: self.seen_s for one in sources if one in dated}
        self._sources = tuple(sources)
        self._kafka = kafka
        self._specs = list(specs)
        self._known = known
        self._connect = connect
        self._clock = clock
        self._connection: tuple[AbstractAsyncContextManager[TopicReader], TopicReader] | None = None

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Ask once. A broker that does not answer changes nothing."""
        asked_s = self._clock.monotonic()
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                if self._connection is None:
                    connection = self._connect()
                    self._connection = (connection, await connection.__aenter__())
                reader = self._connection[1]
                problems = await reader.problems(self._specs, self._known)
                unread = [await self._unread(reader, source, problems) for source in self._sources]
                self.unread_records = sum(unread)
        except (LogError, OSError, TimeoutError) as error:
            log.warning("topic check failed", error=str(error) or type(error).__name__)
            await self.close()
            return
        self._tell(problems)
        self.problems, self.seen_s = problems, asked_s
        wrong = {p.topic for p in problems if p.setting == APPEND_TIME}
        for source in self.append_time_seen_s:
            self.append_time_seen_s[source] = -math.inf if source in wrong else asked_s

    def has_its_partitions(self, topic: str) -> bool:
        """Whether the topic had the number of partitions of its spec when last seen."""
        return not any(p.topic == topic and p.setting == "partitions" for p in self.problems)

    def _tell(self, problems: list[TopicProblem]) -> None:
        for problem in problems:
            if problem not in self.problems:
                log.error("topic setting altered", topic=problem.topic, problem=problem.text)
        for problem in self.problems:
            if problem not in problems:
                log.info("topic setting restored", topic=problem.topic, setting=problem.setting)

    async def _unread(self, reader: TopicReader, source: str, problems: list[TopicProblem]) -> int:
        """Records in partitions that were added to a source."""
        if not any(p.topic == source and p.setting == "partitions" for p in problems):
            return 0
        found = (await reader.describe([source])).get(source)
        known = self._known[source].partitions
        added = [
            TopicPartition(source, p) for p in range(known, found.partitions if found else known)
        ]
        if not added:
            return 0
        async with LogReader(self._kafka) as log_reader:
            begins = await log_reader.begin_offsets(added)
            ends = await log_reader.end_offsets(added)
        return sum(ends[at] - begins[at] for at in added)

    async def close(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection[0].__aexit__(None, None, None)
