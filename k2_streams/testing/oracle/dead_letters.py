"""Dead letters, decoded, filtered and in order: what `k2 dead-letters list` shows."""

import base64
import heapq
from collections import Counter
from collections.abc import AsyncIterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import Record
from k2_streams.testing.oracle.topic_records import read_topic

#: Letters that are shown, and kept while a topic is read. A letter is up to 256 KiB, mostly below
#: one: some 10 MB.
MAX_SHOWN = 10_000
#: Why a record is a dead letter whose number is known, but was received before, or may have been.
OF_A_VERDICT = frozenset({"stale", "conflicting-duplicate"})
_PREFIX = "k2."

Header = tuple[str, bytes | None]


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A record that could not be processed.

    Of each name with and without `_base64` one has the bytes: text where they are UTF-8. Both are
    null where the record had none.
    """

    reason: str
    field: str | None  # that is wrong, where it is one
    detail: str
    feed: str | None  # None: the canonical one
    topic: str
    partition: int | None  # of the record that could not be processed, as its offset
    offset: int | None
    append_time: str | None  # the broker's, of that record
    scope: str | None  # what its number counts in, where scope and number could be read
    session: str | None
    sequence: int | None
    redrive: str | None  # that had sent the record, if it was a dead letter before
    key: str | None
    key_base64: str | None
    value: str | None
    value_base64: str | None
    headers: list[dict[str, str | None]]  # the record's own
    letter_partition: int  # where the dead letter itself is
    letter_offset: int

    @property
    def time_ms(self) -> int:
        """Of its append; 0 where it is not known."""
        try:
            return int(datetime.fromisoformat(self.append_time or "").timestamp() * 1000)
        except (ValueError, OverflowError, OSError):  # no time, or one before every clock
            return 0

    @property
    def order(self) -> tuple[int, int, int]:
        """Oldest first, and the same whenever it is read."""
        return self.time_ms, self.letter_partition, self.letter_offset


def letter_of(partition: int, record: Record) -> Letter:
    """A dead letter from its record; whatever bytes it has, it is read."""
    headers: Sequence[Header] = record.headers
    last = dict(headers)  # of a name that occurs twice the last one counts
    fields = {
        name.removeprefix(_PREFIX): (value or b"").decode(errors="replace")
        for name, value in last.items()
        if name.startswith(_PREFIX)
    }
    absent = fields.get("null", "").split(",")
    key, key_base64 = _text(None if "key" in absent else record.key)
    value, value_base64 = _text(None if "value" in absent else record.value)
    feed = last.get("feed")
    return Letter(
        reason=fields.get("reason", ""),
        field=fields.get("field") or None,
        detail=fields.get("detail", ""),
        feed=None if feed is None else feed.decode(errors="replace"),
        topic=fields.get("topic", ""),
        partition=_number(fields.get("partition")),
        offset=_number(fields.get("offset")),
        append_time=fields.get("append-time") or None,
        scope=fields.get("scope"),
        session=fields.get("session"),
        sequence=_number(fields.get("sequence")),
        redrive=fields.get("redrive"),
        key=key,
        key_base64=key_base64,
        value=value,
        value_base64=value_base64,
        headers=[_header(*one) for one in headers if not one[0].startswith(_PREFIX)],
        letter_partition=partition,
        letter_offset=record.offset,
    )


def _header(name: str, value: bytes | None) -> dict[str, str | None]:
    text, in_base64 = _text(value)
    return {"name": name, "value": text} | ({"value_base64": in_base64} if in_base64 else {})


def _text(value: bytes | None) -> tuple[str | None, str | None]:
    """Bytes as text, else as base64."""
    if value is None:
        return None, None
    try:
        return value.decode(), None
    except UnicodeDecodeError:
        return None, base64.b64encode(value).decode()


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which letters; an empty field is any. Offsets and times: both bounds included."""

    reasons: frozenset[str] = frozenset()
    feeds: frozenset[str] = frozenset()
    keys: tuple[str, ...] = ()  # whole, or the beginning with a `*` behind it
    partition: int | None = None
    first_offset: int | None = None
    last_offset: int | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    @classmethod
    def of_options(cls, options: Mapping[str, Any]) -> "LetterFilter":
        """What the options of a command ask for; those that it does not have ask for any."""
        since_ns, until_ns = options["since"], options["until"]
        first, last = options.get("offsets", (None, None))
        return cls(
            reasons=frozenset(options["reasons"]),
            feeds=frozenset(options["feeds"]),
            keys=options["keys"],
            partition=options.get("partition"),
            first_offset=first,
            last_offset=last,
            since_ms=None if since_ns is None else since_ns // 1_000_000,
            until_ms=None if until_ns is None else until_ns // 1_000_000,
        )

    def matches(self, letter: Letter) -> bool:
        """Whether it is one of them."""
        if self.reasons and letter.reason not in self.reasons:
            return False
        if self.feeds and (letter.feed or "canonical") not in self.feeds:
            return False
        if self.keys and not any(_fits(letter.key, pattern) for pattern in self.keys):
            return False
        if self.partition is not None and letter.partition != self.partition:
            return False
        return _within(letter.offset, self.first_offset, self.last_offset) and _within(
            letter.time_ms or None, self.since_ms, self.until_ms
        )


