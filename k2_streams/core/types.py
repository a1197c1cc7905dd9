"""What every part of the product names the same way."""

from typing import NamedTuple


class TopicPartition(NamedTuple):
    """One partition of one topic.

    Equal to any pair of the same two values, so those of Kafka's clients can be looked up by it.
    """

    topic: str
    partition: int
