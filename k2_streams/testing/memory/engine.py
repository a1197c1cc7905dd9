"""Queries of a worker in memory: DuckDB, opened with the first one."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from k2_streams.clock import Clock
from k2_streams.query.engine import Engine, EngineConfig, EngineMemory, QuerySession

_T = TypeVar("_T")


class LazyEngine(Engine):
    """An `Engine` that opens DuckDB when it is asked for the first time: many tests never do.

    Args:
        config: of the engine.
        clock: of the worker.
    """

    def __init__(self, config: EngineConfig, clock: Clock) -> None:
        self._given = (config, clock)
        self._opened: Engine | None = None

    @property
    def store_waits_s(self) -> float:
        """As `Engine.store_waits_s`."""
        return 0.0 if self._opened is None else self._opened.store_waits_s

    @property
    def timeout_s(self) -> float:
        """As `Engine.timeout_s`."""
        return self._given[0].timeout_s

    def memory(self) -> EngineMemory:
        """As `Engine.memory`."""
        return EngineMemory(0, 0) if self._opened is None else self._opened.memory()

    def turn(
        self, rows: int, scanned: int, *, reads_lake: bool
    ) -> AbstractAsyncContextManager[None]:
        """As `Engine.turn`."""
        return self._engine().turn(rows, scanned, reads_lake=reads_lake)

    async def run(self, work: Callable[[QuerySession], _T], *, reads_lake: bool = False) -> _T:
        """As `Engine.run`."""
        return await self._engine().run(work, reads_lake=reads_lake)

    def close(self) -> None:
        """As `Engine.close`; more than once does no harm."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def _engine(self) -> Engine:
        if self._opened is None:
            self._opened = Engine(*self._given)
        return self._opened