def _fits(key: str | None, pattern: str) -> bool:
    if pattern.endswith("*"):
        return key is not None and key.startswith(pattern[:-1])
    return key == pattern


def _within(number: int | None, first: int | None, last: int | None) -> bool:
    if number is None:
        return first is None and last is None
    return (first is None or number >= first) and (last is None or number <= last)


@dataclass(slots=True)
class LetterSelection:
    """The oldest or the newest letters that match, at most `limit` of them."""

    wanted: LetterFilter
    limit: int
    newest: bool = False
    read: int = 0
    matched: int = 0
    reasons: Counter[str] = field(default_factory=Counter)  # of all that were read
    _kept: list[tuple[tuple[int, ...], Letter]] = field(default_factory=list)

    def add(self, letter: Letter) -> None:
        """Look at one more letter, in any order."""
        self.read += 1
        self.reasons[letter.reason] += 1
        if not self.wanted.matches(letter):
            return
        self.matched += 1
        # A heap drops its smallest: the oldest of the newest, or the newest of the oldest.
        order = letter.order if self.newest else tuple(-part for part in letter.order)
        keep = heapq.heappush if len(self._kept) < self.limit else heapq.heappushpop
        keep(self._kept, (order, letter))

    def letters(self) -> list[Letter]:
        """Those kept, in the order asked for."""
        return [letter for _, letter in sorted(self._kept, key=lambda one: one[0], reverse=True)]

    def summary(self) -> str:
        """How many there were, and what else there is."""
        if self.matched > self.limit:
            return f"{self.limit:,} of {self.matched:,} that match: --limit shows more"
        if self.matched or not self.read:
            return f"{self.matched:,} dead letters"
        found = ", ".join(f"{reason} ({count:,})" for reason, count in self.reasons.most_common())
        return f"no dead letter matches; of {self.read:,} the reasons are {found}"


async def select_letters(kafka: KafkaConfig, topic: str, selection: LetterSelection) -> None:
    """Offer each committed dead letter of a topic to a selection.

    Raises:
        NotReachedError: there is no such topic.
    """
    async for partition, records in read_topic(kafka, topic):
        for record in records:
            selection.add(letter_of(partition, record))


class DeadNumber(NamedTuple):
    """What a dead letter says of its record."""

    scope: str
    session: str
    sequence: int


#: Of a partition: by raw offset the number of each record that died; None: it could not be read.
DeadNumbers = Mapping[int, DeadNumber | None]


async def dead_numbers(
    letters: AsyncIterable[tuple[int, Sequence[Record]]], topic: str
) -> dict[int, DeadNumbers]:
    """By raw partition the records that died, but for those whose number was refused.

    A record whose number is stale or used twice dies of its verdict, which the state decides.

    Args:
        letters: of the topic of dead letters, by partition.
        topic: the raw one.
    """
    found: dict[int, dict[int, DeadNumber | None]] = {}
    async for number, records in letters:
        for letter in (letter_of(number, record) for record in records):
            if letter.topic != topic or letter.reason in OF_A_VERDICT:
                continue
            if letter.partition is not None and letter.offset is not None:
                dead = None
                if letter.sequence is not None:
                    dead = DeadNumber(letter.scope or "", letter.session or "", letter.sequence)
                found.setdefault(letter.partition, {})[letter.offset] = dead
    return dict(found)
