"""What the records of a log say, in their headers, of the checkpoint that wrote them."""

from collections.abc import Iterable, Iterator

from k2_streams.kafka.log_reader import Record
from k2_streams.runtime.task.epoch import HEADER_DEFERRED_FROM, HEADER_RAW_NEXT


def numbers(records: Iterable[Record], header: str) -> Iterator[int]:
    """What the records say in this header, in their order."""
    return (int(v) for record in records for name, v in record.headers if name == header and v)


def newest(records: Iterable[Record], header: str) -> int | None:
    """The largest number in this header; it never goes back in a partition."""
    return max(numbers(records, header), default=None)


def last(records: Iterable[Record], header: str) -> int | None:
    """The last number in this header."""
    return next(numbers(reversed(list(records)), header), None)


def judged(records: Iterable[Record]) -> int | None:
    """The largest offset of the source below which all is judged: nothing there waits."""
    return max(
        (
            min((raw_next, *numbers([record], HEADER_DEFERRED_FROM)))
            for record in records
            for raw_next in numbers([record], HEADER_RAW_NEXT)
        ),
        default=None,
    )
