"""The files of a table: which ones its snapshots reach, and which ones its store has."""

from collections.abc import Iterable, Iterator
from typing import Protocol, runtime_checkable

from pyarrow.fs import FileSelector, FileType
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from k2_streams.core.maintenance.deletion import StoredFile, plain
from k2_streams.lake.errors import LakeConfigError


@runtime_checkable
class ListedStore(Protocol):
    """A store that lists its files by itself."""

    def list_files(self, folder: str) -> Iterable[StoredFile]:
        """Every file below a folder."""
        ...


class ReachableFiles:
    """What snapshots of one table reach. A manifest never changes, so each is read once.

    Raises of every method:
        OSError: a manifest cannot be read. Then nothing is known, and nothing may be deleted.
    """

    def __init__(self, io: FileIO) -> None:
        self._io = io
        self._manifests: dict[str, dict[str, int]] = {}

    def of(self, metadata: TableMetadata, snapshots: Iterable[Snapshot]) -> dict[str, int]:
        """Size by `plain` path of manifest lists, manifests, data files, deletes and statistics.

        The size of a manifest list is not known, and 0.
        """
        found: dict[str, int] = {}
        ids = set()
        for snapshot in snapshots:
            ids.add(snapshot.snapshot_id)
            found[plain(snapshot.manifest_list)] = 0
            for manifest in snapshot.manifests(self._io):
                found[plain(manifest.manifest_path)] = manifest.manifest_length
                found.update(self._files_of(manifest))
        for statistics in (*metadata.statistics, *metadata.partition_statistics):
            if statistics.snapshot_id in ids:
                found[plain(statistics.statistics_path)] = statistics.file_size_in_bytes
        return found

    def _files_of(self, manifest: ManifestFile) -> dict[str, int]:
        found = self._manifests.get(manifest.manifest_path)
        if found is None:
            found = {
                plain(entry.data_file.file_path): entry.data_file.file_size_in_bytes
                for entry in manifest.fetch_manifest_entry(self._io)
            }
            self._manifests[manifest.manifest_path] = found
        return found


def folders_of(table: Table) -> tuple[str, ...]:
    """Where the files of a table are: its location, and what its properties name beside it."""
    properties = table.properties
    named = (properties.get(name) for name in ("write.data.path", "write.metadata.path"))
    return (table.location(), *(path for path in named if path is not None))


def metadata_files(table: Table) -> set[str]:
    """`plain` paths of the table's metadata file, and of the earlier ones that it names.

    And of the hint, which some engines write: readers without a catalog find the newest by it.
    """
    earlier = (entry.metadata_file for entry in table.metadata.metadata_log)
    hint = f"{table.location().rstrip('/')}/metadata/version-hint.text"
    return {plain(path) for path in (table.metadata_location, hint, *earlier)}


def list_files(io: FileIO, folder: str) -> Iterator[StoredFile]:
    """Every file below a folder; none where it does not exist.

    Raises:
        LakeConfigError: the store cannot be listed.
        OSError: it does not answer.
    """
    if isinstance(io, ListedStore):
        yield from io.list_files(folder)
        return
    if not isinstance(io, PyArrowFileIO):
        raise LakeConfigError(
            f"{folder}: expected a store that pyarrow lists, found {type(io).__name__}: "
            "remove the property py-io-impl"
        )
    scheme, netloc, path = io.parse_location(folder, io.properties)
    store = io.fs_by_scheme(scheme, netloc)
    prefix = "" if scheme == "file" else f"{scheme}://"
    for found in store.get_file_info(FileSelector(path, allow_not_found=True, recursive=True)):
        if found.type is FileType.File:
            yield StoredFile(prefix + found.path, found.size, found.mtime_ns // 1_000_000)


def delete_file(io: FileIO, path: str) -> bool:
    """Delete a file; whether it was there: one that is gone already is no error.

    Raises:
        OSError: the store refused.
    """
    try:
        io.delete(path)
    except FileNotFoundError:
        return False
    return True
