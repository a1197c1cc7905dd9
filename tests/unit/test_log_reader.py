"""A reader that is left ends, whatever its client is doing."""

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from k2_streams.kafka import log_reader
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogReader, ReaderBrokenError


class Fetching:
    """aiokafka's fetching: it takes so many cancellations for those of its fetches."""

    def __init__(self, taken: int) -> None:
        self._taken = taken
        self._fetch_task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        for _ in range(self._taken):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    async def stop(self) -> None:
        """As the client does: it waits for its end."""
        self._fetch_task.cancel()
        await self._fetch_task


async def reader_of(fetching: Any) -> LogReader:
    reader = LogReader(KafkaConfig())
    reader._consumer = SimpleNamespace(_fetcher=fetching, stop=fetching.stop)
    await asyncio.sleep(0)
    return reader


@pytest.mark.parametrize("taken", [0, 1, 2])
async def test_a_reader_ends_though_its_client_takes_a_cancellation_for_another(taken: int) -> None:
    fetching = Fetching(taken)
    reader = await reader_of(fetching)
    async with asyncio.timeout(10):
        await reader.__aexit__(None, None, None)
    assert fetching._fetch_task.done()


async def test_a_client_that_never_ends_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_reader, "FETCHING_ENDS_WITHIN_S", 0.001)
    fetching = Fetching(taken=1_000)
    reader = await reader_of(fetching)
    with pytest.raises(ReaderBrokenError, match=r"does not end: .*_run"):
        await reader.__aexit__(None, None, None)
    while not fetching._fetch_task.done():
        fetching._fetch_task.cancel()
        await asyncio.sleep(0)
