"""A source's records, decoded as a task would."""

from collections.abc import Iterator, Sequence

import numpy as np

from k2_streams.kafka.record_columns import FetchedRecord
from k2_streams.runtime.repair.sources import RepairRecord
from k2_streams.runtime.task.decoding import DecodedBatch, Decoding
from k2_streams.runtime.task.headers import FEED
from k2_streams.runtime.task.processing_error import ProcessingError


def decoded_portions(
    decoding: Decoding, records: Sequence[RepairRecord], now_ms: int
) -> Iterator[tuple[Sequence[RepairRecord], DecodedBatch]]:
    """The records in their order, but for those on which their feed fails.

    Args:
        decoding: of the feeds.
        records: at least one.
        now_ms: when they are appended, if they are sent.
    """
    fetched = [
        FetchedRecord(at, now_ms, 1, one.key, one.value, ((FEED, one.feed.encode()),))
        for at, one in enumerate(records)
    ]
    times_ms = np.full(len(records), now_ms, np.int64)
    try:
        batch = decoding.decode(fetched, times_ms, times_ms)
    except ProcessingError:
        if len(records) > 1:
            half = len(records) // 2
            yield from decoded_portions(decoding, records[:half], now_ms)
            yield from decoded_portions(decoding, records[half:], now_ms)
        return
    yield records, batch
