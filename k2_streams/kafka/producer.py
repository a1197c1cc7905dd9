"""A producer that ends when it is told to."""

import asyncio
import inspect
from typing import Any

from aiokafka import AIOKafkaProducer


class Producer(AIOKafkaProducer):  # type: ignore[misc] # aiokafka has no types
    """aiokafka's, whose own `stop` first sends what waits.

    Who does not wait for that, because a broker is away, leaves a sender behind, which connects
    again and again for as long as the process lives; so does one that is cancelled in the middle of
    a commit.
    """

    async def stop(self) -> None:
        """Disconnect at once, whether brokers answer or not; what waits to be sent is dropped."""
        self._closed = True
        while begun := self._begun():
            for task in begun:
                task.cancel()
            await asyncio.wait(begun)
        await self.client.close()

    def _begun(self) -> list[asyncio.Task[Any]]:
        """What the sender does: its routine, and requests of which only the routine knows."""
        return [one for one in asyncio.all_tasks() if _object_of(one) is self._sender]


def _object_of(task: asyncio.Task[Any]) -> object:
    """Whose method a task runs."""
    running = task.get_coro()
    return inspect.getcoroutinelocals(running).get("self") if inspect.iscoroutine(running) else None
