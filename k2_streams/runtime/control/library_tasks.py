"""Watches the tasks of Faust and aiokafka without which a worker stands still and does not say so.

Both cancel or lose tasks in silence: a cancelled task of a Faust service is an `info` line, and the
consumer's thread can end while its process looks healthy. They cannot be started again from
outside, so the process ends (exit 74), and whoever runs it starts another one.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Mapping

from k2_streams.clock import Clock

#: In the main loop and in the consumer's: what ends with each of them.
ESSENTIAL = {
    "main": {
        "Agent._execute_actor": "records fetched reach no task and no sink",
        "Conductor._subscriber": "new topics are not subscribed",
        "Fetcher._fetcher": "nothing that was fetched is delivered",
        "MethodQueueWorker._method_queue_do_work": "the consumer cannot call its owner",
        "Recovery._restart_recovery": "no assignment is taken over",
        "SupervisorStrategy._supervisor": "agents that crash are not started again",
    },
    "consumer": {
        "AIOKafkaClient._md_synchronizer": "a partition's new leader is not found",
        "BatchConsumerThread._hear_group_errors": "errors of the group are not noticed",
        "Fetcher._fetch_requests_routine": "nothing is fetched",
        "GroupCoordinator._coordination_routine": "no rebalance is noticed",
        "MethodQueueWorker._method_queue_do_work": "the consumer cannot be called",
        "ServiceThread._serve": "the consumer's thread ends",
    },
}
#: In the consumer's loop, from one join of the group to the next.
HEARTBEAT = "GroupCoordinator._heartbeat_routine"
#: Faust stops it for a rebalance and starts it when the flow goes on.
FETCH_LOOP = "Fetcher._fetcher"
#: Tasks that end with what they serve, or that nothing of K2 needs. The test over all tasks of a
#: worker holds that every task is one of these, of the supervisor, or essential.
OTHERS = {
    "AIOKafkaConnection._read": "a connection's; without it requests fail, and it is made again",
    "BatchConsumer.perform_seek": "a take-over under way",
    "Consumer._commit_handler": "Faust commits nothing here",
    "Consumer._commit_livelock_detector": "watches Faust's commits, of which there are none",
    "Event.wait": "a step of another task",
    "Fetcher._proc_fetch_request": "one request",
    "GroupCoordinator._commit_refresh_routine": "positions are K2's, not the group's",
    "Monitor._sampler": "Faust's figures, which nobody reads",
    "NoGroupCoordinator._reset_committed_routine": "readers without a group have no commits",
    "ProducerBuffer._handle_pending": "nothing is sent through Faust",
    "Recovery._publish_stats": "Faust's tables, of which there are none",
    "Recovery._slurp_changelogs": "Faust's tables, of which there are none",
    "RequestHandler._handle_request": "one request of a client",
    "RequestHandler.start": "one connection of a client",
    "Service._execute_task": "an agent's; Faust starts it again",
    "Service.start": "the worker itself; without it the worker stops, and not with exit 0",
    "ServiceThread._keepalive2": "wakes an idle loop",
    "ServiceThread._thread_keepalive": "wakes an idle loop",
    "ThrowableQueue.get": "a step of an agent",
}
#: Readers and producers check these of their own, whenever they are used.
CHECKED_IN_USE = {
    "AIOKafkaClient._md_synchronizer",
    "Fetcher._fetch_requests_routine",
    "Sender._sender_routine",
}
#: Missing for so long: an agent that crashed is started again within one.
LOST_AFTER_S = 3.0

_COROUTINE = re.compile(r"<coroutine object ([\w.<>]+) at 0x")


def name_of(task: "asyncio.Task[object]") -> str:
    """The name that K2 gave, or the coroutine's."""
    name = task.get_name()
    found = _COROUTINE.match(name)  # of Faust
    if found is not None:
        return found.group(1)
    if name.startswith(("Task-", "<Task ")):
        return getattr(task.get_coro(), "__qualname__", name)
    return name


class LibraryTasks:
    """Looks once a second.

    Args:
        loops: the main loop and the consumer's, by their names in `ESSENTIAL`.
        is_heartbeat_lost: whether the consumer's heartbeats have ended, and nobody stopped them.
        is_flowing: whether partitions are assigned and taken over, and records are delivered.
        clock: for how long a task is missing.
    """

    def __init__(
        self,
        loops: Callable[[], Mapping[str, asyncio.AbstractEventLoop]],
        is_heartbeat_lost: Callable[[], bool],
        is_flowing: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self._loops = loops
        self._is_heartbeat_lost = is_heartbeat_lost
        self._is_flowing = is_flowing
        self._clock = clock
        self._most: Counter[tuple[str, str]] = Counter()
        self._last: Counter[tuple[str, str]] = Counter()
        self._missing_since: dict[tuple[str, str], float] = {}

    def look(self) -> str | None:
        """What has been lost for longer than `LOST_AFTER_S`; None: nothing."""
        now_s = self._clock.monotonic()
        for loop, running in self._loops().items():
            found = Counter(name_of(task) for task in asyncio.all_tasks(running))
            for name, why in ESSENTIAL[loop].items():
                key = (loop, name)
                # Seen twice: an agent and its replacement may be there at the same moment.
                steady = min(found[name], self._last[key])
                self._last[key] = found[name]
                self._most[key] = max(self._most[key], steady)
                due = name != FETCH_LOOP or self._is_flowing()
                if self._is_missing(key, now_s, due and found[name] < self._most[key]):
                    return f"task {name} of the {loop} loop has ended: {why}"
        if self._is_missing(("consumer", HEARTBEAT), now_s, self._is_heartbeat_lost()):
            return f"task {HEARTBEAT} has ended: the group will take this worker for dead"
        return None

    def _is_missing(self, key: tuple[str, str], now_s: float, missing: bool) -> bool:
        """Whether it has been missing for long enough."""
        if not missing:
            self._missing_since.pop(key, None)
            return False
        return now_s - self._missing_since.setdefault(key, now_s) > LOST_AFTER_S
