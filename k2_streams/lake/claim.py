"""What a batch claims of the table: that it ends exactly where the batch starts. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from k2_streams.core.records.vector import Range, Vector
from k2_streams.lake.errors import TopicChangedError, VectorMovedError


@dataclass(frozen=True, slots=True)
class Claim:
    """The rows of `ranges` of a topic, to be committed once under `commit_id`.

    A range is in positions of the consumer: half-open, transaction markers included. It may hold no
    row at all; the vector moves all the same. `deferred` is what waits at the end of each, as far
    as its records say so; `events` are those that were published up to it.
    """

    topic: str
    topic_id: str
    ranges: dict[int, Range]
    commit_id: str
    deferred: Mapping[int, int] = field(default_factory=dict)
    events: Mapping[int, int] = field(default_factory=dict)

    def rebase(self, head: Vector) -> Vector:
        """The vector after this batch on top of `head`: its own partitions replaced, others kept.

        A partition that the table has no offset of is taken from wherever the batch starts.

        Raises:
            TopicChangedError: `head` counts in another topic of the same name.
            VectorMovedError: `head` does not end where the batch starts.
        """
        topic_id = head.id_of(self.topic)
        if topic_id is not None and topic_id != self.topic_id:
            raise TopicChangedError(self.topic, expected=topic_id, found=self.topic_id)
        ends = {partition: head.next_of(self.topic, partition) for partition in self.ranges}
        moved = {
            partition: end
            for partition, end in ends.items()
            if end is not None and end != self.ranges[partition].start
        }
        if moved:
            raise VectorMovedError(self.topic, self.ranges, moved)
        held = {partition: range_.end for partition, range_ in self.ranges.items()}
        return head.with_next(self.topic, self.topic_id, held, self.deferred, self.events)

    def made(self, commit_id: str | None, vector: Vector | None) -> bool:
        """Whether the snapshot that says so is this batch's.

        The id alone is not believed: a snapshot that carries it and ends elsewhere is another's.
        """
        return (
            commit_id == self.commit_id
            and vector is not None
            and vector.id_of(self.topic) == self.topic_id
            and all(vector.next_of(self.topic, p) == held.end for p, held in self.ranges.items())
        )


def goes_back(before: Vector, after: Vector) -> str | None:
    """Where `after` is behind `before`, in words; None if it is nowhere.

    A topic with another id counts anew and is not compared.
    """
    for topic, held in before.topics.items():
        topic_id = after.id_of(topic)
        if topic_id is not None and topic_id != held.id:
            continue
        for partition, end in held.next.items():
            now = after.next_of(topic, partition)
            if now is None or now < end:
                return f"{topic}-{partition}: expected {end} or more, found {now}"
    return None
