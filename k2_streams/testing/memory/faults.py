"""What can go wrong in the world in memory: asked by its parts at each request, file and commit."""

import random
from enum import StrEnum
from typing import Protocol


class MemoryFault(StrEnum):
    """Kinds of fault that the parts of the world ask for."""

    LOST_REQUEST = "lost_request"  # it never arrives, and the client is told of a time-out
    LOST_ANSWER = "lost_answer"  # it arrives, and the client is told of an error
    LOST_BATCH = "lost_batch"  # a fetched batch does not reach its task
    CATALOG_REFUSED = "catalog_refused"  # an error, and nothing was committed
    CATALOG_LOST = "catalog_lost"  # an error, and it was committed
    CATALOG_LATE = "catalog_late"  # an error, and it is committed later
    CATALOG_AWAY = "catalog_away"  # a read fails
    STORE_FAILED = "store_failed"  # a file of the warehouse cannot be written or read


class Faults(Protocol):
    """Decides what goes wrong and how long things take."""

    @property
    def chance(self) -> random.Random:
        """Where the parts draw from what a fault looks like."""
        ...

    def happens(self, kind: MemoryFault) -> bool:
        """Whether a fault of this kind happens now."""
        ...

    def count(self, kind: str) -> None:
        """Note that something worth counting happened."""
        ...

    def one_way_s(self) -> float:
        """How long a request, or its answer, is on its way."""
        ...

    def delivery_s(self) -> float:
        """How long fetched records are on their way to their task."""
        ...


class NoFaults:
    """`Faults` of a world in which nothing goes wrong and no request takes time."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def happens(self, kind: MemoryFault) -> bool:  # noqa: ARG002 - of whatever kind
        """Never."""
        return False

    def count(self, kind: str) -> None:
        """Nothing is counted."""

    def one_way_s(self) -> float:
        """No time."""
        return 0.0

    def delivery_s(self) -> float:
        """No time."""
        return 0.0


def seeded(seed: int, part: str) -> random.Random:
    """Chance of its own for a part of a run: more of one part leaves the others as they were."""
    return random.Random(f"{seed}:{part}")  # noqa: S311 - a run is to be repeatable
