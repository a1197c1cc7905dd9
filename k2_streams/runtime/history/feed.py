"""Gives a task the records of the lake, until the log goes on where they end.

A task's chain of offsets does not know where records come from. While they come from the lake, the
consumer's partition is paused, and what it delivers all the same is not taken; at the end of the
lake the consumer is sought to the task's next offset. A task that begins again does so at its
position, which it committed with its state: in the lake, if the lake has it, else in the log.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from k2_streams.core.error_text import described
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogError, LogReader
from k2_streams.query.engine import FilesUnreadableError
from k2_streams.query.errors import QueryError
from k2_streams.runtime.fetched import Fetched
from k2_streams.runtime.history.lake_history import LakeHistory
from k2_streams.topology.errors import TaskStoppedError

log = structlog.get_logger(__name__)

#: Between two looks whether the task has taken what it was given. A read takes ten times as long.
TAKEN_LOOK_S = 0.01
#: After an error that may pass.
RETRY_S = 1.0
#: Between two looks whether the sources are still held.
HELD_LOOK_S = 0.1


class FedTask(Protocol):
    """What is given records: `runtime.task.running.RunningTask`."""

    @property
    def next_offset(self) -> int:
        """The next offset that it has not worked on."""
        ...

    def offer(self, fetched: Fetched) -> None:
        """Take records."""
        ...


class HistoryFeed:
    """Feeds one task. Its owner runs it, and ends it with the task.

    Args:
        tp: of the source.
        history: of the source's log.
        task: is fed.
        kafka: says where the log begins.
        on_done: told where the log is to be read on from.
        is_held: whether the worker's sources are to wait: the tail has no room, the lake is far
            behind, or the process takes too much memory.
    """

    def __init__(
        self,
        tp: TopicPartition,
        history: LakeHistory,
        task: FedTask,
        kafka: KafkaConfig,
        on_done: Callable[[int], None],
        is_held: Callable[[], bool],
    ) -> None:
        self.is_over = False
        self._tp = tp
        self._history = history
        self._task = task
        self._kafka = kafka
        self._on_done = on_done
        self._is_held = is_held
        self._is_dropped = False

    def dropped(self) -> None:
        """The task has dropped what it was given and has not worked on."""
        self._is_dropped = True

    async def run(self) -> None:
        """Feed the task until the log goes on.

        Raises:
            TaskStoppedError: neither the lake nor the log has what comes next.
        """
        position, end, floor = self._task.next_offset, 0, 0
        while True:
            while self._is_held():  # noqa: ASYNC110 - several hold, each by a flag of its own
                await asyncio.sleep(HELD_LOOK_S)
            try:
                if position >= end:
                    end = await self._history.held(self._tp.partition)
                if position >= end:
                    await self._require_log(position)
                    break
                found = await self._history.read(self._tp.partition, position, end, floor)
            except (QueryError, FilesUnreadableError, LogError) as error:
                log.warning("history waits", partition=str(self._tp), error=described(error))
                await asyncio.sleep(RETRY_S)
                end = 0  # another snapshot may have other files
                continue
            position, floor = await self._given(
                Fetched(self._tp, position, found.end, found.records, end), found.floor
            )
        self.is_over = True
        log.info("history ends", partition=str(self._tp), offset=position)
        self._on_done(position)

    async def _given(self, fetched: Fetched, floor: int) -> tuple[int, int]:
        """Position and floor when the task has worked on these records, or has dropped them."""
        if fetched.end == fetched.start:
            return fetched.end, floor
        self._is_dropped = False
        self._task.offer(fetched)
        while self._task.next_offset < fetched.end:
            if self._is_dropped:
                return self._task.next_offset, 0
            await asyncio.sleep(TAKEN_LOOK_S)
        return fetched.end, floor

    async def _require_log(self, position: int) -> None:
        async with LogReader(self._kafka) as reader:
            begin = (await reader.begin_offsets([self._tp]))[self._tp]
        if begin > position:
            raise TaskStoppedError(
                f"failed: {self._tp}: the lake holds it up to offset {position}, and the log "
                f"begins at {begin}: wait until the sink has caught up, or start the app with "
                "start='log'"
            )
