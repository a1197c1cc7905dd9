"""An object store in memory: pyiceberg writes and reads it, and queries read its data files."""

import io
from typing import Any

from pyiceberg.io import FileIO, InputFile, OutputFile
from pyiceberg.table import Table

from k2_streams.core.maintenance.deletion import StoredFile
from k2_streams.lake.store import DataFiles
from k2_streams.testing.memory.faults import Faults, MemoryFault
from k2_streams.testing.memory.loop import pause

#: Below it lie the tables. Of a scheme that queries read through `MemoryFiles`.
LOCATION = "s3://memory"


class MemoryWarehouse(FileIO):
    """Files by their location; each one never changes, and all are of one age.

    Args:
        faults: decides how long a request takes, and whether it fails.
    """

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self.files: dict[str, bytes] = {}
        self._faults = faults

    def new_input(self, location: str) -> InputFile:
        """A file to read."""
        return _MemoryFile(self, location)

    def new_output(self, location: str) -> OutputFile:
        """A file to write."""
        return _MemoryFile(self, location)

    def list_files(self, folder: str) -> list[StoredFile]:
        """Every file below a folder."""
        self.touch()
        below = folder.rstrip("/") + "/"
        return [
            StoredFile(path, len(data), 0)
            for path, data in sorted(self.files.items())
            if path.startswith(below)
        ]

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Delete a file, if it is there."""
        self.touch()
        self.files.pop(location if isinstance(location, str) else location.location, None)

    def touch(self) -> None:
        """A request to the store: it takes time, and may fail.

        Raises:
            OSError: it failed.
        """
        pause(self._faults.one_way_s())
        if self._faults.happens(MemoryFault.STORE_FAILED):
            raise OSError("503 slow down")


class MemoryFiles(DataFiles):
    """The data files of every table of a warehouse in memory, as queries read them."""

    def __init__(self, warehouse: MemoryWarehouse) -> None:
        super().__init__()
        self._warehouse = warehouse

    def follow(self, table: Table) -> None:
        """Any file of the warehouse can be read."""

    def size(self, path: str) -> int:
        """Of a whole file, in bytes.

        Raises:
            FileNotFoundError: there is no such file.
        """
        return len(self._content(path))

    def read(self, path: str, offset: int, size_bytes: int) -> bytes:
        """That many bytes from there on; fewer at the file's end.

        Raises:
            FileNotFoundError: there is no such file.
        """
        return self._content(path)[offset : offset + size_bytes]

    def _content(self, path: str) -> bytes:
        found = self._warehouse.files.get(path)
        if found is None:
            raise FileNotFoundError(path)
        return found


class _WrittenFile(io.BytesIO):
    """A file that is there once it is closed."""

    def __init__(self, files: dict[str, bytes], location: str) -> None:
        super().__init__()
        self._files = files
        self._location = location

    def close(self) -> None:
        if not self.closed:
            self._files[self._location] = self.getvalue()
        super().close()


class _MemoryFile(InputFile, OutputFile):
    def __init__(self, warehouse: MemoryWarehouse, location: str) -> None:
        self._location = location
        self._warehouse = warehouse

    @property
    def location(self) -> str:
        return self._location

    def __len__(self) -> int:
        return len(self._warehouse.files[self._location])

    def exists(self) -> bool:
        return self._location in self._warehouse.files

    def open(self, seekable: bool = True) -> Any:  # noqa: ARG002 - all of them are
        self._warehouse.touch()
        if self._location not in self._warehouse.files:
            raise FileNotFoundError(self._location)
        return io.BytesIO(self._warehouse.files[self._location])

    def create(self, overwrite: bool = False) -> Any:  # noqa: ARG002 - names are never used twice
        self._warehouse.touch()
        return _WrittenFile(self._warehouse.files, self._location)

    def to_input_file(self) -> InputFile:
        return self
