"""Partitions that cannot be read: each stops alone, with its offset and the reason.

A batch with a wrong checksum, an unknown or broken compression, a record above the fetch size, an
offset that the log does not hold: aiokafka raises these for a whole fetch, drops what it has of
other partitions in the same call, and moves positions past records that nobody was given. Here
every partition is drained by itself, what failed stays where it was, and is tried again after a
backoff.
"""

import asyncio
import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka.errors import KafkaError, NoOffsetForPartitionError
from aiokafka.structs import TopicPartition

from k2_streams.clock import SYSTEM_CLOCK, Clock
from k2_streams.core.load import backoff
from k2_streams.kafka.header_keys import AnyKeyRecords, Given
from k2_streams.kafka.record_columns import APPEND_TIME, RecordColumns
from k2_streams.native import Native

log = structlog.get_logger(__name__)

#: A partition that cannot be read is tried again after about 1, 2, 4 ... seconds, at most this.
RETRY_S_MIN = 1.0
RETRY_S_MAX = 30.0
#: Not random: the readers of a process do not fail together.
_CHANCE = 0.5


class PartitionUnreadableError(KafkaError):  # type: ignore[misc] # aiokafka has no types
    """A partition cannot be read at an offset; its text names both and the reason."""

    def __init__(self, topic: str, partition: int, offset: int, cause: BaseException) -> None:
        super().__init__(
            f"{topic}-{partition} cannot be read at offset {offset}: "
            f"{type(cause).__name__}: {cause}"
        )
        self.cause = cause


@dataclass(frozen=True, slots=True)
class PartitionFault:
    """Why a partition stands still, and where."""

    topic: str
    partition: int
    offset: int  # the first that was not read
    error: str
    since_s: float
    attempts: int
    retry_at_s: float
    remedy: str  # what a person can do


def _remedy(offset: int) -> str:
    return (
        f"nothing is skipped: repair or restore the log segment with offset {offset} (from a "
        "healthy replica or a backup); it is tried again by itself"
    )


class ProducerTimeError(Exception):
    """A record of the source carries its producer's time, which may be any."""

    remedy = (
        "set message.timestamp.type=LogAppendTime on the topic (kafka-configs --alter); then work "
        "goes on by itself, and such records count with the time of the record before them"
    )

    def __init__(self, topic: str, offset: int, timestamp_ms: int) -> None:
        super().__init__(
            f"record {offset} of {topic} has message.timestamp.type=CreateTime ({timestamp_ms} ms)"
        )


# `ConsumerRecord.timestamp_type` is None in a batch of magic 0.
def producer_timed(records: Sequence[Any]) -> int | None:
    """The first record that the broker did not date; None: it dated all."""
    if isinstance(records, RecordColumns):
        return records.first_producer_timed()
    for index, record in enumerate(records):
        if record.timestamp_type != APPEND_TIME:
            return index
    return None


def without_producer_times(records: Sequence[Any]) -> Sequence[Any]:
    """Records without a time where the broker did not date them: what counts is the stream time."""
    if isinstance(records, RecordColumns):
        return records.without_producer_times()
    return [
        dataclasses.replace(record, timestamp=0) if record.timestamp_type != APPEND_TIME else record
        for record in records
    ]


