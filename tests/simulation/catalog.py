"""A simulated catalog and object store beneath pyiceberg: its real append, scan and metadata.

A commit is one step of the catalog's: the requirements are checked against the table as it is when
the request arrives. Around it is what a network does: requests refused, answers lost in every kind
of words, commits that land after their writer gave them up.
"""

import functools
import io
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.avro.file import AvroFileHeader
from pyiceberg.exceptions import (
    CommitFailedException,
    CommitStateUnknownException,
    NoSuchTableError,
    ServiceUnavailableError,
    TableAlreadyExistsError,
)
from pyiceberg.io import FileIO, InputFile, OutputFile
from pyiceberg.manifest import ManifestFile
from pyiceberg.partitioning import assign_fresh_partition_spec_ids
from pyiceberg.schema import Schema, assign_fresh_schema_ids
from pyiceberg.table import CommitTableResponse, Table, snapshots
from pyiceberg.table.metadata import TableMetadata, new_table_metadata
from pyiceberg.table.sorting import assign_fresh_sort_order_ids
from pyiceberg.table.update import update_table_metadata
from pyiceberg.utils.concurrent import ExecutorFactory
from pyiceberg.utils.schema_conversion import AvroSchemaConversion
from sqlalchemy.exc import OperationalError

from simulation.chaos import Chaos
from simulation.loop import Loop, pause

Result = TypeVar("Result")

LOCATION = "memory://warehouse/k2/trades"
#: A row's place in the log, and its place in the source.
Place = tuple[int, int, int]


class InlineExecutor(Executor):
    """pyiceberg's thread pool, on one thread."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - as a pool does
            future.set_exception(error)
        return future


def shortcuts() -> list[tuple[Any, str, Any]]:
    """pyiceberg reads a manifest, and a list of them, once a store."""
    lists, entries = snapshots._manifests, ManifestFile.fetch_manifest_entry

    def of_list(store: "Store", path: str) -> list[Any]:
        return store.once(path, lambda: lists(store, path))

    def of_manifest(manifest: ManifestFile, io: "Store", discard_deleted: bool = True) -> list[Any]:
        key = (manifest.manifest_path, discard_deleted)
        return io.once(key, lambda: entries(manifest, io, discard_deleted))

    return [
        (ExecutorFactory, "get_or_create", staticmethod(InlineExecutor)),
        (snapshots, "_manifests", of_list),
        (ManifestFile, "fetch_manifest_entry", of_manifest),
        (AvroFileHeader, "get_schema", lambda header: _schema_of(header.meta["avro.schema"])),
    ]


@functools.lru_cache(maxsize=32)
def _schema_of(text: str) -> Schema:
    return AvroSchemaConversion().avro_to_iceberg(json.loads(text))


class _Written(io.BytesIO):
    def __init__(self, files: dict[str, bytes], path: str) -> None:
        super().__init__()
        self._files = files
        self._path = path

    def close(self) -> None:
        if not self.closed:
            self._files[self._path] = self.getvalue()
        super().close()


class _File(InputFile, OutputFile):
    def __init__(self, store: "Store", location: str) -> None:
        self._location = location
        self._store = store

    @property
    def location(self) -> str:
        return self._location

    def __len__(self) -> int:
        return len(self._store.files[self._location])

    def exists(self) -> bool:
        return self._location in self._store.files

    def open(self, seekable: bool = True) -> Any:
        self._store.touch()
        if self._location not in self._store.files:
            raise FileNotFoundError(self._location)
        return io.BytesIO(self._store.files[self._location])

    def create(self, overwrite: bool = False) -> Any:
        self._store.touch()
        return _Written(self._store.files, self._location)

    def to_input_file(self) -> InputFile:
        return self


class Store(FileIO):
    """The warehouse."""

    def __init__(self, chaos: Chaos) -> None:
        super().__init__()
        self.files: dict[str, bytes] = {}
        self._chaos = chaos
        self._read: dict[Any, list[Any]] = {}
        self._places: dict[str, list[tuple[Place, tuple[int, int, str]]]] = {}

    def new_input(self, location: str) -> InputFile:
        return _File(self, location)

    def new_output(self, location: str) -> OutputFile:
        return _File(self, location)

    def delete(self, location: Any) -> None:
        self.files.pop(location if isinstance(location, str) else location.location, None)

    def touch(self) -> None:
        """A request to the store: it takes time, and may fail."""
        pause(self._chaos.one_way_s())
        if self._chaos.happens("store_failed"):
            raise OSError("503 slow down")

    def once(self, key: Any, read: Callable[[], Iterable[Any]]) -> list[Any]:
        """What a file says, decoded once: files never change, and decoding is half of a run."""
        if key in self._read:
            self.touch()
        else:
            self._read[key] = list(read())
        return list(self._read[key])

    def rows(self, path: str) -> list[tuple[Place, tuple[int, int, str]]]:
        """Of each row of a data file its place in the log, its place in the source and its id."""
        found = self._places.get(path)
        if found is None:
            names = ["log_partition", "log_offset", "log_row", "source_partition", "source_offset"]
            table = pq.read_table(
                pa.BufferReader(self.files[path]), columns=[*names, "message_id"], use_threads=False
            )
            columns = [table[name].to_pylist() for name in (*names, "message_id")]
            found = [(row[:3], row[3:]) for row in zip(*columns, strict=True)]
            self._places[path] = found
        return found


class Service:
    """The catalog's own side: the table as it is, and every metadata it ever had."""

    def __init__(self, loop: Loop, chaos: Chaos, moved: Callable[[], None]) -> None:
        self.loop = loop
        self._moved = moved
        self.chaos = chaos
        self.store = Store(chaos)
        self.history: list[TableMetadata] = []

    @property
    def table(self) -> TableMetadata | None:
        return self.history[-1] if self.history else None

    def commit(self, requirements: tuple[Any, ...], updates: tuple[Any, ...]) -> TableMetadata:
        """Check and apply, as one step."""
        current = self.table
        for requirement in requirements:
            requirement.validate(current)
        after = update_table_metadata(
            current, updates, enforce_validation=False, metadata_location=self.location
        )
        self.history.append(after)
        self._moved()
        return after

    @property
    def location(self) -> str:
        return f"{LOCATION}/metadata/{len(self.history)}.json"


