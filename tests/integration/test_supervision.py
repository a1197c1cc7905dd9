"""Every task of a running worker is ended, one after the other: the worker never hides it.

After each the worker is ready again by itself, or it has ended with a documented code; and every
task there is either K2's, known to the supervisor, or a library's and listed with a reason.
"""

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Cluster, eventually  # type: ignore[import-not-found]
from test_unreadable import readiness  # type: ignore[import-not-found]

from k2_streams.runtime.control.library_tasks import CHECKED_IN_USE, ESSENTIAL, HEARTBEAT, OTHERS
from k2_streams.runtime.control.watchdog import EXIT_TASK_LOST
from k2_streams.testing.local.loopback import free_port
from k2_streams.testing.local.workers import LocalWorker

pytestmark = pytest.mark.integration

HERE = Path(__file__).resolve().parent
#: K2's own tasks, without the partition's number.
OURS = {
    *("events", "lake-view", "load", "sink", "tail", "tail-quota", "topics", "watchdog"),
    *("checkpoint", "drain", "reject", "retake", "seek", "sink-retry", "task", "task-end"),
    *("sink-given", "tail-given"),
}
#: A step of a take-over or a request of a library that is under way by chance.
PASSING = {"Ownership._take", "Ownership._close", "GroupCoordinator._maybe_leave_group"}
#: From a task's end to a worker that is ready again, or gone: a lost library task is noticed after
#: 3 s, a kept one starts again after 1 s and counts as up 3 s later.
SETTLED_WITHIN_S = 40.0
#: So long it has to stay ready to count as settled.
STEADY_S = 5.0


class Controlled:
    """A worker whose tasks a test can list and end."""

    def __init__(self, k2: Cluster) -> None:
        self._port = free_port()
        path = f"{HERE.parents[1]}:{HERE / 'controlled'}"
        settings = {"K2_TEST_CONTROL": str(self._port), "PYTHONPATH": path}
        self.worker: LocalWorker = k2.worker(**settings).start().wait_ready()
        eventually(self._is_ready, what="every partition worked")

    def ask(self, **asked: Any) -> Any:
        with (
            socket.create_connection(("127.0.0.1", self._port), timeout=10) as connection,
            connection.makefile("rw") as file,
        ):
            file.write(json.dumps(asked) + "\n")
            file.flush()
            return json.loads(file.readline())

    def tasks(self) -> set[tuple[str, str]]:
        return {(loop, name) for loop, name in self.ask(do="list")}

    def _is_ready(self) -> bool:
        try:
            self.worker.get("/health/ready", within_s=2.0)
            found = self.worker.get("/v1/status")["partitions"].values()
        except OSError:
            return False
        return bool(found) and all(task["state"] == "running" for task in found)

    def steady(self) -> int | None:
        """Wait until it has been ready for a while (None), or has ended: its exit code."""
        deadline, ready_since = time.monotonic() + SETTLED_WITHIN_S, None
        assert self.worker.process is not None
        while True:
            code = self.worker.process.poll()
            if code is not None:
                return code
            now = time.monotonic()
            ready_since = (ready_since or now) if self._is_ready() else None
            if ready_since is not None and now - ready_since > STEADY_S:
                return None
            assert now < deadline, f"neither ready nor gone\n{self.worker.last_words()}"
            time.sleep(0.1)


def kind(name: str) -> str:
    head, _, number = name.rpartition("-")
    return head if number.isdigit() else name


def is_known(loop: str, name: str) -> bool:
    """Whether somebody looks after it, or there is a reason why nobody needs to."""
    return (
        kind(name) in OURS
        or name in ESSENTIAL[loop]
        or name in OTHERS
        or name in CHECKED_IN_USE
        or (loop == "consumer" and name == HEARTBEAT)
        or name in PASSING
    )


