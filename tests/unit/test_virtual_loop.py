"""The loop of the world in memory: virtual time, threads in turns, processes that are killed."""

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor

import pytest
from greenlet import greenlet

from k2_streams.testing.memory.loop import (
    LoopStuckError,
    ProcessState,
    VirtualLoop,
    VirtualProcess,
    end_process,
    pause,
)


@pytest.fixture
def loop():
    made = VirtualLoop()
    yield made
    made.abandon()


def test_an_hour_passes_at_once_and_in_order(loop):
    found = []

    async def after(seconds: float) -> None:
        await asyncio.sleep(seconds)
        found.append((seconds, loop.time()))

    async def main() -> None:
        await asyncio.gather(after(3_600), after(1), after(60))

    loop.run_until_complete(main())
    assert found == [(1, 1.0), (60, 60.0), (3_600, 3_600.0)]


def test_a_loop_in_which_nothing_can_happen_says_so(loop):
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(LoopStuckError, match="nothing is ready"):
        loop.run_until_complete(main())


def test_threads_take_turns_and_one_executor_does_one_thing_at_a_time(loop):
    found = []
    one, other = ThreadPoolExecutor(1), ThreadPoolExecutor(1)

    def work(name: str, seconds: float) -> None:
        found.append(f"{name} begins")
        pause(seconds)
        found.append(f"{name} ends")

    async def main() -> None:
        await asyncio.gather(
            loop.run_in_executor(one, work, "a", 2),
            loop.run_in_executor(one, work, "b", 1),
            loop.run_in_executor(other, work, "c", 1),
        )

    loop.run_until_complete(main())
    assert found == ["a begins", "c begins", "c ends", "a ends", "b begins", "b ends"]
    assert loop.time() == pytest.approx(3.0, abs=1e-4)


def test_an_error_of_a_thread_reaches_who_waits(loop):
    def work() -> None:
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        loop.run_until_complete(loop.run_in_executor(None, work))


def killed(loop: VirtualLoop, main) -> tuple[VirtualProcess, list[str]]:
    """A process beside another one; what the other one did in ten seconds."""
    process, other, found = VirtualProcess(loop, "one"), VirtualProcess(loop, "other"), []

    async def ticks() -> None:
        while True:
            await asyncio.sleep(1.0)
            found.append("tick")

    process.start(main)
    other.start(ticks())

    async def wait() -> None:
        await asyncio.sleep(10.5)

    loop.run_until_complete(wait())
    return process, found


def test_of_a_process_that_is_killed_in_a_step_not_one_more_line_runs(loop):
    lines = []

    def deep() -> None:
        end_process()

    async def main() -> None:
        try:
            await asyncio.sleep(2.0)
            lines.append("before")
            deep()
            lines.append("behind")
        except BaseException:
            lines.append("except")
            raise
        finally:
            lines.append("finally")

    process, ticks = killed(loop, main())
    assert (lines, process.state, len(ticks)) == (["before"], ProcessState.KILLED, 10)


def test_nor_of_one_that_is_killed_in_a_thread_nor_of_its_other_tasks(loop):
    lines = []

    def work() -> None:
        pause(0.5)
        lines.append("before")
        try:
            end_process()
        finally:
            lines.append("finally")

    async def beside() -> None:
        while True:
            await asyncio.sleep(0.4)
            lines.append("beside")

    async def main() -> None:
        task = asyncio.create_task(beside())
        await asyncio.get_running_loop().run_in_executor(None, work)
        lines.append("behind")
        await task

    process, ticks = killed(loop, main())
    assert (lines, process.state, len(ticks)) == (["beside", "before"], ProcessState.KILLED, 10)


def test_outside_of_a_process_nothing_can_be_killed(loop):
    async def main() -> None:
        end_process()

    with pytest.raises(RuntimeError, match="outside of a virtual process"):
        loop.run_until_complete(main())


def test_a_stopped_process_goes_on_with_what_became_ready_meanwhile(loop):
    process, found = VirtualProcess(loop, "one"), []

    async def main() -> None:
        for _ in range(3):
            await asyncio.sleep(1.0)
            found.append(loop.time())

    async def wait(seconds: float) -> None:
        await asyncio.sleep(seconds)

    process.start(main())
    loop.run_until_complete(wait(1.5))
    process.stop()
    loop.run_until_complete(wait(5.0))
    assert found == [1.0]
    process.go_on()
    loop.run_until_complete(wait(2.0))
    assert found == [1.0, 6.5, 7.5]


def test_nothing_of_an_abandoned_loop_is_left_for_the_garbage_collector():
    """It would be unwound in the middle of whatever runs then."""
    loop, unwound = VirtualLoop(), []

    def paused() -> None:
        try:
            pause(100.0)
        finally:
            unwound.append("thread")

    async def waits() -> None:
        try:
            await asyncio.sleep(100.0)
        finally:
            unwound.append("task")

    async def dies() -> None:
        try:
            await asyncio.sleep(1.0)
            end_process()
        finally:
            unwound.append("killed")

    async def main() -> None:
        loop.run_in_executor(None, paused)
        task = asyncio.create_task(waits())
        VirtualProcess(loop, "one").start(dies())
        await asyncio.sleep(5.0)
        assert not task.done()

    loop.run_until_complete(main())
    assert unwound == []
    loop.abandon()
    assert sorted(unwound) == ["killed", "task", "thread"]
    gc.collect()
    left = [one for one in gc.get_objects() if isinstance(one, greenlet) and one.parent and one]
    assert left == []
