"""Compaction: small files of a day become one, beside sinks that commit meanwhile.

The slow part, the rewriting, happens before the commit. The commit itself changes manifests alone
and is tried again on a newer head, so that a sink's commit delays it by one attempt and it delays a
sink's by one.
"""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.manifest import DataFile, ManifestContent, ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from k2_streams.clock import Clock
from k2_streams.core.maintenance.compaction import (
    Candidate,
    CompactionPolicy,
    first_round,
    next_group,
)
from k2_streams.core.time_units import DAY_NS
from k2_streams.failpoints import failpoint
from k2_streams.lake.catalog import lake_calls
from k2_streams.lake.compatibility import check_table, is_partitioned_alike
from k2_streams.lake.errors import (
    LakeUnavailableError,
    NotProvenError,
    TableMismatchError,
    UnfitFileError,
)
from k2_streams.lake.history import EarlierMetadata
from k2_streams.lake.maintenance.replace import attempt_replace, find_replacement
from k2_streams.lake.maintenance.rewrite import RANGE_BYTES, Rewrite
from k2_streams.lake.schema import description_of
from k2_streams.lake.table import Lake

log = structlog.get_logger(__name__)

#: Files that are left as they are, with the reason: of the last ones found.
MAX_UNFIT = 1_000
#: Of a commit, each with some fifteen attempts: minutes beside sinks that commit without a pause.
COMMIT_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Compacted:
    """One group of files that one file has replaced."""

    snapshot_id: int
    day: int  # since 1970
    files: int  # replaced
    rows: int
    read_bytes: int
    written_bytes: int
    attempts: int


def _new_commit_id() -> str:
    return uuid.uuid4().hex


def _candidate(file: DataFile) -> Candidate:
    return Candidate(
        file.file_path, int(file.partition[0]), file.record_count, file.file_size_in_bytes
    )


