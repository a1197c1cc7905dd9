"""An assignor that a group uses only while all its members subscribe to the same topics.

A static member that restarts within its session gets the group's last assignment without a
rebalance, although it may subscribe to other topics than before: the broker compares the name of
the protocol that the group would choose now, and nothing else. So the name says which they are.
"""

from collections.abc import Iterable
from hashlib import sha256

from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor

#: Of the digest of all topics' names, in the name: enough for the few sets that a group ever has.
NAME_HEX_DIGITS = 16


def for_topics(
    assignor: type[AbstractPartitionAssignor], topics: Iterable[str]
) -> list[type[AbstractPartitionAssignor]]:
    """What a member offers its group: the assignor under a name of these topics, and by its own.

    The group chooses the first if all members subscribe to these topics, and the second while they
    do not, as when workers are restarted one after the other with another setting.
    """
    digest = sha256("\n".join(sorted(topics)).encode()).hexdigest()[:NAME_HEX_DIGITS]
    named = type(assignor.__name__, (assignor,), {"name": f"{assignor.name}-{digest}"})
    return [named, assignor]
