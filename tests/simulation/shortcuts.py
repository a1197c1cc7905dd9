"""pyiceberg without what takes most of a run's time, and without threads of its own."""

import functools
import json
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from typing import Any

from pyiceberg.avro.file import AvroFileHeader
from pyiceberg.manifest import ManifestFile
from pyiceberg.schema import Schema
from pyiceberg.table import snapshots
from pyiceberg.utils.concurrent import ExecutorFactory
from pyiceberg.utils.schema_conversion import AvroSchemaConversion

from k2_streams.testing.memory.warehouse import MemoryWarehouse


class InlineExecutor(Executor):
    """pyiceberg's thread pool, on one thread."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - as a pool does
            future.set_exception(error)
        return future


class _Decoded:
    """What the files of a warehouse say, decoded once: files never change, and decoding is half of
    a run. A request is made all the same.
    """

    def __init__(self) -> None:
        self._read: dict[Any, list[Any]] = {}

    def once(
        self, warehouse: MemoryWarehouse, key: Any, read: Callable[[], Iterable[Any]]
    ) -> list[Any]:
        if key in self._read:
            warehouse.touch()
        else:
            self._read[key] = list(read())
        return list(self._read[key])


def shortcuts() -> list[tuple[Any, str, Any]]:
    """For one run: owner, name and replacement."""
    lists, entries = snapshots._manifests, ManifestFile.fetch_manifest_entry
    decoded = _Decoded()

    def of_list(warehouse: MemoryWarehouse, path: str) -> list[Any]:
        return decoded.once(warehouse, path, lambda: lists(warehouse, path))

    def of_manifest(
        manifest: ManifestFile, io: MemoryWarehouse, discard_deleted: bool = True
    ) -> list[Any]:
        key = (manifest.manifest_path, discard_deleted)
        return decoded.once(io, key, lambda: entries(manifest, io, discard_deleted))

    return [
        (ExecutorFactory, "get_or_create", staticmethod(InlineExecutor)),
        (snapshots, "_manifests", of_list),
        (ManifestFile, "fetch_manifest_entry", of_manifest),
        (AvroFileHeader, "get_schema", lambda header: _schema_of(header.meta["avro.schema"])),
    ]


@functools.lru_cache(maxsize=32)
def _schema_of(text: str) -> Schema:
    return AvroSchemaConversion().avro_to_iceberg(json.loads(text))
