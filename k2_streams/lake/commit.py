"""The commits of pyiceberg, made a compare-and-set on the offset vector.

It stands on parts of pyiceberg 0.12.0 that are private: the version is pinned, and the tests beside
it are the contract. pyiceberg calls `_commit` for the first attempt and again for each retry after
a conflict, then on the refreshed table; the catalog accepts the result only if head, schema and
partition spec are still those that `_commit` saw (`AssertRefSnapshotId`, `AssertCurrentSchemaId`,
`AssertDefaultSpecId`). So checking the table and the vector of its head in `_commit` and nowhere
else makes check and append one step.
"""

from abc import abstractmethod
from typing import Any

from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.update import (
    AssertCurrentSchemaId,
    AssertDefaultSpecId,
    SetPropertiesUpdate,
    TableRequirement,
    TableUpdate,
    UpdatesAndRequirements,
)
from pyiceberg.table.update.snapshot import _MergeAppendFiles, _SnapshotProducer

from k2_streams.core.records.vector import Vector
from k2_streams.failpoints import failpoint
from k2_streams.lake.claim import Claim
from k2_streams.lake.compatibility import check_table
from k2_streams.lake.errors import SpecChangedError
from k2_streams.lake.history import EarlierMetadata
from k2_streams.lake.schema import TableDescription
from k2_streams.lake.vectors import head_vector, properties_of, summary_of


class CheapTransaction(Transaction):
    """A transaction that applies its updates to the metadata once, not at every look.

    pyiceberg copies the whole metadata, every snapshot in it, each of the sixteen times that an
    append asks for it: with 200 snapshots 0.2 s of CPU.
    """

    _seen: tuple[TableMetadata, tuple[TableUpdate, ...], TableMetadata] | None = None

    def _rebuild_snapshot_updates(self) -> None:
        """Build a retry. Of each kind the first requirement stays: those of before have to go."""
        self._requirements = tuple(
            one
            for one in self._requirements
            if not isinstance(one, AssertCurrentSchemaId | AssertDefaultSpecId)
        )
        super()._rebuild_snapshot_updates()

    @property
    def table_metadata(self) -> TableMetadata:
        """The table's metadata with what is staged so far. Not to be changed."""
        base, updates = self._table.metadata, self._updates
        if not updates:
            return base
        if self._seen is None or self._seen[0] is not base or self._seen[1] is not updates:
            self._seen = (base, updates, super().table_metadata)
        return self._seen[2]


class VectorCommit(_SnapshotProducer[Any]):
    """A snapshot that says which vector its rows are of, checked against the head it is built on.

    It deletes no file, ever. pyiceberg's own clean-up believes the catalog's word "conflict", and
    deletes the manifests of a commit that landed if that word was wrong. What a refused or repeated
    attempt leaves behind are orphan files, which maintenance removes after a day.

    Args:
        operation: of pyiceberg's counting.
        transaction: of this snapshot alone.
        io: of the table.
        commit_id: names the commit and no other.
        described: the table as K2 writes it.
        earlier: metadata of the table.
    """

    def __init__(
        self,
        *,
        operation: Operation,
        transaction: Transaction,
        io: FileIO,
        commit_id: str,
        described: TableDescription,
        earlier: EarlierMetadata,
    ) -> None:
        super().__init__(operation=operation, transaction=transaction, io=io)
        self._commit_id = commit_id
        self._described = described
        self._earlier = earlier
        self.attempts = 0

    @abstractmethod
    def _vector_after(self, head: Vector) -> Vector:
        """The vector of the snapshot on top of this one. Raises what refuses the commit."""

    def _commit(self) -> UpdatesAndRequirements:
        # 1. Refuse a table that other engines changed so that our files would be wrong in it. The
        #    manifest names one spec for all of its files: they must have been written for it.
        self.attempts += 1
        table = self._transaction._table  # noqa: SLF001 - see the module
        check_table(self._described, table.metadata)
        self._check_spec(table.metadata.default_spec_id)
        # 2. The vector of the head that this attempt is built on, read from the table as loaded:
        #    the transaction's view already holds what an earlier attempt staged.
        log = self._described.stream.log
        head = head_vector(table.metadata, self._earlier.of(table), log=log)
        # 3. Refuse here what does not fit this head.
        after = self._vector_after(head)
        self.snapshot_properties = summary_of(self._commit_id, table.metadata, head, after)
        # 4. Build the snapshot on this head. Its requirements are that head, schema and spec are
        #    still these: a change of schema or spec alone leaves the head as it is.
        updates, requirements = super()._commit()
        requirements = (*requirements, *_unchanged(table.metadata))
        failpoint("lake.manifests-written")
        # 5. The mirror in the table's properties moves in the same commit, or not at all, and names
        #    this snapshot: of any other it says nothing. A retry stages it once more, behind the
        #    first: the last one counts.
        number = table.metadata.next_sequence_number()
        mirror = properties_of(self.snapshot_id, number, after)
        return (*updates, SetPropertiesUpdate(updates=mirror)), requirements

    def _check_spec(self, spec_id: int) -> None:
        written = {file.spec_id for file in self._added_data_files}
        if written - {spec_id}:
            raise SpecChangedError(
                f"commit {self._commit_id}: expected files of partition spec {spec_id}, "
                f"found {sorted(written)}; they are written again"
            )

    def _cleanup_uncommitted(self) -> None:
        """Keep the files of earlier attempts: see the class."""

    def _clean_all_uncommitted(self) -> None:
        """Keep the files of a commit that has failed, as far as is known: see the class."""


class VectorAppend(VectorCommit, _MergeAppendFiles):
    """An append that lands only where the table ends where the claim starts."""

    def __init__(
        self,
        transaction: Transaction,
        io: FileIO,
        claim: Claim,
        described: TableDescription,
        earlier: EarlierMetadata,
    ) -> None:
        """Of this claim, in a transaction of its own."""
        super().__init__(
            operation=Operation.APPEND,
            transaction=transaction,
            io=io,
            commit_id=claim.commit_id,
            described=described,
            earlier=earlier,
        )
        self._claim = claim

    def _vector_after(self, head: Vector) -> Vector:
        # The entries of all other partitions are taken from this head: with those of an earlier
        # one, two writers of disjoint partitions would set each other back and rows would double.
        return self._claim.rebase(head)


def _unchanged(metadata: TableMetadata) -> tuple[TableRequirement, ...]:
    schema_id, spec_id = metadata.current_schema_id, metadata.default_spec_id
    return (
        AssertCurrentSchemaId.model_validate({"current-schema-id": schema_id}),
        AssertDefaultSpecId.model_validate({"default-spec-id": spec_id}),
    )


def attempt(
    table: Table,
    files: list[DataFile],
    claim: Claim,
    described: TableDescription,
    earlier: EarlierMetadata,
) -> int:
    """One transaction: append `files` if the claim holds, with pyiceberg's retries on conflict.

    Returns:
        How often it was built, retries included.

    Raises:
        VectorMovedError, LakeConfigError, SpecChangedError: the claim, the table or the files do
            not fit the head then current.
        Exception: anything else says nothing certain about whether it landed.
    """
    transaction = CheapTransaction(table)
    append = VectorAppend(transaction, table.io, claim, described, earlier)
    for file in files:
        append.append_data_file(file)
    return commit(transaction, append)


def commit(transaction: CheapTransaction, snapshot: VectorCommit) -> int:
    """Send what was built to the catalog; the same as `attempt` of any snapshot."""
    snapshot.commit()
    failpoint("lake.committing")
    transaction.commit_transaction()
    failpoint("lake.committed")
    return snapshot.attempts
