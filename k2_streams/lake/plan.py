"""Which files of a snapshot can hold what a query asks for.

A manifest never changes, so what it says of its files is read once and kept: the plan of the next
snapshot reads the new manifest alone. Manifests are merged now and then, and each file then stands
in another one: what is known of a file is kept once, whichever manifests name it. A plan is exact
about files and generous about rows; the query filters again.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary

from pyiceberg.conversions import from_bytes
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, ManifestContent, ManifestFile
from pyiceberg.schema import Schema
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.types import PrimitiveType

from k2_streams.core.query.keys import Keys
from k2_streams.lake.errors import TableMismatchError
from k2_streams.lake.schema import TableDescription

T = TypeVar("T", str, int)

#: Files of the manifests that are kept: 0.8 KB for each that is another one, 8 bytes for each that
#: a manifest names once more; a day at one file in 10 s has 8,640.
MAX_FILES_KEPT = 50_000
#: Snapshots whose lists of manifests are kept: the newest, and those that pages are pinned to.
MAX_SNAPSHOTS_KEPT = 64
#: Plans kept: a page of an answer, its next pages and a few other queries ask for the same.
MAX_PLANS_KEPT = 256


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A Parquet file to read.

    Attributes:
        path: as DuckDB takes it (local paths without a scheme).
        rows: in all.
        size_bytes: of the file.
        first_ns: no row has an earlier event time; None: not known.
        last_ns: none has a later one; None: not known.
        accepted_from_us: no row was accepted earlier; None: not known.
        accepted_to_us: none was accepted later; None: not known.
    """

    path: str
    rows: int
    size_bytes: int
    first_ns: int | None = None
    last_ns: int | None = None
    accepted_from_us: int | None = None
    accepted_to_us: int | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """What rows must match; None is no bound. `start_ns` is inclusive, `end_ns` exclusive."""

    keys: Keys = ()
    start_ns: int | None = None
    end_ns: int | None = None
    corrections: bool = False  # rows that refer to another alone
    accepted_from_us: int | None = None  # both inclusive
    accepted_to_us: int | None = None


@dataclass(frozen=True, slots=True)
class _Bounds(Generic[T]):
    low: T | None  # None: not known
    high: T | None

    def may_hold(self, value: T) -> bool:
        return (self.low is None or self.low <= value) and (self.high is None or value <= self.high)

    def may_meet(self, first: T | None, last: T | None) -> bool:
        """Whether a value can be from `first` to `last`, both inclusive; None is no bound."""
        is_above = last is not None and self.low is not None and self.low > last
        is_below = first is not None and self.high is not None and self.high < first
        return not (is_above or is_below)


@dataclass(frozen=True, slots=True, weakref_slot=True)
class _File:
    planned: PlannedFile
    keys: dict[str, _Bounds[Any]]  # by column
    accepted_us: _Bounds[int]
    corrects: bool  # whether a row may refer to another

    def may_match(self, wanted: Filter) -> bool:
        """Whether a row of the file can match."""
        for column, values in wanted.keys:
            if not any(map(self.keys[column].may_hold, values)):
                return False
        if wanted.corrections and not self.corrects:
            return False
        end_ns = wanted.end_ns
        time_ns = _Bounds(self.planned.first_ns, self.planned.last_ns)
        return time_ns.may_meet(
            wanted.start_ns, None if end_ns is None else end_ns - 1
        ) and self.accepted_us.may_meet(wanted.accepted_from_us, wanted.accepted_to_us)


