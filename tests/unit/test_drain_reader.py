"""What is held ready of the backlog is bounded, by number and by size."""

import asyncio
from typing import Any, Self

import pytest

from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import Chunk, Record
from k2_streams.runtime.control.supervisor import Supervisor
from k2_streams.runtime.deferral import draining
from k2_streams.runtime.deferral.draining import BUFFER_BYTES_MAX, BUFFER_RECORDS_MAX, DrainReader
from k2_streams.runtime.metrics import Metrics

#: Turns of the loop that are enough for everything that could run to have run.
TURNS = 200


class EndlessLog:
    """A reader that always has the next chunk, of so many records of a size."""

    def __init__(self, records: int, size_bytes: int) -> None:
        self.polls = 0
        self._value, self._records = bytes(size_bytes), records

    def __call__(self, _config: KafkaConfig) -> "EndlessLog":
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def assign(self, _positions: Any) -> None: ...

    async def poll(self, _wait_ms: int, max_records: int) -> list[Chunk]:
        await asyncio.sleep(0)
        assert self._records <= max_records
        start = self.polls * self._records
        self.polls += 1
        offsets = range(start, start + self._records)
        records = tuple(Record(offset, None, self._value, (), 0) for offset in offsets)
        return [Chunk("deferred", 0, offsets.start, offsets.stop, records)]


async def turn() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("records", "size_bytes", "held"),
    [(1_024, 1, BUFFER_RECORDS_MAX // 1_024), (4, 1 << 20, BUFFER_BYTES_MAX >> 22)],
    ids=["many", "large"],
)
async def test_no_more_is_read_than_may_be_held(
    monkeypatch: pytest.MonkeyPatch, records: int, size_bytes: int, held: int
) -> None:
    log = EndlessLog(records, size_bytes)
    monkeypatch.setattr(draining, "LogReader", log)
    supervisor = Supervisor(SYSTEM_CLOCK, Metrics())
    reader = DrainReader(KafkaConfig(), "deferred", 0, 0, lambda: None, supervisor)
    await turn()
    assert (reader.is_ready(), log.polls) == (True, held)
    first, end = reader.take(records // 2)
    rest, after = reader.take(records)
    assert (len(first), end, len(rest), after) == (
        records // 2,
        records // 2,
        records // 2,
        records,
    )
    await turn()
    assert log.polls == held + 1, "one chunk has gone, and one has come"
    await reader.close()
