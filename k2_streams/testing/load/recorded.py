"""Recorded messages as a stream, with faults made by editing: drops, repeats, swaps, late fills."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from k2_streams.testing.load.messages import Headers, Record
from k2_streams.testing.load.recorded_messages import MESSAGES
from k2_streams.testing.load.recorded_trades import READERS, Reader, RecordedError, RecordedTrade
from k2_streams.testing.load.synthetic import DUPLICATE_AFTER, GAP_NUMBERS, LATE_AFTER
from k2_streams.testing.oracle.model import Expected
from k2_streams.testing.oracle.model_messages import ExpectedMessages, MessageContent, Traded
from k2_streams.testing.streams import SCALE

#: Records per chunk.
CHUNK = 8_192
#: What bytes that are not the feed's make a reader raise.
_UNREADABLE = (
    ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError,
)  # fmt: skip


class Item(NamedTuple):
    """A record and its content; `trade` is None where it carries none."""

    key: bytes
    value: bytes
    trade: RecordedTrade | None
    line: str | None = None  # of the redundant lines of a feed
    content: MessageContent | None = None  # where the model is one of messages


@dataclass(frozen=True, slots=True)
class Edits:
    """Rates of the faults, as shares of the trades."""

    seed: int
    gaps: float = 0.0
    duplicates: float = 0.0
    disorder: float = 0.0
    late: float = 0.0


class FeedReading(NamedTuple):
    """How the records of a feed are read for a truth: one of two ways."""

    rows_by: str  # what identifies a row
    read: Reader | None  # each row is a message with a number of its own: faults can be made
    message: Callable[[str, bytes], MessageContent] | None = None  # else


def reading_of(stream: str, feed: str) -> FeedReading:
    """How the records of a feed of K2's own are read."""
    read = READERS[stream].get(feed)
    return (
        FeedReading("sequence", read)
        if read
        else FeedReading(MESSAGES[feed][0], None, MESSAGES[feed][1])
    )


def model_of(reading: FeedReading, *, lined: bool) -> ExpectedMessages | None:
    """The model of a feed whose rows have no sequence numbers or come by lines; else None."""
    if reading.read is not None and not lined:
        return None
    return ExpectedMessages(reading.rows_by, lined=lined)


def messages(
    reading: FeedReading, feed: str, records: Iterable[tuple[bytes, bytes, str | None]]
) -> Iterator[Item]:
    """Keys, values and lines, with the content of a feed's messages.

    Raises:
        RecordedError: a record is not of the feed.
    """
    for number, (key, value, line) in enumerate(records, 1):
        try:
            content = _message_of(reading, key.decode(), value)
        except _UNREADABLE as error:
            raise RecordedError(f"record {number} is not of {feed}: {error!r}") from error
        yield Item(key, value, None, line, content)


def _message_of(reading: FeedReading, key: str, value: bytes) -> MessageContent:
    """A message's content; a trade with a number of its own is a message of one."""
    if reading.message is not None:
        return reading.message(key, value)
    trade = reading.read(key, value) if reading.read else None
    if trade is None:
        return MessageContent(key, "0", None)
    traded = Traded(trade.scope, None, trade.value)
    return MessageContent(
        trade.scope, trade.session, trade.number, (traded,) if trade.is_row else ()
    )


def items(
    read: Reader,
    feed: str,
    records: Iterable[tuple[bytes, bytes] | tuple[bytes, bytes, str | None]],
) -> Iterator[Item]:
    """Keys, values and lines, with the trades that the records of a feed carry.

    Raises:
        RecordedError: a record is not of the feed.
    """
    for number, (key, value, *line) in enumerate(records, 1):
        try:
            yield Item(key, value, read(key.decode(), value), line[0] if line else None)
        except _UNREADABLE as error:
            raise RecordedError(f"record {number} is not of {feed}: {error!r}") from error


@dataclass(slots=True)
class _Scope:
    session: str = ""
    made: int = 0
    dropping: int = 0
    held: list[tuple[int, Item]] = field(default_factory=list)  # due, in any order


def edited(stream: Iterable[Item], edits: Edits) -> Iterator[Item]:
    """The stream with faults; records without a trade stay where they are.

    What is held back of a session is sent before the first record of the scope's next one, or at
    the end.
    """
    rng = np.random.default_rng(edits.seed)
    scopes: dict[str, _Scope] = {}
    for item in stream:
        if item.trade is None:
            yield item
            continue
        scope = scopes.setdefault(item.trade.scope, _Scope())
        if scope.session != item.trade.session:
            yield from _released(scope, None)
            scope.session, scope.dropping = item.trade.session, 0
        yield from _edit(scope, item, edits, rng)
        yield from _released(scope, scope.made)
        scope.made += 1
    for scope in scopes.values():
        yield from _released(scope, None)