class Planner:
    """Plans snapshots of one table. Any thread may call it: what is kept is under a lock.

    Two threads that lack the same read it twice; neither waits while the other reads.
    """

    def __init__(
        self,
        table: TableDescription,
        max_files: int = MAX_FILES_KEPT,
        max_plans: int = MAX_PLANS_KEPT,
    ) -> None:
        self._table = table
        self._manifests: OrderedDict[str, tuple[_File, ...]] = OrderedDict()
        self._lists: OrderedDict[int, tuple[ManifestFile, ...]] = OrderedDict()
        self._files_kept = 0
        self._by_path: WeakValueDictionary[str, _File] = WeakValueDictionary()
        self._max_files = max_files
        self._plans: OrderedDict[tuple[int, Filter], tuple[PlannedFile, ...]] = OrderedDict()
        self._max_plans = max_plans
        self._lock = threading.Lock()

    def plan(self, io: FileIO, snapshot: Snapshot, wanted: Filter) -> tuple[PlannedFile, ...]:
        """The files that can hold matching rows, by path.

        Raises:
            TableMismatchError: the snapshot has delete files, which K2 does not read.
            OSError: a manifest cannot be read.
        """
        key = (snapshot.snapshot_id, wanted)
        with self._lock:
            found = self._plans.get(key)
        if found is None:
            found = tuple(
                file.planned
                for manifest in self._list(io, snapshot)
                for file in self._files(io, manifest)
                if file.may_match(wanted)
            )
            found = tuple(sorted(found, key=lambda file: file.path))
        with self._lock:
            self._plans[key] = found
            self._plans.move_to_end(key)
            if len(self._plans) > self._max_plans:
                self._plans.popitem(last=False)
        return found

    def forget(self) -> None:
        """Drop what is kept: a file that was planned is gone."""
        with self._lock:
            self._plans.clear()
            self._lists.clear()
            self._manifests.clear()
            self._files_kept = 0

    def _list(self, io: FileIO, snapshot: Snapshot) -> tuple[ManifestFile, ...]:
        with self._lock:
            kept = self._lists.get(snapshot.snapshot_id)
            if kept is not None:
                self._lists.move_to_end(snapshot.snapshot_id)
                return kept
        read = tuple(snapshot.manifests(io))
        with self._lock:
            self._lists[snapshot.snapshot_id] = read
            if len(self._lists) > MAX_SNAPSHOTS_KEPT:
                self._lists.popitem(last=False)
        return read

    def _files(self, io: FileIO, manifest: ManifestFile) -> tuple[_File, ...]:
        if manifest.content == ManifestContent.DELETES:
            raise TableMismatchError(
                f"{self._table.stream.log}: expected data files only, found deletes in "
                f"{manifest.manifest_path}"
            )
        path = manifest.manifest_path
        with self._lock:
            kept = self._manifests.get(path)
            if kept is not None:
                self._manifests.move_to_end(path)
                return kept
        table = self._table
        read = tuple(_file(table, e.data_file) for e in manifest.fetch_manifest_entry(io))
        with self._lock:
            # The first of a path stays: a data file never changes either.
            read = tuple(self._by_path.setdefault(file.planned.path, file) for file in read)
            if path not in self._manifests:
                self._manifests[path] = read
                self._files_kept += len(read)
            while self._files_kept > self._max_files and len(self._manifests) > 1:
                _, dropped = self._manifests.popitem(last=False)
                self._files_kept -= len(dropped)
        return read


def may_match(table: TableDescription, file: DataFile, wanted: Filter) -> bool:
    """Whether a row of a data file can match, as far as the manifest says it."""
    return _file(table, file).may_match(wanted)


def _file(table: TableDescription, file: DataFile) -> _File:
    schema, stream = table.schema, table.stream
    first_ns, last_ns = _bounds(schema, file, stream.time)
    accepted_us = _Bounds(*_bounds(schema, file, "accepted_time"))
    return _File(
        PlannedFile(
            file.file_path.removeprefix("file://"),
            file.record_count,
            file.file_size_in_bytes,
            first_ns,
            last_ns,
            accepted_us.low,
            accepted_us.high,
        ),
        keys={name: _Bounds(*_bounds(schema, file, name)) for name in stream.key},
        accepted_us=accepted_us,
        corrects=stream.is_corrected and _may_hold_values(schema, file, "ref_message_id"),
    )


def _may_hold_values(schema: Schema, file: DataFile, name: str) -> bool:
    """False only if the file says that the column has nulls alone."""
    field_id = schema.find_field(name).field_id
    values, nulls = file.value_counts or {}, file.null_value_counts or {}
    return field_id not in values or nulls.get(field_id) != values[field_id]


def _bounds(schema: Schema, file: DataFile, name: str) -> Iterator[Any]:
    field = schema.find_field(name)
    kind = schema.find_type(name)
    assert isinstance(kind, PrimitiveType)  # noqa: S101 - the columns of key and time are
    for bounds in (file.lower_bounds, file.upper_bounds):
        raw = (bounds or {}).get(field.field_id)
        yield None if raw is None else from_bytes(kind, raw)
