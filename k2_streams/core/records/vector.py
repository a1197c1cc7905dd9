"""Offset vectors: what a snapshot of the lake contains of the log, exactly.

A vector names per topic its id and, per partition, the next offset that is *not* in the table. It
stands in the summary of every snapshot that K2 commits as `k2.offsets`. The table's property
`k2.offsets-of` holds the newest one together with the snapshot that it speaks of, for when that
snapshot has expired. A range is half-open, in positions of the consumer (a transaction's markers
take offsets too).
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

SUMMARY_OFFSETS = "k2.offsets"
SUMMARY_COMMIT_ID = "k2.commit-id"
#: The vector of the parent, where the parent's own summary says nothing of it.
SUMMARY_BEFORE = "k2.offsets-before"
#: A `VectorOf`. The property `k2.offsets` beside it is for people and for earlier versions, which
#: do not know which snapshot it speaks of; it is never read.
PROPERTY_OFFSETS_OF = "k2.offsets-of"
#: The logs that the table's rows come from and that were lost, oldest first (`k2 adopt`).
PROPERTY_ADOPTED = "k2.adopted"


class Range(msgspec.Struct, frozen=True, order=True):
    """Offsets `[start, end)` of one partition."""

    start: int
    end: int

    def __post_init__(self) -> None:
        """Refuse a range that goes back."""
        if not 0 <= self.start <= self.end:
            raise ValueError(f"not a range of offsets: [{self.start}, {self.end})")


class TopicOffsets(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of one topic: its id (a new topic has another), and the next offset per partition.

    `deferred`, where there are any: the raw records of it that were deferred then. `events`: of its
    last checkpoint below that offset, how many sequence events were published up to it.
    """

    id: str
    next: dict[int, int]
    deferred: dict[int, int] = {}
    events: dict[int, int] = {}


class Vector(msgspec.Struct, frozen=True):
    """The next offset not held, per topic and partition."""

    topics: dict[str, TopicOffsets] = {}

    def next_of(self, topic: str, partition: int) -> int | None:
        """The next offset not held, or None where the vector has no such partition."""
        offsets = self.topics.get(topic)
        return None if offsets is None else offsets.next.get(partition)

    def id_of(self, topic: str) -> str | None:
        """The id of the topic that the offsets count in."""
        offsets = self.topics.get(topic)
        return None if offsets is None else offsets.id

    def with_next(
        self,
        topic: str,
        topic_id: str,
        ends: Mapping[int, int],
        deferred: Mapping[int, int] = MappingProxyType({}),
        events: Mapping[int, int] = MappingProxyType({}),
    ) -> "Vector":
        """This vector with these partitions' entries replaced and all others kept.

        What `deferred` and `events` do not name of them keeps its number.

        Raises:
            ValueError: an entry would go back, or the topic's id differs.
        """
        found = self.topics.get(topic, TopicOffsets(topic_id, {}))
        if found.id != topic_id:
            raise ValueError(f"{topic}: expected topic id {found.id}, found {topic_id}")
        for partition, end in ends.items():
            if end < found.next.get(partition, 0):
                raise ValueError(
                    f"{topic}-{partition}: the vector would go back "
                    f"from {found.next[partition]} to {end}"
                )
        merged = dict(sorted({**found.next, **ends}.items()))
        waits = {p: count for p, count in sorted({**found.deferred, **deferred}.items()) if count}
        told = dict(sorted({**found.events, **events}.items()))
        return Vector({**self.topics, topic: TopicOffsets(topic_id, merged, waits, told)})

    def adopted(self, topic: str, topic_id: str) -> "Vector":
        """This vector with the same offsets in a topic of another id, which begins at them.

        What was deferred is not: the records waited in a topic that is gone.
        """
        held = self.topics.get(topic, TopicOffsets(topic_id, {}))
        return Vector({**self.topics, topic: TopicOffsets(topic_id, held.next)})

    def encode(self) -> str:
        """JSON: `{"k2.trades": {"id": "...", "next": {"0": 17}}}`."""
        return msgspec.json.encode(dict(sorted(self.topics.items()))).decode()

    @classmethod
    def decode(cls, text: str) -> "Vector":
        """The inverse of `encode`.

        Raises:
            msgspec.DecodeError: the text is not a vector.
        """
        return cls(_TOPICS.decode(text))


class LostLog(msgspec.Struct, frozen=True):
    """A log that was lost with its broker: its id, and what of it had reached the table.

    The log that followed it begins at these offsets, so what was asked of it below them still is.
    """

    id: str
    next: dict[int, int]

    def holds(self, offsets: Mapping[int, int]) -> bool:
        """Whether every row below these offsets had reached the table."""
        return all(end <= self.next.get(partition, 0) for partition, end in offsets.items())


def decode_lost(text: str) -> tuple[LostLog, ...]:
    """The value of the property `k2.adopted`.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _LOST.decode(text)


class VectorOf(msgspec.Struct, frozen=True, rename="kebab"):
    """A vector and the one snapshot that it speaks of.

    It holds for that snapshot and for those that other engines made of it, and for no other: a
    table that was set back has another head than the property speaks of.
    """

    snapshot_id: int
    sequence_number: int
    offsets: dict[str, TopicOffsets]

    @property
    def vector(self) -> Vector:
        """What the snapshot holds."""
        return Vector(self.offsets)

    def encode(self) -> str:
        """JSON: `{"snapshot-id": 1, "sequence-number": 2, "offsets": {...}}`."""
        ordered = dict(sorted(self.offsets.items()))
        return msgspec.json.encode(msgspec.structs.replace(self, offsets=ordered)).decode()

    @classmethod
    def decode(cls, text: str) -> "VectorOf":
        """The inverse of `encode`.

        Raises:
            msgspec.DecodeError: the text is not a vector with its snapshot.
        """
        return _VECTOR_OF.decode(text)


_TOPICS = msgspec.json.Decoder(dict[str, TopicOffsets])
_LOST = msgspec.json.Decoder(tuple[LostLog, ...])
_VECTOR_OF = msgspec.json.Decoder(VectorOf)
