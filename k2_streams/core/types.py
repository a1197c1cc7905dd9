"""Types that every layer shares: a partition of a topic, and a record as its consumers read it."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class TopicPartition(NamedTuple):
    """One partition of one topic.

    Equal to any pair of the same two values, so those of Kafka's clients can be looked up by it.
    """

    topic: str
    partition: int

    def __str__(self) -> str:
        """As Kafka's tools write it."""
        return f"{self.topic}-{self.partition}"


class SourceRecord(Protocol):
    """A record of a source's partition. aiokafka's own is one, so that none is copied."""

    @property
    def offset(self) -> int:
        """Its position in the partition."""
        ...

    @property
    def timestamp(self) -> int:
        """Its append time in milliseconds: the broker's."""
        ...

    @property
    def key(self) -> bytes | None:
        """The key's bytes."""
        ...

    @property
    def value(self) -> bytes | None:
        """The value's bytes; None: a tombstone."""
        ...

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]:
        """In their order; a name may occur several times, a value may be null."""
        ...