class PartitionFaults:
    """The partitions of one reader that cannot be read now."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._faults: dict[tuple[str, int], PartitionFault] = {}
        self._trying: set[tuple[str, int]] = set()

    def __bool__(self) -> bool:
        """Whether any partition stands still."""
        return bool(self._faults)

    @property
    def now(self) -> list[PartitionFault]:
        """Those that stand still, by topic and partition. May be asked from any thread."""
        return [fault for _, fault in sorted(self._faults.items())]

    def add(self, topic: str, partition: int, offset: int, cause: BaseException) -> None:
        """A partition could not be read at this offset."""
        now_s = self._clock.monotonic()
        before = self._faults.get((topic, partition))
        if before is not None and before.offset != offset:
            before = None  # it went on meanwhile
        attempts = 1 if before is None else before.attempts + 1
        error = f"{type(cause).__name__}: {cause}"
        fault = PartitionFault(
            topic,
            partition,
            offset,
            error,
            now_s if before is None else before.since_s,
            attempts,
            now_s + backoff.wait_s(attempts, RETRY_S_MIN * 2, RETRY_S_MAX, _CHANCE),
            getattr(cause, "remedy", None) or _remedy(offset),
        )
        self._faults[topic, partition] = fault
        self._trying.discard((topic, partition))
        if before is None or before.error != error:
            log.error(
                "partition cannot be read",
                topic=topic,
                partition=partition,
                offset=offset,
                error=error,
                retry_in_s=round(fault.retry_at_s - now_s, 3),
                exc_info=cause,
            )

    def clear(self, topic: str, partition: int) -> bool:
        """The partition was read, or is read from elsewhere; whether it stood still."""
        self._trying.discard((topic, partition))
        fault = self._faults.pop((topic, partition), None)
        if fault is not None:
            log.info(
                "partition is read again", topic=topic, partition=partition, offset=fault.offset
            )
        return fault is not None

    def answered(self, topic: str, partition: int) -> None:
        """The broker has nothing yet at the partition's offset: one that was tried again is read.

        Nothing may come for hours, and a fault that lasted for a moment would last as long.
        """
        if (topic, partition) in self._trying:
            self.clear(topic, partition)

    def split(self, tps: Iterable[TopicPartition]) -> tuple[set[TopicPartition], dict[Any, int]]:
        """Those to be read now, and of these the ones to be tried again, with their offsets.

        One that is tried again is told once: the caller seeks to the offset and resumes it.
        """
        now_s = self._clock.monotonic()
        readable, again = set(), {}
        for tp in tps:
            fault = self._faults.get((tp.topic, tp.partition))
            if fault is not None and now_s < fault.retry_at_s:
                continue
            readable.add(tp)
            if fault is not None and (tp.topic, tp.partition) not in self._trying:
                self._trying.add((tp.topic, tp.partition))
                again[tp] = fault.offset
        return readable, again


def stand_still(consumer: Any, tp: tuple[str, int], offset: int) -> None:
    """Read nothing of a partition: else its batch would be asked for again and again."""
    at = TopicPartition(*tp)
    consumer.seek(at, offset)
    consumer.pause(at)


def go_on(consumer: Any, tp: tuple[str, int], offset: int) -> None:
    """Read a partition from here on."""
    at = TopicPartition(*tp)
    consumer.seek(at, offset)
    consumer.resume(at)


async def drain(
    fetcher: Any,
    tps: Collection[TopicPartition],
    wait_s: float,
    max_records: int | None,
    native: Native | None = None,
) -> tuple[dict[TopicPartition, Sequence[Any]], dict[TopicPartition, Exception]]:
    """What an aiokafka fetcher holds of these partitions, each by itself; waits if it is nothing.

    Returns records, as columns where `native` takes them, and the errors of partitions that could
    not be read. The position of such a partition is undefined: the caller seeks to where it was.
    Of a partition with no record in what was fetched there are none: markers and aborted records
    move its position, too.

    Raises:
        KafkaError: of the reader's group, not of a partition.
    """
    # An error of the group would else be taken for the first partition's.
    if fetcher._subscriptions.reassignment_in_progress:  # noqa: SLF001 - nothing public drains one partition
        await fetcher._subscriptions.wait_for_assignment()  # noqa: SLF001 - as above
    found, errors = await _take(fetcher, tps, max_records, native)
    if found or errors or wait_s <= 0:
        return found, errors
    waiter = fetcher._create_fetch_waiter()  # noqa: SLF001 - as above
    await asyncio.wait([waiter], timeout=wait_s)
    if not waiter.done():
        waiter.cancel()
        return {}, {}
    waiter.result()  # the group's errors
    return await _take(fetcher, tps, max_records, native)


async def _take(
    fetcher: Any,
    tps: Collection[TopicPartition],
    max_records: int | None,
    native: Native | None,
) -> tuple[dict[TopicPartition, Sequence[Any]], dict[TopicPartition, Exception]]:
    found: dict[TopicPartition, Sequence[Any]] = {}
    errors: dict[TopicPartition, Exception] = {}
    left = max_records
    for tp in list(fetcher._records):  # noqa: SLF001 - as above
        held = fetcher._records.get(tp)  # noqa: SLF001 - a rebalance drops it while another is taken
        if held is None or tp not in tps or left == 0:
            continue
        before = _position(held, tp)
        try:
            given = _columns_given(held, native, left)
            asked = {Given.RECORDS: left, Given.COLUMNS: 1, Given.LAST_COLUMNS: None}[given]
            records = (await fetcher.fetched_records([tp], timeout=0, max_records=asked)).get(tp)
        except NoOffsetForPartitionError:
            continue  # between an assignment and its first seek, which answers it
        except Exception as error:  # noqa: BLE001 - a broken batch raises whatever its bytes make it
            fetcher._records.pop(tp, None)  # noqa: SLF001 - as above
            errors[tp] = error
            continue
        if records:
            found[tp] = records = records if given is Given.RECORDS else records[0]
            left = None if left is None else left - len(records)
        elif _position(held, tp) not in (None, before):
            found[tp] = ()
    return found, errors


def _position(held: Any, tp: TopicPartition) -> int | None:
    """Where the consumer stands in a partition; None: what it holds is of no use any more."""
    assignment = getattr(held, "_assignment", None)
    if assignment is None or not assignment.active:
        return None
    state = assignment.state_value(tp)
    is_valid = state is not None and state.has_valid_position
    position: int | None = state.position if is_valid else None
    return position


def _columns_given(held: Any, native: Native | None, at_most: int | None) -> Given:
    """What a partition's result gives next: columns where they are wanted and can be had."""
    records = getattr(held, "_partition_records", None)
    if native is None or at_most is None or not isinstance(records, AnyKeyRecords):
        return Given.RECORDS
    return records.as_columns(native, at_most)


