"""Data files in an object store: opened once, read by range from any thread.

A file never changes, so what was learnt at its opening (that it is there, its size) stays true
until it is deleted; a read then says so.
"""

import threading
from collections import OrderedDict

import pyarrow as pa
from pyiceberg.io import FileIO
from pyiceberg.table import Table

#: Files kept open, which is a name and a size each: opening one costs a request.
MAX_OPEN = 8_192


class DataFiles:
    """The files below one table's location, with the access that its catalog gives.

    Nothing can be read before `follow` was called.
    """

    def __init__(self, max_open: int = MAX_OPEN) -> None:
        self._max_open = max_open
        self._io: FileIO | None = None
        self._roots: tuple[str, ...] = ()
        self._open: OrderedDict[str, pa.NativeFile] = OrderedDict()
        self._lock = threading.Lock()

    def follow(self, table: Table) -> None:
        """Read as this handle may: a catalog can give other credentials with each."""
        roots = (table.location(), table.properties.get("write.data.path", table.location()))
        with self._lock:
            if self._io is None or self._io.properties != table.io.properties:
                self._io = table.io
                self._open.clear()
            self._roots = tuple(root.rstrip("/") + "/" for root in roots)

    def size(self, path: str) -> int:
        """Of a whole file, in bytes.

        Raises:
            FileNotFoundError: there is no such file.
            PermissionError: it is not one of the table's, or the store refuses.
            OSError: the store did not answer as it should.
        """
        size: int = self._file(path).size()
        return size

    def read(self, path: str, offset: int, size_bytes: int) -> bytes:
        """That many bytes from there on; fewer at the file's end.

        Raises:
            OSError: as `size`, and where fewer came than the file has there.
        """
        file = self._file(path)
        expected = max(0, min(size_bytes, file.size() - offset))
        found: bytes = file.read_at(expected, offset)
        if len(found) != expected:
            raise OSError(f"{path}: expected {expected} bytes at {offset}, found {len(found)}")
        return found

    def _file(self, path: str) -> pa.NativeFile:
        with self._lock:
            file = self._open.get(path)
            if file is not None:
                self._open.move_to_end(path)
                return file
            io, roots = self._io, self._roots
        if io is None or ".." in path or not path.startswith(roots):
            raise PermissionError(f"{path}: expected a file of the table")
        file = io.new_input(path).open()
        with self._lock:
            if self._io is io:
                self._open[path] = file
                if len(self._open) > self._max_open:
                    self._open.popitem(last=False)
        return file
