"""From the start of a worker's process to the first row that it accepts, and its CPU until then.

Records wait in the source, and a reader of the log for the first batch that a transaction commits.
The worker has state to restore, as after any restart.
"""

import asyncio
import statistics
import time

from bench.stage import cpu_s, process_of, stage
from k2_streams.core.records.stream import TRADES
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogReader
from k2_streams.testing.local.workers import READY_WITHIN_S, LocalWorker

#: The reader's fetches are answered after this long at the latest, and a worker's start with them.
_POLL_MS = 20


async def _first_row_s(bootstrap: str, worker: LocalWorker) -> float:
    """Start the worker; seconds until the log holds a row more."""
    partitions = [TopicPartition(TRADES.log, partition) for partition in range(4)]
    async with LogReader(KafkaConfig(bootstrap=bootstrap), max_wait_ms=_POLL_MS) as reader:
        reader.assign(await reader.end_offsets(partitions))
        began = time.monotonic()
        worker.start()
        async with asyncio.timeout(READY_WITHIN_S):
            while not any(chunk.records for chunk in await reader.poll(_POLL_MS)):
                pass
        return time.monotonic() - began


def run(times: int = 5, messages: int = 1_000) -> dict[str, float]:
    """The medians of so many starts, each with so many messages in the source."""
    first_rows_s, used_s = [], []
    with stage() as at:
        worker = at.start().wait_ready()
        for number in range(times):
            worker.stop()
            at.produce("--messages", str(messages), "--seed", "1", "--exchange", f"RUN{number}")
            first_rows_s.append(asyncio.run(_first_row_s(at.bootstrap, worker)))
            used_s.append(cpu_s(process_of(worker)))
            worker.wait_ready()
        worker.stop()
    return {
        "starts": float(times),
        "s from process start to first row, median": statistics.median(first_rows_s),
        "s, most": max(first_rows_s),
        "CPU s of the worker until then, median": statistics.median(used_s),
    }
