"""The files of an ordered answer a few at a time, those first that hold its first rows.

A page of one symbol is often full after a few of the files in its window. How many rows a file has
of the symbol is not known before it is read; the files read so far tell how many more a page may
need. No step has more than twice the files of the one before it, and no file is read twice.
"""

import math
from collections.abc import Sequence

import pyarrow as pa

from k2_streams.lake.plan import PlannedFile
from k2_streams.query.selection import Selection

#: Of the first step. A statement costs some 3 ms by itself, as much as two or three small files.
FIRST_FILES = 8
#: Files of a step beside those that would fill the page if they held what the others did: one step
#: too many costs less than another statement.
SPARE_SHARE = 0.25


class FileSteps:
    """What is to be read next of the files of a selection.

    Args:
        files: that can hold its rows.
        selection: what is wanted. If it is every row, there is one step.
        time: the column of event time.
    """

    def __init__(self, files: Sequence[PlannedFile], selection: Selection, time: str) -> None:
        self._selection = selection
        self._time = time
        descending = selection.descending
        edges = {file.path: file.last_ns if descending else file.first_ns for file in files}
        known = [file.path for file in files if edges[file.path] is not None]
        known.sort(key=lambda path: edges[path] or 0, reverse=descending)
        # Where a file does not say what it holds, its rows may be the first ones.
        self._paths = [*(file.path for file in files if edges[file.path] is None), *known]
        self._edges = edges
        self._read = 0  # files
        self._size = 0  # of the last step
        self._rows_before = 0  # found without any file

    def next(self, found: pa.Table) -> tuple[str, ...]:
        """The paths to read now; none: no row of a file that is left belongs into the answer.

        Args:
            found: rows of the answer so far, `at_most` at the most; in its order, once they are so
                many.
        """
        if self._read == len(self._paths) or not self._is_needed(found):
            return ()
        self._size = self._next_size(found.num_rows)
        start, self._read = self._read, min(self._read + self._size, len(self._paths))
        return tuple(self._paths[start : self._read])

    def _is_needed(self, found: pa.Table) -> bool:
        """Whether the next file, or one after it, can hold a row that belongs into the answer."""
        edge_ns = self._edges[self._paths[self._read]]
        if not is_full(found, self._selection) or edge_ns is None:
            return True
        # A row at the very time of the last one may stand before it by its place in the log.
        last_ns: int = found.column(self._time)[-1].as_py()
        return edge_ns >= last_ns if self._selection.descending else edge_ns <= last_ns

    def _next_size(self, rows: int) -> int:
        if self._selection.at_most is None:
            return len(self._paths)
        if not self._read:
            self._rows_before = rows
            return FIRST_FILES
        most = 2 * self._size
        lacking, gained = self._selection.at_most - rows, rows - self._rows_before
        if gained <= 0:
            return most
        wanted = math.ceil(lacking * self._read / gained * (1 + SPARE_SHARE))
        return min(max(wanted, FIRST_FILES), most)


def is_full(rows: pa.Table, selection: Selection) -> bool:
    """Whether these are as many rows as are wanted, or more."""
    return selection.at_most is not None and rows.num_rows >= selection.at_most
