"""A background task that ends is logged, counted, shown and started again."""

import asyncio

import pytest
import structlog
from structlog.testing import capture_logs

from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.runtime.control.library_tasks import (
    ESSENTIAL,
    FETCH_LOOP,
    LOST_AFTER_S,
    LibraryTasks,
)
from k2_streams.runtime.control.supervisor import Supervisor, TaskLostError
from k2_streams.runtime.limits import Limits
from k2_streams.runtime.metrics import Metrics


@pytest.fixture
def supervisor():
    limits = Limits(restart_first_s=0.02, steady_after_s=0.05)
    return Supervisor(SYSTEM_CLOCK, Metrics(), limits=limits)


def sample(supervisor, name, **labels):
    return supervisor._metrics.registry.get_sample_value(name, labels)


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.001)


class Work:
    """Fails as often as it is told to, each time in the way that it is told."""

    def __init__(self, *ends):
        self.ends = list(ends)
        self.starts = 0

    async def __call__(self):
        self.starts += 1
        end = self.ends.pop(0) if self.ends else None
        await asyncio.sleep(0.01)
        if end == "return":
            return
        if end is not None:
            raise end
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (ValueError("a column was renamed"), "ValueError: a column was renamed"),
        (asyncio.CancelledError(), "TaskLostError: sink was cancelled, and not by its owner"),
        ("return", "TaskLostError: sink returned, and it should never end"),
    ],
)
async def test_kept_work_that_ends_is_shown_and_starts_again(supervisor, end, text):
    structlog.reset_defaults()
    work = Work(end)
    with capture_logs() as lines:
        kept = supervisor.keep("sink", work)
        assert sample(supervisor, "k2_background_task_up", task="sink") == 1
        await until(lambda: supervisor.failing)
        assert supervisor.failing == {"sink": text}
        assert supervisor.as_dict()["sink"]["state"] == "failed"
        assert sample(supervisor, "k2_background_task_up", task="sink") == 0
        await until(lambda: not supervisor.failing)
    (failed,) = [line for line in lines if line["log_level"] == "error"]
    assert failed["task"] == "sink"
    assert failed["error"] == text
    assert isinstance(failed["exc_info"], BaseException)
    assert work.starts == 2
    assert supervisor.as_dict()["sink"] == {
        "state": "running",
        "failures": 1,
        "last_error": text,
        "retry_in_s": None,
    }
    assert sample(supervisor, "k2_background_task_failures_total", task="sink") == 1
    assert sample(supervisor, "k2_background_task_up", task="sink") == 1
    await kept.close()


async def test_work_that_fails_again_and_again_stays_down_and_waits_longer_each_time(supervisor):
    kept = supervisor.keep("tail", Work(*[ValueError("no")] * 3))
    states = []
    waits = []
    original = supervisor.report_failure
    supervisor.report_failure = lambda *given: waits.append(original(*given)) or waits[-1]
    async with asyncio.timeout(10):
        while len(waits) < 3 or supervisor.failing:
            states.append(bool(supervisor.failing))
            await asyncio.sleep(0.001)
    first = states.index(True)
    assert all(states[first:]), "it was called up before it had run for a while"
    assert waits == sorted(waits)
    assert waits[-1] == 4 * waits[0]
    await kept.close()


async def test_kept_work_that_its_owner_closes_ends_for_good(supervisor):
    work = Work(ValueError("down when it is closed"))
    kept = supervisor.keep("load", work)
    await until(lambda: supervisor.failing)
    await kept.close()
    await asyncio.sleep(0.1)
    assert work.starts == 1
    assert supervisor.failing == {}
    assert supervisor.as_dict()["load"]["state"] == "closed"


async def test_an_owner_hears_how_its_work_failed_and_nothing_when_it_closed_it(supervisor):
    heard, ends = [], []

    def spawn(number, work):
        return supervisor.spawn(
            f"checkpoint-{number}", work, heard.append, lambda: ends.append(number)
        )

    closed = spawn(0, asyncio.sleep(60))
    done = spawn(1, asyncio.sleep(0))
    lost = spawn(2, asyncio.sleep(60))
    failed = spawn(3, Work(ValueError("why"))())
    await asyncio.sleep(0)
    await closed.close()
    lost._task.cancel()
    await asyncio.gather(done.wait(), lost.wait(), failed.wait())
    await until(lambda: len(ends) == 4)
    assert [type(error) for error in heard] == [TaskLostError, ValueError]
    done.result()
    closed.result()
    with pytest.raises(TaskLostError, match="checkpoint-2 was cancelled"):
        lost.result()
    assert sample(supervisor, "k2_background_task_failures_total", task="checkpoint") == 2
    assert list(supervisor.as_dict()) == ["checkpoint"], "one entry, however many partitions"


class HandClock:
    now_s = 0.0

    def monotonic(self):
        return self.now_s

    def time_ns(self):
        return 0


async def test_a_task_of_a_library_that_has_ended_is_named_after_a_while(monkeypatch):
    clock = HandClock()
    loop = asyncio.get_running_loop()
    look = LibraryTasks(lambda: {"main": loop}, lambda: False, lambda: True, clock).look
    names = list(ESSENTIAL["main"])
    tasks = [asyncio.create_task(asyncio.sleep(60), name=name) for name in (*names, names[0])]
    assert look() is None
    passing = asyncio.create_task(asyncio.sleep(0), name=names[1])  # a crashed one's replacement
    assert look() is None
    await passing
    tasks[-1].cancel()  # one of the two of this name
    await asyncio.wait([tasks[-1]])
    assert look() is None, "an agent that crashed is started again"
    clock.now_s += LOST_AFTER_S + 1
    assert f"task {names[0]} of the main loop has ended" in look()
    for task in tasks:
        task.cancel()


def test_heartbeats_that_have_ended_are_named_after_a_while():
    clock, lost = HandClock(), [False]
    look = LibraryTasks(dict, lambda: lost[0], lambda: True, clock).look
    for lost[0], passed_s, named in [
        (True, 0, False),
        (False, 100, False),
        (True, 1, False),
        (True, LOST_AFTER_S + 1, True),
    ]:
        clock.now_s += passed_s
        assert (look() is not None) == named


async def test_the_fetch_loop_is_needed_only_while_the_flow_goes_on():
    """Faust stops it for a rebalance, which may take long."""
    clock, loop, flows = HandClock(), asyncio.get_running_loop(), [True]
    look = LibraryTasks(lambda: {"main": loop}, lambda: False, lambda: flows[0], clock).look
    task = asyncio.create_task(asyncio.sleep(60), name=FETCH_LOOP)
    assert look() is None
    assert look() is None
    task.cancel()
    await asyncio.wait([task])
    for flows[0], named in [(False, False), (False, False), (True, False), (True, True)]:
        clock.now_s += LOST_AFTER_S + 1
        assert (look() is not None) == named
