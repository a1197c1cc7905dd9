"""Work that would hold the event loop up, on a thread beside it."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


async def off_loop(work: Callable[[], _T]) -> _T:
    """Do on a thread what takes up to a second: the event loop goes on."""
    return await asyncio.get_running_loop().run_in_executor(None, work)