def test_every_task_of_a_worker_is_known_and_readiness_names_one_that_is_down(
    k2: Cluster,
) -> None:
    k2.produce("--messages", "500")
    controlled = Controlled(k2)
    assert controlled.steady() is None
    unknown = {task for task in controlled.tasks() if not is_known(*task)}
    assert not unknown
    threads = controlled.ask(do="threads")
    pools = ("tasks", "lake", "k2-", "query", "asyncio", "Thread-", "ThreadPool", "duckdb")
    others = [t for t in threads if not t.startswith((*pools, "MainThread", "watchdog", "control"))]
    assert not others, "pools give an error to who asked; the watchdog's thread is watched"
    assert "level='error'" not in controlled.worker.log_file.read_text(), "a healthy start"
    controlled.ask(do="end", task=["main", "sink"], how="cancel")
    named = "background task sink failed"
    eventually(lambda: named in readiness(controlled.worker), 5.0, "named")
    assert controlled.steady() is None
    before_stop = len(controlled.worker.log_file.read_text())
    controlled.worker.stop()
    stopped = controlled.worker.log_file.read_text()[before_stop:]
    assert "level='error'" not in stopped, "a healthy stop"


@pytest.mark.long
@pytest.mark.parametrize("how", ["cancel", "throw"])
def test_k2s_own_tasks_and_those_without_a_need_are_made_good(k2: Cluster, how: str) -> None:
    truth = k2.produce("--messages", "500")
    controlled = Controlled(k2)
    ours = sorted(name for _, name in controlled.tasks() if kind(name) in OURS)
    assert {"sink", "tail", "events", "load", "lake-view", "tail-quota", "watchdog"} <= set(ours)
    for name in ours:
        controlled.ask(do="end", task=["main", name], how=how)
    assert controlled.steady() is None, controlled.worker.last_words()
    found = controlled.worker.get("/v1/status")["background_tasks"]
    # These may have ended by themselves. What is thrown into a partition's task it fails with, as
    # with any error: its successor is started, and the supervisor need not know.
    ended = {"checkpoint", "seek"} | ({"task"} if how == "throw" else set())
    for name in ours:
        if kind(name) not in ended:
            assert found[kind(name)]["failures"] >= 1, name
            assert found[kind(name)]["last_error"], name
    log = controlled.worker.log_file.read_text()
    assert log.count("event='background task failed' task='sink'") == 1
    assert "TaskLostError" in log or "RuntimeError" in log
    assert how == "cancel" or log.count("event='task ended'") >= 1
    spared = {"Event.wait", "Service.start", "Service._execute_task", "ThrowableQueue.get"}
    for loop, name in controlled.tasks():
        if name in OTHERS and name not in spared:
            controlled.ask(do="end", task=[loop, name], how="cancel")
    assert controlled.steady() is None, controlled.worker.last_words()
    later = k2.produce("--messages", "500", "--exchange", "LATER", "--seed", "9")
    k2.verify(controlled.worker, truth, later, also=None)


def library_tasks() -> list[pytest.ParameterSet]:
    """Each task of a library that a worker needs; all but the first take minutes together."""
    tasks = [
        *((loop, name) for loop, names in ESSENTIAL.items() for name in names),
        ("consumer", HEARTBEAT),
        ("main", "Event.wait"),
        ("consumer", "Event.wait"),
        ("main", "Service.start"),
        ("main", "ThrowableQueue.get"),
    ]
    return [
        pytest.param(*task, marks=pytest.mark.long if i else ()) for i, task in enumerate(tasks)
    ]


@pytest.mark.parametrize(("loop", "name"), library_tasks())
def test_a_worker_without_a_task_of_a_library_ends_with_a_code_or_goes_on(
    k2: Cluster, loop: str, name: str
) -> None:
    controlled = Controlled(k2)
    controlled.ask(do="end", task=[loop, name], how="cancel")
    code = controlled.steady()
    if code is None:  # Faust starts an agent again
        truth = k2.produce("--messages", "500")
        k2.verify(controlled.worker, truth, also=None)
        return
    assert code == EXIT_TASK_LOST, controlled.worker.last_words()
    assert "event='worker ends'" in controlled.worker.log_file.read_text()
