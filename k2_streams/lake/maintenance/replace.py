"""Some files replaced by another one with the same rows, as one snapshot of operation `replace`.

Streaming readers of other engines go on over a `replace`; at an `overwrite` they stop. pyiceberg
knows the word and cannot commit it, so its overwrite of an explicit list of files is used, and its
summary says what it is. Nothing is replaced by a predicate: that would take along what a sink has
appended meanwhile.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pyiceberg.exceptions import ValidationException
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, ManifestContent, ManifestEntry, ManifestFile
from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Operation, Snapshot, Summary
from pyiceberg.table.update.snapshot import _OverwriteFiles
from pyiceberg.typedef import EMPTY_DICT

from k2_streams.core.records.vector import SUMMARY_COMMIT_ID, Vector
from k2_streams.lake.commit import CheapTransaction, VectorCommit, commit
from k2_streams.lake.errors import InputsGoneError, NotProvenError, TableMismatchError
from k2_streams.lake.history import EarlierMetadata
from k2_streams.lake.schema import TableDescription
from k2_streams.lake.vectors import ancestry, summary_value


class VectorReplace(VectorCommit, _OverwriteFiles):
    """Replaces files that are live in the head by others; the vector stays the head's."""

    def __init__(
        self,
        transaction: Transaction,
        io: FileIO,
        commit_id: str,
        described: TableDescription,
        earlier: EarlierMetadata,
    ) -> None:
        """In a transaction of its own."""
        super().__init__(
            operation=Operation.OVERWRITE,  # what pyiceberg can count; see `_summary`
            transaction=transaction,
            io=io,
            commit_id=commit_id,
            described=described,
            earlier=earlier,
        )

    def _vector_after(self, head: Vector) -> Vector:
        # Of this attempt's head: a sink may have committed since the one before it.
        return head

    def _validate_concurrency(self) -> None:
        """Appends of others are no conflict; what is one, `_deleted_entries` finds."""

    def _deleted_entries(self) -> list[ManifestEntry]:
        """The entries of the inputs, all of which must be live in the head of this attempt."""
        self._check_rows()
        self._refuse_deletes()
        try:
            return super()._deleted_entries()
        except ValidationException as error:
            raise InputsGoneError(f"commit {self._commit_id}: {error}") from error

    def _existing_manifests(self) -> list[ManifestFile]:
        """Of the head's manifests those that still have files."""
        return [
            manifest
            for manifest in super()._existing_manifests()
            if manifest.has_added_files() or manifest.has_existing_files()
        ]

    def _check_rows(self) -> None:
        expected = sum(file.record_count for file in self._deleted_data_files)
        found = sum(file.record_count for file in self._added_data_files)
        if found != expected:
            raise NotProvenError(
                f"commit {self._commit_id}: expected {expected} rows in place of as many, "
                f"found {found}"
            )

    def _refuse_deletes(self) -> None:
        """Deletes of rows speak of files by their age: in a new file the rows would be back."""
        table = self._transaction._table  # noqa: SLF001 - see `lake.commit`
        head = table.metadata.current_snapshot()
        for manifest in head.manifests(self._io) if head is not None else ():
            if manifest.content == ManifestContent.DELETES:
                raise TableMismatchError(
                    f"{self._described.stream.log}: expected data files only, found deletes in "
                    f"{manifest.manifest_path}; nothing is compacted until they are applied"
                )

    def _summary(self, snapshot_properties: Mapping[str, str] = EMPTY_DICT) -> Summary:
        counted = super()._summary(dict(snapshot_properties))
        more: dict[str, Any] = dict(counted.additional_properties)
        return Summary(operation=Operation.REPLACE, **more)


def attempt_replace(
    table: Table,
    inputs: Sequence[DataFile],
    output: DataFile,
    commit_id: str,
    described: TableDescription,
    earlier: EarlierMetadata,
) -> int:
    """One transaction: replace `inputs` by `output`, with pyiceberg's retries on conflict.

    Returns:
        How often it was built, retries included.

    Raises:
        InputsGoneError: one of the inputs is not in the table any more.
        LakeConfigError, SpecChangedError: the table or the file does not fit the head then current.
        NotProvenError: the rows are not as many.
        Exception: anything else says nothing certain about whether it landed.
    """
    transaction = CheapTransaction(table)
    replacing = VectorReplace(transaction, table.io, commit_id, described, earlier)
    for file in inputs:
        replacing.delete_data_file(file)
    replacing.append_data_file(output)
    return commit(transaction, replacing)


def find_replacement(metadata: TableMetadata, commit_id: str) -> Snapshot | None:
    """The snapshot of a replacement, if it is part of the table's history."""
    return next(
        (one for one in ancestry(metadata) if summary_value(one, SUMMARY_COMMIT_ID) == commit_id),
        None,
    )
