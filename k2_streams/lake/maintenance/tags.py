"""Tags: names of snapshots that stay, with every file that they reach; and holds on them.

A hold is a property of the table that names the tag's snapshot. K2 then neither deletes the tag nor
lets the snapshot expire, even where another engine has dropped the tag.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.update import (
    AssertRefSnapshotId,
    RemovePropertiesUpdate,
    RemoveSnapshotRefUpdate,
    SetPropertiesUpdate,
    SetSnapshotRefUpdate,
    TableRequirement,
    TableUpdate,
)

from k2_streams.lake.catalog import lake_calls
from k2_streams.lake.errors import LakeError, LakeUnavailableError
from k2_streams.lake.table import Lake
from k2_streams.lake.vectors import snapshot_vector, total_rows

log = structlog.get_logger(__name__)

#: Property of a held tag: this and its name. The value is the snapshot's id.
HOLD = "k2.hold."
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
#: Against sinks that commit in between.
TAG_TRIES = 5


class TagError(LakeError):
    """A tag that cannot be created, changed or deleted; the text says why, and what to do."""


class NothingTaggedError(TagError):
    """The table has no snapshot that a tag could name, no such tag, or no such hold."""


@dataclass(frozen=True, slots=True)
class Tag:
    """A name of a snapshot."""

    name: str
    snapshot_id: int
    timestamp_ms: int  # of the snapshot
    rows: int
    retain_ms: int | None  # from the snapshot's time on; None: for ever
    is_held: bool

    def is_over(self, now_ms: int) -> bool:
        """Whether it need not be kept any longer."""
        retain_ms = self.retain_ms
        return not self.is_held and retain_ms is not None and now_ms - self.timestamp_ms > retain_ms


def tags_of(metadata: TableMetadata) -> list[Tag]:
    """The tags of a table, by name."""
    found = []
    for name, ref in sorted(metadata.refs.items()):
        snapshot = metadata.snapshot_by_id(ref.snapshot_id)
        if ref.snapshot_ref_type is SnapshotRefType.TAG and snapshot is not None:
            found.append(
                Tag(
                    name,
                    ref.snapshot_id,
                    snapshot.timestamp_ms,
                    total_rows(snapshot) or 0,
                    ref.max_ref_age_ms,
                    HOLD + name in metadata.properties,
                )
            )
    return found


def held_snapshots(metadata: TableMetadata) -> set[int]:
    """The snapshots that a hold keeps, whether or not their tags are still there."""
    return {
        int(value)
        for name, value in metadata.properties.items()
        if name.startswith(HOLD) and value.isdecimal()
    }


def list_tags(lake: Lake) -> list[Tag]:
    """The tags of a table as the catalog has it now.

    Raises:
        LakeUnavailableError: the catalog does not answer.
    """
    return tags_of(lake.load().metadata)


def create_tag(
    lake: Lake, name: str, *, retain_s: float | None = None, is_held: bool = False
) -> Tag:
    """Name the newest snapshot.

    Args:
        lake: of the table.
        name: letters, digits, `.`, `_` and `-`.
        retain_s: how long it is kept, from the snapshot's time on; None: until it is deleted.
        is_held: it cannot be deleted until it is released.

    Raises:
        NothingTaggedError: nothing was ever committed.
        TagError: the name is taken or is none, or the snapshot cannot be asked for by it.
        LakeUnavailableError: the catalog does not answer, or others commit all the time.
        LakeConfigError: the table does not say what it holds of the log.
    """
    if not _NAME.fullmatch(name):
        raise TagError(f"tag {name!r}: expected 1 to 100 of A-Z a-z 0-9 . _ -")
    retain_ms = None if retain_s is None else int(retain_s * 1_000)

    def change(table: Table) -> _Change:
        metadata = table.metadata
        lake.head_of(table)
        head = metadata.current_snapshot()
        if head is None:
            raise NothingTaggedError(f"{lake.stream.log}: expected a commit to tag, found none")
        if name in metadata.refs:
            raise TagError(f"{lake.stream.log}: there is a tag or branch {name} already")
        if snapshot_vector(head) is None:
            raise TagError(
                f"{lake.stream.log}: snapshot {head.snapshot_id} was made by another engine, and "
                "does not say what it holds of the log: try again after the next commit of K2"
            )
        return _Change(
            (
                SetSnapshotRefUpdate.model_validate(
                    {
                        "ref-name": name,
                        "type": "tag",
                        "snapshot-id": head.snapshot_id,
                        "max-ref-age-ms": retain_ms,
                    }
                ),
                *_hold(name, head.snapshot_id, is_held=is_held),
            ),
            (AssertRefSnapshotId.model_validate({"ref": name, "snapshot-id": None}),),
        )

    created = _named(_commit(lake, change, f"create tag {name}"), name)
    assert created is not None  # noqa: S101 - it was just committed
    log.info("tag created", table=lake.stream.log, tag=name, snapshot=created.snapshot_id)
    return created


def delete_tag(lake: Lake, name: str) -> None:
    """Remove a tag; its snapshot expires with the next expiry.

    Raises:
        NothingTaggedError: there is none.
        TagError: it is held.
        LakeUnavailableError: as `create_tag`.
    """

    def change(table: Table) -> _Change:
        tag = _existing(lake, table, name)
        if tag.is_held:
            raise TagError(
                f"{lake.stream.log}: tag {name} is held and is not deleted: release it first "
                f"(k2 tag release {name})"
            )
        return _Change((RemoveSnapshotRefUpdate.model_validate({"ref-name": name}),), _same(tag))

    _commit(lake, change, f"delete tag {name}")
    log.info("tag deleted", table=lake.stream.log, tag=name)


def release_tag(lake: Lake, name: str) -> None:
    """End the hold on a tag, also where another engine has dropped the tag. The tag stays.

    Raises:
        NothingTaggedError: it is not held.
        LakeUnavailableError: as `create_tag`.
    """

    def change(table: Table) -> _Change:
        if HOLD + name not in table.metadata.properties:
            raise NothingTaggedError(f"{lake.stream.log}: tag {name} is not held")
        return _Change((RemovePropertiesUpdate(removals=[HOLD + name]),), ())

    _commit(lake, change, f"release tag {name}")
    log.info("tag released", table=lake.stream.log, tag=name)


@dataclass(frozen=True, slots=True)
class _Change:
    updates: tuple[TableUpdate, ...]
    requirements: tuple[TableRequirement, ...]


def _hold(name: str, snapshot_id: int, *, is_held: bool) -> tuple[TableUpdate, ...]:
    if not is_held:
        return ()
    return (SetPropertiesUpdate(updates={HOLD + name: str(snapshot_id)}),)


def _same(tag: Tag) -> tuple[TableRequirement, ...]:
    return (AssertRefSnapshotId.model_validate({"ref": tag.name, "snapshot-id": tag.snapshot_id}),)


def _named(metadata: TableMetadata, name: str) -> Tag | None:
    return next((tag for tag in tags_of(metadata) if tag.name == name), None)


def _existing(lake: Lake, table: Table, name: str) -> Tag:
    tag = _named(table.metadata, name)
    if tag is None:
        names = ", ".join(one.name for one in tags_of(table.metadata)) or "none"
        raise NothingTaggedError(
            f"{lake.stream.log}: expected one of its tags ({names}), found {name!r}"
        )
    return tag


def _commit(lake: Lake, change: Callable[[Table], _Change], doing: str) -> TableMetadata:
    """Commit what `change` makes of the table as it is; the table's metadata after it."""
    for _ in range(TAG_TRIES):
        table = lake.load()
        wanted = change(table)
        transaction = Transaction(table)
        try:
            with lake_calls(doing):
                transaction._apply(wanted.updates, wanted.requirements)  # noqa: SLF001 - a tag with a property, in one step
                transaction.commit_transaction()
        except LakeUnavailableError as error:
            if not isinstance(error.__cause__, CommitFailedException):
                raise
            continue
        return table.metadata
    raise LakeUnavailableError(f"{doing}: others were first {TAG_TRIES} times")
