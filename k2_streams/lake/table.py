"""The lake: a stream's table, appended to exactly once, read by snapshot. All of it blocks."""

import threading
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

import numpy as np
import pyarrow as pa
import structlog
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    TableAlreadyExistsError,
)
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.snapshots import Snapshot

from k2_streams.clock import SYSTEM_CLOCK, Clock
from k2_streams.core.query.keys import Keys
from k2_streams.core.records.stream import Stream
from k2_streams.core.records.vector import Range
from k2_streams.failpoints import failpoint
from k2_streams.lake import commit, files
from k2_streams.lake.catalog import lake_calls, open_catalog
from k2_streams.lake.claim import Claim
from k2_streams.lake.compatibility import check_table, grows_as_expected
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.errors import (
    CommitUnknownError,
    InputsGoneError,
    LakeConfigError,
    LakeError,
    LakeUnavailableError,
    NotProvenError,
    SnapshotNotFoundError,
    SpecChangedError,
    VectorMovedError,
)
from k2_streams.lake.history import EarlierMetadata
from k2_streams.lake.plan import Filter, PlannedFile, Planner
from k2_streams.lake.schema import NAMESPACE, description_of
from k2_streams.lake.snapshots import Committed, Head, SnapshotInfo, head_of, info_of, main_history
from k2_streams.lake.store import DataFiles
from k2_streams.lake.vectors import find_commit

log = structlog.get_logger(__name__)

#: Transactions tried for one append, each with pyiceberg's four retries on conflict: enough for a
#: burst of other writers, few enough to tell the caller within seconds.
COMMIT_TRIES = 3
#: Reads of the table after an answer that says nothing certain, and the first pause between them
#: (doubled each time: 1.5 s in all). A sqlite lock adds its own 5 s each.
RELOAD_TRIES = 5
RELOAD_PAUSE_S = 0.1
#: A commit's files are not older than this when it is sent: less than the least age of an orphan
#: file. A process that stood still for longer (SIGSTOP, a machine that slept) would otherwise let
#: the table refer to files that are deleted by then.
COMMIT_WITHIN_S = 2_700.0
#: What an attempt raises that can never land.
_REFUSALS = (
    VectorMovedError, InputsGoneError, NotProvenError, LakeConfigError, SpecChangedError,
)  # fmt: skip

T = TypeVar("T")


class CloseEvent(Protocol):
    """`threading.Event`, as far as a lake uses it."""

    def set(self) -> None:
        """End the pauses that wait for it."""
        ...

    def wait(self, timeout: float) -> bool:
        """Pause; whether it is set."""
        ...


