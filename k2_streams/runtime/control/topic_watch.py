"""Looks, while the worker runs, at what was checked at its start: the topics and their settings."""

import asyncio
import math
from collections.abc import Mapping, Sequence

import structlog

from k2_streams.clock import Clock
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogError, LogReader
from k2_streams.kafka.topics import TopicAdmin, TopicInfo, TopicProblem, TopicSpec
from k2_streams.runtime.control.supervisor import Kept, Supervisor

log = structlog.get_logger(__name__)

#: Two requests each time: what an operator changed is noticed within seconds.
WATCH_EVERY_S = 3.0
#: An answer that comes later is of no use: the next look asks again.
ANSWER_WITHIN_S = 5.0


class TopicWatch:
    """Holds what is wrong with the topics now; while the broker is away, what was known last.

    Args:
        kafka: the cluster.
        specs: what the topics must be.
        known: what they were at the start.
        raw: the source's topic, of which unread records are counted.
        clock: for when they were looked at.
        supervisor: of the worker's background tasks.
    """

    def __init__(
        self,
        kafka: KafkaConfig,
        specs: Sequence[TopicSpec],
        known: Mapping[str, TopicInfo],
        raw: str,
        clock: Clock,
        supervisor: Supervisor,
    ) -> None:
        self.problems: list[TopicProblem] = []
        self.unread_records = 0  # in partitions of the source that no task works
        #: When the source's timestamp type was last seen to be right; -inf: it is not.
        self.append_time_seen_s = clock.monotonic()
        self._kafka = kafka
        self._specs = list(specs)
        self._known = known
        self._raw = raw
        self._clock = clock
        self._supervisor = supervisor
        self._admin: TopicAdmin | None = None
        self._runner: Kept | None = None

    def start(self) -> None:
        """Begin to look."""
        self._runner = self._supervisor.keep("topics", self._run)

    async def close(self) -> None:
        """Stop looking."""
        if self._runner is not None:
            await self._runner.close()
        await self._disconnect()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Ask once. A broker that does not answer changes nothing."""
        asked_s = self._clock.monotonic()
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                if self._admin is None:
                    self._admin = await TopicAdmin(self._kafka).__aenter__()
                problems = await self._admin.problems(self._specs, self._known)
                self.unread_records = await self._unread(problems)
        except (LogError, OSError, TimeoutError) as error:
            log.warning("topic check failed", error=str(error) or type(error).__name__)
            await self._disconnect()
            return
        self._tell(problems)
        self.problems = problems
        settings = {p.setting for p in problems if p.topic == self._raw}
        is_right = "message.timestamp.type" not in settings
        self.append_time_seen_s = asked_s if is_right else -math.inf

    def _tell(self, problems: list[TopicProblem]) -> None:
        for problem in problems:
            if problem not in self.problems:
                log.error("topic setting altered", topic=problem.topic, problem=problem.text)
        for problem in self.problems:
            if problem not in problems:
                log.info("topic setting restored", topic=problem.topic, setting=problem.setting)

    async def _unread(self, problems: list[TopicProblem]) -> int:
        """Records in partitions that were added to the source."""
        if not any(p.topic == self._raw and p.setting == "partitions" for p in problems):
            return 0
        assert self._admin is not None  # noqa: S101 - it has just answered
        found = (await self._admin.describe([self._raw])).get(self._raw)
        known = self._known[self._raw].partitions
        added = [
            TopicPartition(self._raw, p) for p in range(known, found.partitions if found else known)
        ]
        if not added:
            return 0
        async with LogReader(self._kafka) as reader:
            begins, ends = await reader.begin_offsets(added), await reader.end_offsets(added)
        return sum(ends[at] - begins[at] for at in added)

    async def _disconnect(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            await admin.__aexit__(None, None, None)
