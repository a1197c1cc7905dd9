"""Trades in lake and tail, a gap, and a sandbox: what statements are asked over."""

import re
from pathlib import Path

from query_world import T0, World

from k2_streams.core.records.events import GapOpened
from k2_streams.core.records.stream import TRADES
from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.query.relations import ServedLog
from k2_streams.query.sql.answer import SqlAnswer
from k2_streams.query.sql.query import SqlQuery, SqlRequest
from k2_streams.query.sql.sandbox import Sandbox

US = T0 // 1_000
CASES = Path(__file__).parent / "cases" / "sql"
SYMBOLS = ("A", "B", "C")


def statements(name: str) -> list[str]:
    """The statements of a file of cases; `{T0+n}` stands for a time."""

    def time_ns(found: re.Match[str]) -> str:
        return str(T0 + int(found[1] or 0))

    _, *lines = (CASES / f"{name}.sql").read_text().splitlines()
    return [re.sub(r"\{T0(\+\d+)?\}", time_ns, line) for line in lines]


class SqlWorld:
    """A world whose rows are in the lake, in the tail, or in both."""

    def __init__(self, folder: Path, shared: Sandbox | None = None, **sandbox: float) -> None:
        self._engine = Engine(EngineConfig(allowed=(str(folder),)))
        self._shared = shared
        self.sandbox = shared or Sandbox(**sandbox)
        self.world = World(folder, self._engine)
        self.sql = SqlQuery([ServedLog(TRADES, self.world.query)], self.sandbox, self.world.clock)
        for number in range(12):
            rows = [(SYMBOLS[at % 3], T0 + number * 1_000 + at % 4) for at in range(5)]
            self.add(number % 2, rows, US + number)
            if number == 7:
                self.world.commit()
        gap = GapOpened(
            scope="X:A", session="0", first=2, last=3, size="small", exchange_time_ns=T0,
            previous_time_ns=T0, next_time_ns=T0 + 1, accepted_time_us=US + 3,
        )  # fmt: skip
        self.world.gaps.apply(gap, 0, 1)

    def add(self, partition: int, rows: list[tuple[str, int]], accepted_us: int) -> None:
        """A checkpoint that the tail has read."""
        self.world.log.append(partition, rows, accepted_us=accepted_us)
        self.world.read_tail(partition)
        self.world.gaps.cover(self.world.log.ends)

    async def ask(self, text: str, **fields: object) -> SqlAnswer:
        """The answer to a statement."""
        return await self.sql.answer(SqlRequest(text=text, **fields))

    async def close(self) -> None:
        """End it."""
        await self.world.query.close()
        if self._shared is None:
            self.sandbox.close()
        self._engine.close()
