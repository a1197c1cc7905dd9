"""Which files of a table may be deleted. Whatever a snapshot still reaches may not."""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import msgspec

#: Of a `DeletionRecord`.
VERSION = 1
#: Orphans of more than this share of the live bytes are a mistake more often than a truth: a table
#: that was registered twice, a location that is shared.
ORPHAN_SHARE_MAX = 0.1


class DeletionRecord(msgspec.Struct, frozen=True):
    """Files that no snapshot reaches once some have expired; deleted some time after that.

    It is written before the snapshots expire, so that a crash in between forgets no file.
    """

    version: int
    written_ms: int
    snapshot_ids: list[int]
    paths: list[str]

    def encode(self) -> bytes:
        """JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> "DeletionRecord":
        """The inverse of `encode`.

        Raises:
            ValueError: it is none, or of a later version.
        """
        found = _DECODER.decode(data)
        if found.version != VERSION:
            raise ValueError(
                f"expected a deletion record of version {VERSION}, found {found.version}"
            )
        return found

    def is_due(self, now_ms: int, delay_s: float) -> bool:
        """Whether its files may go now."""
        return now_ms - self.written_ms >= delay_s * 1_000


_DECODER = msgspec.json.Decoder(DeletionRecord)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as its store lists it."""

    path: str
    size_bytes: int
    modified_ms: int


def plain(path: str) -> str:
    """A path as it is compared.

    Engines spell one file in several ways: local ones without a scheme, as `file:/x` or as
    `file:///x`, those of S3 with `s3`, `s3a` or `s3n`.
    """
    scheme, colon, rest = path.partition(":")
    if not colon or "/" in scheme:
        return path
    if scheme == "file":
        return "/" + rest.lstrip("/")
    return f"{'s3' if scheme in ('s3a', 's3n') else scheme}:{rest}"


def is_below(path: str, folder: str) -> bool:
    """Whether a file lies in a folder, at whatever depth."""
    inside = plain(folder).rstrip("/") + "/"
    found = plain(path)
    return found.startswith(inside) and ".." not in found.split("/")


def deletable(
    paths: Iterable[str], reachable: AbstractSet[str], folders: Iterable[str]
) -> tuple[str, ...]:
    """Those of the paths that may be deleted: in the table's folders, and not reachable.

    Args:
        paths: no longer wanted.
        reachable: `plain` paths of what any snapshot of the table reaches now.
        folders: of the table.
    """
    within = tuple(folders)
    return tuple(
        path
        for path in paths
        if plain(path) not in reachable and any(is_below(path, folder) for folder in within)
    )


def orphans(
    listed: Iterable[StoredFile],
    reachable: AbstractSet[str],
    pending: AbstractSet[str],
    *,
    location: str,
    before_ms: int,
) -> tuple[StoredFile, ...]:
    """The files that nothing refers to and nobody is about to refer to, by path.

    Args:
        listed: what is in the table's location, listed before `reachable` was read.
        reachable: `plain` paths, of data, manifests and metadata.
        pending: `plain` paths that wait for their deletion.
        location: of the table.
        before_ms: younger files may belong to a commit under way.
    """
    known = reachable | pending
    found = (
        one
        for one in listed
        if one.modified_ms < before_ms
        and is_below(one.path, location)
        and plain(one.path) not in known
    )
    return tuple(sorted(found, key=lambda one: one.path))


def too_many(found: Iterable[StoredFile], live_bytes: Mapping[str, int]) -> str | None:
    """Why so many orphans are not deleted without being asked twice; None: they may be.

    Args:
        found: the orphans.
        live_bytes: size by path of what is reachable.
    """
    orphan_bytes = sum(one.size_bytes for one in found)
    most = sum(live_bytes.values()) * ORPHAN_SHARE_MAX
    if orphan_bytes <= most:
        return None
    return (
        f"orphans have {orphan_bytes} bytes, more than {ORPHAN_SHARE_MAX:.0%} of the "
        f"{sum(live_bytes.values())} bytes of the table: if that is right, force it"
    )
