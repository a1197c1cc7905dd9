"""A redrive sends each letter once: killed, beside another one, and whatever answers are lost."""

import random

from aiokafka.errors import KafkaError
from hypothesis import given, settings
from hypothesis import strategies as st
from redrive_world import RedriveWorld, value

from k2_streams.kafka.transactions import FencedError
from k2_streams.testing.memory.faults import MemoryFault, seeded
from k2_streams.testing.memory.loop import VirtualProcess

#: Runs until one comes to its end: each is killed within a second, or meets a fault.
RUNS_MAX = 30
LOST = {MemoryFault.LOST_REQUEST, MemoryFault.LOST_ANSWER}


class SlowNetwork:
    """Requests take their time; now and then one, or its answer, is lost."""

    def __init__(self, seed: int, share: float) -> None:
        self.chance: random.Random = seeded(seed, "faults")
        self.share = share

    def happens(self, kind: MemoryFault) -> bool:
        return kind in LOST and self.chance.random() < self.share

    def count(self, kind: str) -> None:
        """Not asked for."""

    def one_way_s(self) -> float:
        return self.chance.uniform(0.001, 0.02)

    def delivery_s(self) -> float:
        return 0.0


def redriven_until_the_end(world: RedriveWorld, interrupted: list[tuple[float, bool]]) -> None:
    """One run after the other until one comes to its end.

    The first ones have so many seconds: then they are killed, or run on beside the next one.
    """
    for run in range(RUNS_MAX):
        process = VirtualProcess(world.loop, f"redrive-{run}")
        task = process.start(world.redrive().run())
        if run < len(interrupted):
            seconds, is_killed = interrupted[run]
            if is_killed:
                world.loop.later(seconds, process.kill)
            world.loop.run_until_complete(_pass(world, seconds + 0.001))
            if not task.done():
                continue
        try:
            world.loop.run_until_complete(task)
        except (KafkaError, FencedError):
            continue
        return
    raise AssertionError(f"none of {RUNS_MAX} runs came to its end")


async def _pass(world: RedriveWorld, seconds: float) -> None:
    passed = world.loop.create_future()
    world.loop.later(seconds, passed.set_result, None)
    await passed


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(30, 120),
    st.lists(st.tuples(st.floats(0.02, 0.45), st.booleans()), max_size=4),
    st.sampled_from([0.0, 0.02]),
)
def test_each_letter_is_sent_once(
    seed: int, letters: int, interrupted: list[tuple[float, bool]], lost: float
) -> None:
    """Letters of more transactions than one; every third would still be refused."""
    network = SlowNetwork(seed, lost)
    world = RedriveWorld(network)
    try:
        for number in range(letters):
            price = "nonsense" if number % 3 == 2 else "1"
            world.die(value(number, price=price), offset=number)
        redriven_until_the_end(world, interrupted)
        origins = [headers["k2.origin"] for _, _, headers in world.sent()]
        assert origins == [b"0:%d" % number for number in range(letters) if number % 3 != 2]
        network.share = 0.0
        again = world.run()
        assert (again.sent, again.redriven_before) == (0, len(origins))
        assert again.refused.total() == letters // 3
    finally:
        world.close()
