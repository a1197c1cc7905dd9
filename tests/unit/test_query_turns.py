"""Turns: light queries pass heavy ones, and a turn is given back however its query ends."""

import asyncio

import pytest

from k2_streams.core.load.admission import HEAVY_UNITS
from k2_streams.query import turns as module
from k2_streams.query.errors import BusyError
from k2_streams.query.turns import HEAVY_TURNS, LIGHT_TURNS, Turns

LIGHT = 500
HEAVY = 2 * HEAVY_UNITS  # 0.8 s each, until more is known


class Asked:
    """Queries that hold their turns until they are told to end."""

    def __init__(self, turns):
        self._turns = turns
        self.order = []
        self._ends = {}

    def ask(self, name, units, *, far=False):
        self._ends[name] = asyncio.Event()

        async def hold():
            async with self._turns.take(units, far=far):
                self.order.append(name)
                await self._ends[name].wait()

        return asyncio.create_task(hold(), name=name)

    async def end(self, name):
        self._ends[name].set()
        await settle()


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def ended(*tasks):
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_light_queries_pass_heavy_ones_and_the_tails_pass_the_stores():
    asked = Asked(Turns())
    tasks = [asked.ask(f"heavy {n}", HEAVY) for n in range(3)]
    tasks += [asked.ask(f"far {n}", LIGHT, far=True) for n in range(LIGHT_TURNS + 1)]
    tasks += [asked.ask("light", LIGHT)]
    await settle()
    assert asked.order == ["heavy 0", "far 0", "far 1", "light"]
    assert HEAVY_TURNS == 1
    await asked.end("heavy 0")
    assert asked.order[-1] == "heavy 1"
    await ended(*tasks)


async def test_a_query_that_would_wait_in_vain_is_refused_before_it_began():
    asked = Asked(Turns())
    tasks = [asked.ask(n, 100_000) for n in range(6)]  # 2 s each
    await settle()
    with pytest.raises(BusyError, match="1 queries run and 5 wait") as caught:
        async with asked._turns.take(100_000):
            pytest.fail("it was admitted")
    assert caught.value.retry_after_s == pytest.approx(2.0, abs=0.5)
    await ended(*tasks)


async def test_whoever_goes_away_while_it_waits_is_passed_over():
    asked = Asked(Turns())
    tasks = [asked.ask(n, HEAVY) for n in range(4)]
    await settle()
    await ended(tasks[1], tasks[2])
    await asked.end(0)
    assert asked.order == [0, 3]
    await ended(tasks[3])
    async with asked._turns.take(HEAVY):
        pass


async def test_a_turn_is_free_again_however_its_query_ends():
    turns = Turns()
    for _ in range(3):
        with pytest.raises(RuntimeError):
            async with turns.take(HEAVY):
                raise RuntimeError
    task = Asked(turns).ask("cut off", HEAVY)
    await settle()
    await ended(task)
    async with turns.take(HEAVY):
        pass


async def test_whoever_waits_too_long_after_all_is_refused(monkeypatch):
    monkeypatch.setattr(module, "LONGEST_WAIT_S", 0.05)
    asked = Asked(Turns())
    task = asked.ask(0, HEAVY)
    await settle()
    with pytest.raises(BusyError, match="no turn within"):
        async with asked._turns.take(HEAVY):
            pytest.fail("it was admitted")
    await ended(task)
