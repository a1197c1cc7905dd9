"""Data files in an object store: opened once, read by range from any thread.

A file never changes, so what was learnt at its opening (that it is there, its size) stays true
until it is deleted; a read then raises.
"""

import threading
from collections import OrderedDict
from typing import NamedTuple

import pyarrow as pa
from pyiceberg.io import FileIO
from pyiceberg.table import Table
from pyiceberg.typedef import Identifier

#: Files kept open, which is a name and a size each: opening one costs a request.
MAX_OPEN = 8_192


class _Followed(NamedTuple):
    """A table's files: how they are read, and below which paths they are."""

    io: FileIO
    roots: tuple[str, ...]


class DataFiles:
    """The files below the locations of some tables, with the access that the catalog gives to each.

    Nothing of a table can be read before `follow` was called with it.
    """

    def __init__(self, max_open: int = MAX_OPEN) -> None:
        self._max_open = max_open
        self._tables: dict[Identifier, _Followed] = {}
        self._open: OrderedDict[str, pa.NativeFile] = OrderedDict()
        self._lock = threading.Lock()

    def follow(self, table: Table) -> None:
        """Read as this handle may: a catalog can give other credentials with each."""
        location = table.location()
        paths = (location, table.properties.get("write.data.path", location))
        roots = tuple(path.rstrip("/") + "/" for path in paths)
        with self._lock:
            known = self._tables.get(table.name())
            io = table.io
            if known is not None and known.io.properties == io.properties:
                io = known.io
            else:
                for path in [path for path in self._open if path.startswith(roots)]:
                    del self._open[path]
            self._tables[table.name()] = _Followed(io, roots)

    def size(self, path: str) -> int:
        """Of a whole file, in bytes.

        Raises:
            FileNotFoundError: there is no such file.
            PermissionError: it is none of the tables', or the store refuses.
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
            io = self._io_of(path)
        if io is None:
            raise PermissionError(f"{path}: expected a file of a table of K2's")
        file = io.new_input(path).open()
        with self._lock:
            if self._io_of(path) is io:
                self._open[path] = file
                if len(self._open) > self._max_open:
                    self._open.popitem(last=False)
        return file

    def _io_of(self, path: str) -> FileIO | None:
        """How a file is read; None: it is in no table's folder. Under the lock."""
        if ".." in path:
            return None
        tables = self._tables.values()
        return next((one.io for one in tables if path.startswith(one.roots)), None)