def _edit(scope: _Scope, item: Item, edits: Edits, rng: np.random.Generator) -> Iterator[Item]:
    """The item now, unless it is dropped or held back; repeats are held back too."""
    gap, again, order = rng.random(3).tolist()
    if not scope.dropping and gap < edits.gaps:
        scope.dropping = int(rng.integers(*GAP_NUMBERS, endpoint=True))
    if scope.dropping:
        scope.dropping -= 1
        return
    if order < edits.disorder:
        scope.held.append((scope.made + 1, item))
    elif order < edits.disorder + edits.late:
        after = int(rng.integers(*LATE_AFTER, endpoint=True))
        scope.held.append((scope.made + after, item))
    else:
        yield item
    if again < edits.duplicates:
        after = int(rng.integers(*DUPLICATE_AFTER, endpoint=True))
        scope.held.append((scope.made + after, item))


def _released(scope: _Scope, made: int | None) -> Iterator[Item]:
    """What has fallen due; all of it if `made` is None."""
    if not scope.held:
        return
    due = [one for one in scope.held if made is None or one[0] <= made]
    if due:
        scope.held = [one for one in scope.held if made is not None and one[0] > made]
        for _, item in sorted(due, key=lambda one: one[0]):
            yield item


class RecordedStream:
    """Recorded records, `repeat` times over."""

    scale = SCALE

    def __init__(
        self,
        feed: str,
        read: Callable[[], Iterable[Item]],
        partition_of: Callable[[bytes], int],
        repeat: int,
        model: ExpectedMessages | None = None,
    ) -> None:
        """Take a feed's name, a way to read the records from their beginning, and where they go.

        With a model the items are those of `messages`, and it is fed instead of the common one.
        """
        self.model = model
        self._read = read
        self._repeat = repeat
        self._partitions: dict[bytes, int] = {}
        self._partition_of = partition_of
        self.headers: Headers = [] if feed == "canonical" else [("feed", feed.encode())]
        self.total: int | None = None

    def partition(self, key: bytes) -> int:
        """Of a key."""
        found = self._partitions.get(key)
        if found is None:
            found = self._partitions[key] = self._partition_of(key)
        return found

    def chunks(self) -> Iterator["RecordedChunk"]:
        """All of it, once."""
        for _ in range(self._repeat):
            chunk: list[Item] = []
            for item in self._read():
                chunk.append(item)
                if len(chunk) == CHUNK:
                    yield RecordedChunk(self, chunk)
                    chunk = []
            if chunk:
                yield RecordedChunk(self, chunk)


class RecordedChunk:
    """A chunk of recorded records."""

    def __init__(self, stream: RecordedStream, chunk: list[Item]) -> None:
        self._stream = stream
        self._items = chunk

    def __len__(self) -> int:
        """How many records."""
        return len(self._items)

    def records(self, start: int, end: int) -> Iterator[tuple[int, list[Record]]]:
        """Items [start, end) as records by partition."""
        headers, partition = self._stream.headers, self._stream.partition
        by_partition: dict[int, list[Record]] = {}
        for item in self._items[start:end]:
            lined = [*headers, ("line", item.line.encode())] if item.line else headers
            by_partition.setdefault(partition(item.key), []).append((item.key, item.value, lined))
        yield from by_partition.items()

    def tell(self, expected: Expected, start: int, end: int) -> None:
        """Tell the model that items [start, end) were sent."""
        if self._stream.model is not None:
            for item in self._items[start:end]:
                if item.content is not None:
                    self._stream.model.take(item.content, item.line)
            return
        trades = [item.trade for item in self._items[start:end] if item.trade is not None]
        rows = np.array([one.is_row for one in trades], np.bool_)
        accepted = expected.feed(
            np.array([expected.group(one.scope, one.session) for one in trades], np.int64),
            np.array([one.number for one in trades], np.int64),
            rows,
            np.array([one.value for one in trades], object),
            np.array([one.time_ns for one in trades], np.int64),
        )
        # A repeated number is a duplicate, whether it is a trade's or not.
        expected.controls += end - start - len(trades) + int(np.count_nonzero(accepted & ~rows))
        for scope, session in {(one.scope, one.session) for one in trades if not one.is_named}:
            if expected.has_conflicts(expected.group(scope, session)):
                raise RecordedError(
                    f"{scope} uses a number for two messages and names no session, so K2 begins "
                    "one there: give its records a `session` to get a truth"
                )