class Lake:
    """The table of a stream in one catalog.

    An instance belongs to one thread at a time: a table handle is not safe to share. `plan` alone
    may run beside another call, and of a snapshot that was planned before it asks nobody. Nothing
    is opened before the first call, so a catalog that is away shows as `LakeUnavailableError`
    there.

    Args:
        config: where it is.
        clock: times what a commit takes, and how old its files are.
        catalog: opens the catalog that the configuration names.
        stream: whose table it is.
        files: reads the data files as the newest handle may.
        closed: ends a pause between tries when it is set; None: an event of its own.
    """

    def __init__(
        self,
        config: LakeConfig,
        clock: Clock = SYSTEM_CLOCK,
        catalog: Callable[[LakeConfig], Catalog] = open_catalog,
        *,
        stream: Stream,
        files: DataFiles | None = None,
        closed: CloseEvent | None = None,
    ) -> None:
        self.stream = stream
        self.clock = clock
        self._files = files
        self._description = description_of(stream)
        self._config = config
        self._open_catalog = catalog
        self._catalog: Catalog | None = None
        self._table: Table | None = None
        self._planner = Planner(self._description)
        self._earlier = EarlierMetadata()
        self._closed: CloseEvent = threading.Event() if closed is None else closed

    def close(self) -> None:
        """Release the catalog's connections and end a pause between tries."""
        self._closed.set()
        if self._catalog is not None:
            self._catalog.close()

    def create(self) -> None:
        """Create catalog, namespace and table as far as they are missing.

        A table that an earlier version made gets the columns that were added since. Safe beside
        other processes that do the same.

        Raises:
            LakeUnavailableError: the catalog or the store does not answer.
        """
        self._again(self._create)
        self._again(self._grow)

    def ensure(self) -> None:
        """`create`, and check that K2 can write to the table.

        Raises:
            TableMismatchError: other engines changed its columns or partitions.
            LakeUnavailableError: the catalog or the store does not answer.
        """
        self.create()
        check_table(self._description, self.load().metadata)

    def head(self) -> Head:
        """The newest snapshot, read from the catalog now.

        Raises:
            VectorMissingError, VectorWentBackError: the table does not say what it holds.
            LakeUnavailableError: the catalog or the store does not answer.
        """
        return self.head_of(self.load())

    def head_of(self, table: Table) -> Head:
        """The same of a table as `load` gave it."""
        return head_of(table.metadata, self._earlier.of(table), self.stream.log)

    def snapshots(self) -> list[SnapshotInfo]:
        """Main's snapshots that have not expired, oldest first, read from the catalog now.

        Those of other branches are none of them (`main_history`).
        """
        return main_history(self.load().metadata)

    def tagged(self, name: str) -> SnapshotInfo | None:
        """The snapshot that a tag names, read from the catalog now; None: there is no such tag.

        Raises:
            LakeUnavailableError: the catalog or the store does not answer.
        """
        metadata = self.load().metadata
        ref = metadata.refs.get(name)
        if ref is None or ref.snapshot_ref_type is not SnapshotRefType.TAG:
            return None
        snapshot = metadata.snapshot_by_id(ref.snapshot_id)
        return None if snapshot is None else info_of(snapshot, refs=(name,))

    def plan(
        self,
        snapshot_id: int,
        *,
        keys: Keys = (),
        start_ns: int | None = None,
        end_ns: int | None = None,
        corrections: bool = False,
        accepted_from_us: int | None = None,
        accepted_to_us: int | None = None,
    ) -> list[PlannedFile]:
        """The files of a snapshot that can hold rows of these keys and times.

        Every matching row is in one of them; rows that do not match may be too. With `corrections`
        those rows alone are wanted that refer to another. Both bounds of the accepted time are
        inclusive.

        Raises:
            SnapshotNotFoundError: it has expired, or never was.
            LakeUnavailableError: the catalog or the store does not answer.
        """
        wanted = Filter(keys, start_ns, end_ns, corrections, accepted_from_us, accepted_to_us)
        table = self._table or self.load()
        snapshot = table.snapshot_by_id(snapshot_id)
        if snapshot is None:  # newer than the handle
            table = self.load()
            snapshot = table.snapshot_by_id(snapshot_id)
        if snapshot is None:
            raise SnapshotNotFoundError(snapshot_id)
        with lake_calls("read the manifests"):
            return list(self._planner.plan(table.io, snapshot, wanted))

    def append(
        self,
        rows: pa.Table,
        ranges: dict[int, Range],
        *,
        topic_id: str,
        commit_id: str,
        topic: str | None = None,
        deferred: Mapping[int, int] | None = None,
        events: Mapping[int, int] | None = None,
    ) -> Committed:
        """Append the rows of these ranges of the log, once, and move the vector with them.

        Exactly once for any number of calls with the same `commit_id` and ranges, whatever the
        catalog answered in between, and beside any other writer. The rows may come in any order; of
        ranges without a row the vector moves by an empty snapshot.

        Args:
            rows: in the table's columns; text columns may be dictionaries.
            ranges: per partition of the topic the positions read: `[start, end)`.
            topic_id: of the topic that the ranges count in.
            commit_id: names this batch and no other.
            topic: the log that the rows come from; None: the stream's.
            deferred: per partition the raw records that wait at the end of its range, where known.
            events: the same of the sequence events that were published up to there.

        Raises:
            VectorMovedError: the table does not end where the batch starts; nothing was appended.
            TopicChangedError, TableMismatchError, LakeConfigError: the table is not this topic's,
                or not one that K2 can write to; nothing was appended.
            CommitUnknownError: it may have landed: call again with the same commit id.
            LakeUnavailableError: the catalog or the store did not answer; nothing was appended.
            ValueError: rows outside the ranges, other columns, or nothing to commit.
        """
        log_topic = topic or self.stream.log
        claim = Claim(log_topic, topic_id, ranges, commit_id, deferred or {}, events or {})
        failpoint("lake.taken")
        _check_rows(rows, ranges, self.stream)
        started_s, began_ns = self.clock.monotonic(), self.clock.time_ns()
        # 1. Read the table as it is now: a handle from before may be stale.
        table = self.load()
        # 2. Look for the commit id. An earlier call may have landed without our hearing of it; were
        #    the vector asked first, our own batch would look like another writer's.
        landed = find_commit(table.metadata, claim)
        if landed is not None:
            return self._committed(landed, [], 0, started_s, started_s)
        # 3. Refuse a table that K2 cannot write to, and a batch that does not start where the table
        #    ends, before any file is written.
        check_table(self._description, table.metadata)
        claim.rebase(self.head_of(table).vector)
        failpoint("lake.loaded")
        # 4. Write the data files: once, outside the attempts, which all refer to the same ones.
        with lake_calls("write the data files"):
            written = files.write(table, rows, self._description)
        failpoint("lake.files-written")
        written_s = self.clock.monotonic()
        # 5. Commit by compare-and-set, and find out what became of it.
        landed, attempts = self._commit(table, written, claim, began_ns)
        return self._committed(landed, written, attempts, started_s, written_s)

    def _commit(
        self, table: Table, written: list[DataFile], claim: Claim, began_ns: int
    ) -> tuple[Snapshot, int]:
        # 5a. An attempt checks the vector of the very head that the catalog compares with.
        def attempt(head: Table) -> int:
            return commit.attempt(head, written, claim, self._description, self._earlier)

        return self.settle(
            table,
            claim.commit_id,
            attempt,
            lambda metadata: find_commit(metadata, claim),
            began_ns=began_ns,
        )

    def settle(
        self,
        table: Table,
        commit_id: str,
        attempt: Callable[[Table], int],
        find: Callable[[TableMetadata], Snapshot | None],
        *,
        began_ns: int | None = None,
    ) -> tuple[Snapshot, int]:
        """Commit, and find out what became of it; for this package alone.

        Args:
            table: as it was loaded last.
            commit_id: names the commit in errors.
            attempt: one transaction on top of a table's head; how often it was built.
            find: the commit's snapshot in a table's history.
            began_ns: its files were not written before; None: it has none.

        Returns:
            The snapshot, and how many attempts it took.

        Raises:
            VectorMovedError, InputsGoneError, NotProvenError, LakeConfigError, SpecChangedError: it
                does not fit the head any more, and did not land.
            CommitUnknownError: it may have landed.
            LakeUnavailableError: others were first each time, or its files are too old.
        """
        attempts = 0
        refused: Exception | None = None
        for _ in range(COMMIT_TRIES):
            self._check_age(commit_id, began_ns)
            try:
                attempts += attempt(table)
                refused = None
            except Exception as error:  # noqa: BLE001 - 5b: what was raised proves nothing
                attempts += 1
                refused = error
                log.warning(
                    "commit-unsure", commit_id=commit_id, error=f"{type(error).__name__}: {error}"
                )
                # 5b. Read the table again. A conflict, a timeout, a lock and even our own "moved"
                #     may follow a commit that landed; only the table knows.
                try:
                    table = self._again(self.load)
                except LakeError as away:
                    raise CommitUnknownError(commit_id, error) from away
            # 5c. Look for the commit id, in what was read or in what the catalog answered.
            landed = find(table.metadata)
            if landed is not None:
                failpoint("lake.acknowledged")
                return landed, attempts
            # 5d. It is not there. If the table moved on, no attempt of ours can land any more: each
            #     asked for a head that is no longer the head.
            if isinstance(refused, _REFUSALS):
                raise refused
            # 5e. Try again on the new head. Safe even if an attempt is still on its way: of two
            #     that ask for the same head one lands, and the other's next look finds it.
        if isinstance(refused, CommitFailedException):
            raise LakeUnavailableError(
                f"commit {commit_id}: other writers were first {attempts} times"
            ) from refused
        cause = refused or LakeUnavailableError("the catalog accepted it, and it is not there")
        raise CommitUnknownError(commit_id, cause) from refused

    def _check_age(self, commit_id: str, began_ns: int | None) -> None:
        # By the wall clock: the monotonic one stands still while the machine sleeps.
        age_s = 0.0 if began_ns is None else (self.clock.time_ns() - began_ns) / 1e9
        if age_s > COMMIT_WITHIN_S:
            raise LakeUnavailableError(
                f"commit {commit_id}: its files may be {age_s:.0f} s old, and be orphans by now: "
                "they are written again"
            )

    def _committed(
        self,
        landed: Snapshot,
        written: list[DataFile],
        attempts: int,
        started_s: float,
        written_s: float,
    ) -> Committed:
        assert self._table is not None  # noqa: S101 - set by the look that found the snapshot
        return Committed(
            snapshot_id=landed.snapshot_id,
            head=self.head_of(self._table),
            snapshots=len(self._table.metadata.snapshots),
            files=len(written),
            size_bytes=sum(file.file_size_in_bytes for file in written),
            seconds_write=written_s - started_s,
            seconds_commit=self.clock.monotonic() - written_s,
            attempts=attempts,
        )

    def load(self) -> Table:
        """The table as the catalog has it now, for this package alone.

        Raises:
            TableMissingError: `ensure` was never called.
            LakeUnavailableError: the catalog or the store does not answer.
        """
        with lake_calls(f"load {self.stream.log}"):
            self._table = self._open().load_table(self._description.identifier)
        if self._files is not None:
            self._files.follow(self._table)
        return self._table

    def _open(self) -> Catalog:
        if self._catalog is None:
            self._catalog = self._open_catalog(self._config)
        return self._catalog

    def _create(self) -> None:
        with lake_calls(f"create {self.stream.log}"):
            catalog, described = self._open(), self._description
            try:
                catalog.create_namespace_if_not_exists(NAMESPACE)
                if not catalog.table_exists(described.identifier):
                    catalog.create_table(
                        described.identifier,
                        schema=described.created,
                        partition_spec=described.partition_spec,
                        sort_order=described.sort_order,
                        properties=described.properties,
                    )
            except (NamespaceAlreadyExistsError, TableAlreadyExistsError) as error:
                raise LakeUnavailableError(f"another process creates {self.stream.log}") from error

    def _grow(self) -> None:
        """Add the columns that the table lacks, in order; another process may do so as well."""
        with lake_calls(f"add columns to {self.stream.log}"):
            table = self.load()
            lacking = [
                field
                for field in self._description.added
                if field.name not in table.schema().column_names
            ]
            if not lacking or not grows_as_expected(self._description, table.metadata):
                return  # `check_table` says what is wrong
            with table.update_schema() as update:
                for field in lacking:
                    update.add_column(field.name, field.field_type)
            log.info("columns added", table=self.stream.log, columns=[f.name for f in lacking])

    def _again(self, call: Callable[[], T]) -> T:
        """The call's answer, tried again with growing pauses while the lake is unavailable."""
        pause_s = RELOAD_PAUSE_S
        for _ in range(RELOAD_TRIES - 1):
            try:
                return call()
            except LakeUnavailableError as error:
                log.warning("lake-unavailable", error=str(error), pause_s=pause_s)
                if self._closed.wait(pause_s):
                    raise
                pause_s *= 2
        return call()


def _check_rows(rows: pa.Table, ranges: dict[int, Range], stream: Stream) -> None:
    """A batch that says one thing of its offsets and holds another would break exactly-once."""
    expected = stream.table_schema.names
    if rows.schema.names != expected:
        raise ValueError(f"expected columns {expected}, found {rows.schema.names}")
    if all(held.start == held.end for held in ranges.values()):
        raise ValueError(f"nothing to commit: {ranges}")
    partitions = rows["log_partition"].to_numpy()
    offsets = rows["log_offset"].to_numpy()
    inside = np.zeros(len(offsets), bool)
    for partition, held in ranges.items():
        inside |= (partitions == partition) & (offsets >= held.start) & (offsets < held.end)
    if not inside.all():
        place = int(np.flatnonzero(~inside)[0])
        raise ValueError(
            f"row {place} is of {partitions[place]}:{offsets[place]}: expected within {ranges}"
        )
