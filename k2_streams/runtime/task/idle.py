"""What the broker's time is while nothing comes: for decisions that time alone brings about.

A gap that is held for a redundant line has a deadline in stream time, and stream time stands still
while a partition is silent. A task that has read all there is then reports in a checkpoint what the
next record would report first. It needs a time that no record to come can be older than:

    append time of the last record
    + the time that has passed here, since that record was received, when the broker was asked
      whether anything has come since, and nothing had

The record was appended before it was received, and whatever comes is appended after the broker was
asked. Two clocks are never compared, only time that passed. The time becomes stream time and is in
the position record, so restarts and successors go on from it.
"""

from k2_streams.clock import Clock
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogReader
from k2_streams.kafka.offsets import end_offsets

#: What is left of the time that passed: two clocks never run alike, and a new leader has another.
SLACK_MS = 2_000
PASSED_SHARE = 0.999
#: After the broker had more, or did not answer, it is asked again.
AGAIN_S = 5.0
#: Polls for markers behind the last record, which take offsets.
MARKER_POLLS = 3


class IdleTime:
    """Of one source partition. For one event loop.

    Args:
        append_ms: stream time, as the position has it; 0: there was no record yet.
    """

    def __init__(self, clock: Clock, append_ms: int) -> None:
        self._clock = clock
        self._not_before_s = 0.0
        self._append_ms = 0
        self.received(append_ms)

    def received(self, append_ms: int) -> None:
        """A record with this append time is here; 0: the broker did not date it.

        It was appended behind the one before, whose time then stands for its own.
        """
        self._append_ms = append_ms or self._append_ms
        self._received_s = self._clock.monotonic()

    def wait_s(self, deadline_ms: int | None) -> float | None:
        """How long until the broker is to be asked; None: nothing waits for time to pass."""
        if deadline_ms is None:
            return None
        now_s = self._clock.monotonic()
        left_ms = (deadline_ms + SLACK_MS - self._append_ms) / PASSED_SHARE
        return max(self._received_s + left_ms / 1000 - now_s, self._not_before_s - now_s, 0.0)

    async def ask(self, config: KafkaConfig, place: TopicPartition, position: int) -> int | None:
        """A time that no record at or behind `position` is older than; None: there is one already.

        Raises:
            KafkaError: the broker does not answer.
        """
        asked_s = self._clock.monotonic()
        self._not_before_s = asked_s + AGAIN_S
        if not await _ends_at(config, place, position):
            return None
        passed_ms = (asked_s - self._received_s) * 1000 * PASSED_SHARE
        return self._append_ms + int(passed_ms) - SLACK_MS


async def _ends_at(config: KafkaConfig, place: TopicPartition, position: int) -> bool:
    """Whether nothing but markers lies at or behind a position, committed or not."""
    end = (await end_offsets(config, [place]))[place]
    if end <= position:
        return end == position
    async with LogReader(config) as reader:
        reader.assign({place: position})
        for _ in range(MARKER_POLLS):
            if any(chunk.records for chunk in await reader.poll()):
                return False
            if reader.position(*place) >= end:
                return True
    return False
