"""What Kafka must permit: resources and operations, and what of it a broker says it does not.

A broker tells a client what it may do with a topic (KIP-430). For groups and transactional ids it
answers by refusing to name their coordinator. So all that is missing is known before anything runs.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class Resource(enum.Enum):
    """What an ACL is about, by the option of `kafka-acls`."""

    TOPIC = "topic"
    GROUP = "group"
    TRANSACTIONAL_ID = "transactional-id"


class Operation(enum.Enum):
    """What is permitted, by Kafka's codes (`AclOperation`)."""

    READ = 3
    WRITE = 4
    CREATE = 5
    DESCRIBE = 8
    DESCRIBE_CONFIGS = 10

    @property
    def word(self) -> str:
        """As `kafka-acls` takes it."""
        return "".join(part.capitalize() for part in self.name.split("_"))


@dataclass(frozen=True, slots=True)
class Acl:
    """Operations on a resource. READ and WRITE include DESCRIBE, as Kafka has it.

    Attributes:
        resource: of which kind.
        name: of the resource.
        operations: all of which are needed.
        is_prefix: it is about every resource whose name begins so.
    """

    resource: Resource
    name: str
    operations: tuple[Operation, ...]
    is_prefix: bool = False

    def command(self, principal: str) -> str:
        """The arguments of `kafka-acls` that permit it."""
        operations = " ".join(f"--operation {one.word}" for one in self.operations)
        pattern = " --resource-pattern-type prefixed" if self.is_prefix else ""
        return (
            f"--add --allow-principal {principal} {operations} "
            f"--{self.resource.value} {self.name}{pattern}"
        )


#: What a broker that does not know of permissions answers for the operations of a topic.
NOT_KNOWN = -(2**31)


def lacking(acl: Acl, bits: int) -> list[Operation]:
    """The operations that a broker's answer does not contain: a bit per operation, by its code."""
    if bits == NOT_KNOWN:
        return []
    return [one for one in acl.operations if not bits >> one.value & 1]


def refusal(missing: Mapping[Acl, Sequence[Operation]]) -> str:
    """What a worker says when it may not do what it needs."""
    named = "; ".join(
        f"{', '.join(one.word for one in operations)} on {acl.resource.value} {acl.name}"
        + ("*" if acl.is_prefix else "")
        for acl, operations in missing.items()
    )
    return f"Kafka does not permit {named}: grant it, `k2 app acls` lists all that is needed"
