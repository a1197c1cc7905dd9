"""How much of a disk the tail may take, and when the source has to wait for it.

While the lake is away the tail only grows. At `HOLD_AT` of its room the source is held, and what is
on its way still finds a place; at all of it the tail reads no further, whoever still writes.
"""

from dataclasses import dataclass

#: Shares of the room. Between the two nothing changes, so the source is not held and let go again
#: with every snapshot.
HOLD_AT = 0.8
RELEASE_BELOW = 0.6


@dataclass(frozen=True, slots=True)
class DiskBound:
    """What the tail may take: so many bytes, or else a share of the disk that it could have.

    A share is taken of what is free and what the tail has already: a disk that others fill leaves
    less of it.
    """

    size_bytes: int | None = None
    share: float = 0.5

    def limit_bytes(self, free_bytes: int, held_bytes: int) -> int:
        """With this much free now, and this much held by the tail."""
        shared = int(self.share * (free_bytes + held_bytes))
        return shared if self.size_bytes is None else self.size_bytes


def used_share(held_bytes: int, limit_bytes: int) -> float:
    """Of the room; a room of nothing is full."""
    return held_bytes / limit_bytes if limit_bytes > 0 else float("inf")


def holds_source(held: bool, used: float) -> bool:
    """Whether the source has to wait, at this share of the room and if it waited before."""
    return used >= HOLD_AT or (held and used >= RELEASE_BELOW)