class Compactor:
    """Compacts one table, group by group. For one thread at a time.

    Args:
        lake: a handle of its own on the table.
        clock: says which day is open.
        policy: which files, and how large they become.
        range_bytes: of rows in memory at once.
        new_commit_id: gives each commit a name that no other ever had.
    """

    def __init__(
        self,
        lake: Lake,
        clock: Clock,
        policy: CompactionPolicy | None = None,
        *,
        range_bytes: int = RANGE_BYTES,
        new_commit_id: Callable[[], str] = _new_commit_id,
    ) -> None:
        #: Files that are left as they are, by path, and why.
        self.unfit: dict[str, str] = {}
        #: Data files of the head when it was looked at last.
        self.files = 0
        self._lake = lake
        self._described = description_of(lake.stream)
        self._earlier = EarlierMetadata()
        self._clock = clock
        self._policy = policy or CompactionPolicy()
        self._range_bytes = range_bytes
        self._new_commit_id = new_commit_id

    def run_once(self) -> Compacted | None:
        """Replace one group; None: nothing is to be done.

        Raises:
            InputsGoneError: another writer replaced an input meanwhile. Call it again.
            LakeUnavailableError: catalog or store does not answer, or others were first each time.
            CommitUnknownError: it may have landed. Call it again: it looks at what is there.
            LakeConfigError: the table is not one that K2 can write to; nothing was changed.
        """
        # 1. Read the table. One that other engines changed so that K2 cannot write to it, and one
        #    that does not say what it holds of the log, is not touched.
        table = self._lake.load()
        check_table(self._described, table.metadata)
        self._lake.head_of(table)
        while True:
            # 2. Choose files, of those that are live in this head.
            chosen = self._choose(table)
            if not chosen:
                return None
            failpoint("maintenance.planned")
            # 3. Write one file with their rows, and prove that it has exactly them.
            began_ns = self._lake.clock.time_ns()
            try:
                with lake_calls("rewrite data files"):
                    output = Rewrite(table, chosen, self._described, self._range_bytes).run()
            except UnfitFileError as error:
                self._leave([error.path], error.reason)
                continue
            except NotProvenError as error:
                log.exception("compaction not proven", table=self._lake.stream.log)
                self._leave([file.file_path for file in chosen], str(error))
                continue
            # 4. Replace them, if all of them are still live.
            return self._replace(table, chosen, output, began_ns)

    def planned(self) -> list[tuple[Candidate, ...]]:
        """The groups that are there now. Reads alone.

        Raises:
            LakeUnavailableError, LakeConfigError: as `run_once`.
        """
        table = self._lake.load()
        check_table(self._described, table.metadata)
        candidates = (_candidate(file) for _, file in self._live_files(table))
        return first_round(candidates, self._today, self._policy)

    @property
    def _today(self) -> int:
        return self._clock.time_ns() // DAY_NS

    def _choose(self, table: Table) -> list[DataFile]:
        """The files of the next group, in their order.

        Of all others as little is kept as the choice needs: what a manifest says of a file takes
        some 10 KB, and of a table that was never compacted they are hundreds of thousands.
        """
        self.files = 0
        manifest_of: dict[str, ManifestFile] = {}
        fit = []
        for manifest, file in self._live_files(table):
            self.files += 1
            if file.file_path not in self.unfit and (
                file.file_size_in_bytes < self._policy.small_bytes
            ):
                manifest_of[file.file_path] = manifest
                fit.append(_candidate(file))
        group = {one.path: None for one in next_group(fit, self._today, self._policy)}
        manifests = {manifest_of[path].manifest_path: manifest_of[path] for path in group}
        with lake_calls("read the manifests"):
            chosen = {
                entry.data_file.file_path: entry.data_file
                for manifest in manifests.values()
                for entry in manifest.fetch_manifest_entry(table.io)
                if entry.data_file.file_path in group
            }
        return [chosen[path] for path in group]

    def _live_files(self, table: Table) -> Iterator[tuple[ManifestFile, DataFile]]:
        """The data files of the head that are partitioned as K2's are, with their manifests."""
        head = table.metadata.current_snapshot()
        if head is None:
            return
        alike = {
            number
            for number, spec in table.metadata.specs().items()
            if is_partitioned_alike(self._described, spec)
        }
        with lake_calls("read the manifests"):
            for manifest in head.manifests(table.io):
                if manifest.content == ManifestContent.DELETES:
                    raise TableMismatchError(
                        f"{self._lake.stream.log}: expected data files only, found deletes in "
                        f"{manifest.manifest_path}; nothing is compacted until they are applied"
                    )
                if manifest.partition_spec_id in alike:
                    for entry in manifest.fetch_manifest_entry(table.io):
                        if entry.data_file.partition[0] is not None:  # another engine's null
                            yield manifest, entry.data_file

    def _replace(
        self, table: Table, inputs: list[DataFile], output: DataFile, began_ns: int
    ) -> Compacted:
        commit_id = self._new_commit_id()

        def attempt(head: Table) -> int:
            return attempt_replace(head, inputs, output, commit_id, self._described, self._earlier)

        landed, attempts = self._settle(table, commit_id, attempt, began_ns)
        failpoint("maintenance.replaced")
        done = Compacted(
            landed.snapshot_id,
            int(output.partition[0]),
            len(inputs),
            output.record_count,
            sum(file.file_size_in_bytes for file in inputs),
            output.file_size_in_bytes,
            attempts,
        )
        log.info(
            "files compacted",
            table=self._lake.stream.log,
            day=done.day,
            files=done.files,
            rows=done.rows,
            snapshot=done.snapshot_id,
        )
        return done

    def _settle(
        self, table: Table, commit_id: str, attempt: Callable[[Table], int], began_ns: int
    ) -> tuple[Snapshot, int]:
        """Commit, however often sinks are first: the rows need not be written again for that."""
        rounds = 1
        while True:
            try:
                return self._lake.settle(
                    table,
                    commit_id,
                    attempt,
                    lambda found: find_replacement(found, commit_id),
                    began_ns=began_ns,
                )
            except LakeUnavailableError as error:
                is_conflict = isinstance(error.__cause__, CommitFailedException)
                if not is_conflict or rounds == COMMIT_ROUNDS:
                    raise
            rounds += 1
            table = self._lake.load()

    def _leave(self, paths: list[str], reason: str) -> None:
        for path in paths:
            self.unfit[path] = reason
            log.warning("file not compacted", path=path, reason=reason)
        while len(self.unfit) > MAX_UNFIT:
            del self.unfit[next(iter(self.unfit))]
