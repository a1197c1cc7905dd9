"""aiokafka's own fetcher and results over bytes, without a broker.

Written against the client's own classes: another version of it that differs is noticed.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from aiokafka.consumer.fetcher import Fetcher, FetchResult
from aiokafka.structs import TopicPartition

from k2_streams.kafka.header_keys import AnyKeyRecords, Batches
from k2_streams.kafka.partition_faults import drain

COMMITTED = 1  # the isolation level


class FetchedBytes:
    """What a consumer at `position` has fetched of one partition.

    Args:
        tp: the partition.
        data: record batches.
        position: of the consumer.
        aborted: producer id and first offset of each aborted transaction in it.
    """

    def __init__(
        self,
        tp: tuple[str, int],
        data: bytes,
        position: int,
        aborted: Sequence[tuple[int, int]] = (),
    ) -> None:
        self._tp = TopicPartition(*tp)
        state = self.state = SimpleNamespace(
            paused=False, position=position, has_valid_position=True
        )
        state.consumed_to = lambda end: setattr(state, "position", end)
        records = AnyKeyRecords(
            self._tp,
            Batches(data),
            list(aborted),
            position,
            None,
            None,
            check_crcs=True,
            isolation_level=COMMITTED,
        )
        assignment = SimpleNamespace(active=True, state_value=lambda _: state)
        result = FetchResult(self._tp, assignment=assignment, partition_records=records, backoff=0)
        fetcher: Any = Fetcher.__new__(Fetcher)
        fetcher._closed = False
        fetcher._subscriptions = SimpleNamespace(
            reassignment_in_progress=False,
            is_assigned=lambda _: True,
            fetch_context=contextlib.nullcontext,
        )
        fetcher._records = OrderedDict({self._tp: result})
        fetcher._wait_consume_future = None
        self.fetcher = fetcher

    async def drain(self, max_records: int | None, native: Any) -> Sequence[Any] | None:
        """The records of the partition; None: nothing of it was left to be taken."""
        found, errors = await drain(self.fetcher, {self._tp}, 0.0, max_records, native)
        assert not errors
        return found.get(self._tp)