#: Answers to a fetch that aiokafka logs without the partition, and asks again at once for ever.
#: (It raises or cures the others.)
_UNNAMED: Mapping[int, str] = {
    -1: "UNKNOWN_SERVER_ERROR",
    2: "CORRUPT_MESSAGE",
    56: "KAFKA_STORAGE_ERROR",
    76: "UNSUPPORTED_COMPRESSION_TYPE",
}
_FETCH = 1  # the API's key


class FetchAnswers:
    """Names the partitions of which the broker itself cannot read a batch, or has nothing yet.

    Args:
        client: aiokafka's, of one consumer. Its answers to fetches are looked at.
    """

    def __init__(self, client: Any) -> None:
        self._errors: dict[TopicPartition, KafkaError] = {}
        self._empty: set[TopicPartition] = set()
        self._send = client.send
        client.send = self._looking

    async def _looking(self, *arguments: Any, **options: Any) -> Any:
        answer = await self._send(*arguments, **options)
        if getattr(answer, "API_KEY", None) == _FETCH:
            asked = _asked(arguments[1])
            for topic, partitions in answer.topics:
                for partition, code, high_watermark, *more, batches in partitions:
                    tp = TopicPartition(topic, partition)
                    # To a committed reader the broker gives what is below the last stable offset.
                    stable = more[0] if more and more[0] >= 0 else high_watermark
                    if code in _UNNAMED:
                        self._errors[tp] = KafkaError(f"the broker answers {_UNNAMED[code]}")
                    elif code == 0 and not batches and asked.get(tp, -1) >= stable:
                        self._empty.add(tp)
        return answer

    def take(self) -> dict[TopicPartition, Exception]:
        """What has been found since the last call."""
        errors, self._errors = self._errors, {}
        return dict(errors)

    def take_empty(self) -> set[TopicPartition]:
        """Partitions that were read to their ends since the last call.

        One whose records had no more room in an answer came without any, and is none of them.
        """
        empty, self._empty = self._empty, set()
        return empty


def _asked(request: Any) -> dict[TopicPartition, int]:
    """The offsets that a fetch asks for."""
    return {
        TopicPartition(topic, partition): offset
        for topic, partitions in request.topics
        for partition, offset, *_ in partitions
    }
