"""The sending loop: paces a stream, hands it to the sender, and keeps the model beside it."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass

from k2_streams.clock import Clock
from k2_streams.kafka.sender import Sender
from k2_streams.testing.load.pace import LOOK_AGAIN_S, Pace
from k2_streams.testing.load.stream import LoadStream
from k2_streams.testing.oracle.model import Expected

#: Records handed over at once: enough to fill batches, and little enough that signals, the
#: progress and the network get their turn every few milliseconds.
SLICE = 8_192
#: With a rate: how often what has fallen due is sent.
TICK_S = 0.01


@dataclass(slots=True)
class SendOutcome:
    """What a run sent, and in how many seconds."""

    handed_over: int = 0
    elapsed_s: float = 0.0

    @property
    def rate(self) -> float:
        """Records per second."""
        return self.handed_over / self.elapsed_s if self.elapsed_s else 0.0


async def send_all(
    stream: LoadStream,
    sender: Sender,
    expected: Expected,
    pace: Pace,
    *,
    clock: Clock,
    stop: asyncio.Event,
    progress: Callable[[int], None],
) -> SendOutcome:
    """Send a stream until its end, its time or `stop`; return when all of it is acknowledged.

    The model has been told exactly of what was sent.

    Raises:
        NotAcknowledgedError: something was sent and is not known to have arrived.
    """
    outcome = SendOutcome()
    began = clock.monotonic()
    for chunk in stream.chunks():
        at = 0
        while at < len(chunk):
            size = await _due(pace, outcome.handed_over, began, clock, stop)
            if not size:
                break
            end = min(at + size, len(chunk))
            timestamp_ms = clock.time_ns() // 1_000_000
            for partition, records in chunk.records(at, end):
                await sender.send(partition, records, timestamp_ms)
            # Sending may not have had to wait for anything: let the network have its turn.
            await asyncio.sleep(0)
            outcome.handed_over += end - at
            at = end
            progress(outcome.handed_over)
        chunk.tell(expected, 0, at)
        if at < len(chunk):
            break
    await sender.finish()
    outcome.elapsed_s = clock.monotonic() - began
    return outcome


async def _due(pace: Pace, sent: int, began: float, clock: Clock, stop: asyncio.Event) -> int:
    """How many records may be sent now, waiting until there are some; 0 when it is over."""
    while not stop.is_set():
        elapsed = clock.monotonic() - began
        if elapsed >= pace.length_s:
            return 0
        if not pace.steps:
            return SLICE
        rate, owed = pace.rate(elapsed), pace.owed(elapsed)
        due = math.floor(owed) + 1 - sent
        # A tick's worth at once: records sent one by one would cost everybody a request each.
        enough = max(1, math.floor(rate * TICK_S))
        if due >= enough:
            return min(due, SLICE)
        left = pace.length_s - elapsed
        wait = max((sent + enough - owed) / rate, TICK_S / 2) if rate else LOOK_AGAIN_S
        if len(pace.steps) > 1:
            wait = min(wait, LOOK_AGAIN_S)
        try:
            async with asyncio.timeout(min(wait, left)):
                await stop.wait()
        except TimeoutError:
            continue
    return 0
