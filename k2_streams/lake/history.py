"""Earlier metadata of a table: what it says of snapshots that have expired since.

A metadata file never changes, so what was read of one is kept. It is read only where the table's
own metadata no longer proves what its head holds: another engine has expired the snapshots of K2.
"""

from collections import OrderedDict
from collections.abc import Iterator

from pyiceberg.io import FileIO
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Table

from k2_streams.lake.catalog import lake_calls
from k2_streams.lake.vectors import Link, link_of

#: Earlier metadata files that are looked through, and kept: as many as a table of K2 keeps itself
#: (`write.metadata.previous-versions-max`). A file has up to 200 snapshots, some 100 KB.
MAX_FILES = 20


class EarlierMetadata:
    """Of one table. For one thread at a time."""

    def __init__(self) -> None:
        self._read: OrderedDict[str, tuple[Link, ...]] = OrderedDict()

    def of(self, table: Table) -> Iterator[tuple[Link, ...]]:
        """The snapshots of each earlier metadata file, the newest file first, while there are any.

        Raises:
            LakeUnavailableError: a file is there, and the store does not give it.
        """
        for entry in table.metadata.metadata_log[: -MAX_FILES - 1 : -1]:
            links = self._links(table.io, entry.metadata_file)
            if links is None:
                return
            yield links

    def _links(self, io: FileIO, path: str) -> tuple[Link, ...] | None:
        """Of one file; None: it was deleted, or is none that this version reads."""
        found = self._read.get(path)
        if found is not None:
            return found
        with lake_calls("read earlier metadata"):
            try:
                metadata = FromInputFile.table_metadata(io.new_input(path))
            except (FileNotFoundError, ValueError):
                return None
        found = tuple(link_of(snapshot) for snapshot in metadata.snapshots)
        self._read[path] = found
        if len(self._read) > MAX_FILES:
            self._read.popitem(last=False)
        return found