class SimCatalog:
    """A client of the service, as far as `Lake` and pyiceberg's `Table` call it."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def _delete_old_metadata(self, *_: Any) -> None:
        """Metadata are no files here."""

    def close(self) -> None:
        """Nothing is held."""

    def create_namespace_if_not_exists(self, namespace: Any, properties: Any = None) -> None:
        self._ask(lambda: None)

    def table_exists(self, identifier: Any) -> bool:
        return self._ask(lambda: self._service.table is not None)

    def create_table(
        self, identifier: Any, *, schema: Any, partition_spec: Any, sort_order: Any, properties: Any
    ) -> Table:
        def create() -> TableMetadata:
            if self._service.table is not None:
                raise TableAlreadyExistsError
            fresh = assign_fresh_schema_ids(schema)
            metadata = new_table_metadata(
                location=LOCATION,
                schema=fresh,
                partition_spec=assign_fresh_partition_spec_ids(partition_spec, schema, fresh),
                sort_order=assign_fresh_sort_order_ids(sort_order, schema, fresh),
                properties=dict(properties),
            )
            self._service.history.append(metadata)
            return metadata

        return self._table(self._ask(create))

    def load_table(self, identifier: Any) -> Table:
        def load() -> TableMetadata:
            if self._service.table is None:
                raise NoSuchTableError
            return self._service.table

        return self._table(self._ask(load))

    def commit_table(
        self, table: Table, requirements: tuple[Any, ...], updates: tuple[Any, ...]
    ) -> CommitTableResponse:
        service, chaos = self._service, self._service.chaos
        pause(chaos.one_way_s())
        if chaos.happens("catalog_refused"):
            raise self._words()
        if chaos.happens("catalog_late"):
            delay_s = chaos.chance.random() * chaos.chance.choice([0.02, 0.5, 8.0])
            service.loop.later(delay_s, self._land_late, requirements, updates)
            raise self._words()
        after = service.commit(requirements, updates)
        location = service.location
        if chaos.happens("catalog_lost"):
            raise self._words()
        pause(chaos.one_way_s())
        return CommitTableResponse.model_construct(metadata=after, metadata_location=location)

    def _land_late(self, requirements: tuple[Any, ...], updates: tuple[Any, ...]) -> None:
        try:
            self._service.commit(requirements, updates)
        except CommitFailedException:
            return
        self._service.chaos.count("landed_late")

    def _words(self) -> Exception:
        """What a catalog, a proxy or a network says when it says nothing certain."""
        kind: Callable[[], Exception] = self._service.chaos.chance.choice(
            [
                lambda: CommitFailedException("conflict"),
                lambda: CommitStateUnknownException("502"),
                lambda: TimeoutError("read timed out"),
                lambda: ConnectionResetError("reset"),
                lambda: OperationalError("update", {}, Exception("database is locked")),
            ]
        )
        return kind()

    def _ask(self, arrive: Callable[[], Result]) -> Result:
        chaos = self._service.chaos
        pause(chaos.one_way_s())
        if chaos.happens("catalog_away"):
            raise ServiceUnavailableError("503")
        result = arrive()
        pause(chaos.one_way_s())
        return result

    def _table(self, metadata: TableMetadata) -> Table:
        return Table(("k2", "trades"), metadata, self._service.location, self._service.store, self)


def manifests_of(store: Store, metadata: TableMetadata) -> Iterator[tuple[str, int]]:
    """Of the head's data files their path and rows, read by pyiceberg through the manifests."""
    head = metadata.current_snapshot()
    for manifest in head.manifests(store) if head else ():
        for entry in manifest.fetch_manifest_entry(store):
            yield entry.data_file.file_path, entry.data_file.record_count
