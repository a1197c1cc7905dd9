"""The disk quota of a tail, and when the source has to wait for it.

While the lake is unavailable the tail only grows. At `PAUSE_AT` of its quota the source is paused,
and records that are already on their way still find space; at all of it the tail reads no further,
whoever still writes.
"""

from dataclasses import dataclass

#: Shares of the quota. Between the two nothing changes, so the source is not paused and resumed
#: with every snapshot.
PAUSE_AT = 0.8
RESUME_BELOW = 0.6


@dataclass(frozen=True, slots=True)
class DiskBound:
    """What tails may take: so many bytes, or else a share of the disk space that they could have.

    A share is taken of what is free and what the tail has already: a disk that others fill leaves
    less of it.
    """

    size_bytes: int | None = None
    share: float = 0.5

    def limit_bytes(self, free_bytes: int, used_bytes: int) -> int:
        """With this much free now, and this much used by the tail."""
        shared = int(self.share * (free_bytes + used_bytes))
        return shared if self.size_bytes is None else self.size_bytes

    def part(self, share: float) -> "DiskBound":
        """The quota of a tail that has this share of it."""
        size_bytes = None if self.size_bytes is None else int(self.size_bytes * share)
        return DiskBound(size_bytes, self.share * share)


def used_share(used_bytes: int, limit_bytes: int) -> float:
    """Of the quota; one of no bytes is full."""
    return used_bytes / limit_bytes if limit_bytes > 0 else float("inf")


def pauses_source(was_paused: bool, used: float) -> bool:
    """Whether the source has to wait, at this share of the quota and if it waited before."""
    return used >= PAUSE_AT or (was_paused and used >= RESUME_BELOW)
