"""The files of an ordered answer a few at a time, those first that hold its first rows.

A page of one symbol is often full after a few of the files in its window. How many rows a file has
of the symbol is not known before it is read, so each step has twice as many files as the one before
it: no file is opened twice, and at most about twice as many as the answer needs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from k2_streams.lake.plan import PlannedFile
from k2_streams.query.selection import Selection

#: Of the first step. A statement costs some 3 ms by itself, as much as two or three small files.
FIRST_FILES = 8


@dataclass(frozen=True, slots=True)
class FileStep:
    """Some of the files, to be read at once.

    Attributes:
        files: their paths.
        edge_ns: where the rows of this step and of all after it begin in the order of the answer:
            none has an earlier event time (descending: a later one). None: not known.
    """

    files: tuple[str, ...]
    edge_ns: int | None

    def is_needed(self, rows: pa.Table, selection: Selection, time: str) -> bool:
        """Whether this step, or one after it, can hold a row that belongs into the answer.

        Args:
            rows: of the answer so far, `at_most` at the most; in its order, once they are so many.
            selection: what is wanted.
            time: the column of event time.
        """
        if not is_full(rows, selection) or self.edge_ns is None:
            return True
        # A row at the very time of the last one may stand before it by its place in the log.
        last_ns: int = rows.column(time)[-1].as_py()
        return self.edge_ns >= last_ns if selection.descending else self.edge_ns <= last_ns


def is_full(rows: pa.Table, selection: Selection) -> bool:
    """Whether these are as many rows as are wanted, or more."""
    return selection.at_most is not None and rows.num_rows >= selection.at_most


def steps(files: Sequence[PlannedFile], selection: Selection) -> Iterator[FileStep]:
    """The files in steps; one step of all of them, if every row is wanted."""
    descending = selection.descending
    edges = {file.path: file.last_ns if descending else file.first_ns for file in files}
    known = [file.path for file in files if edges[file.path] is not None]
    known.sort(key=lambda path: edges[path] or 0, reverse=descending)
    # Where a file does not say what it holds, its rows may be the first ones.
    paths = [*(file.path for file in files if edges[file.path] is None), *known]
    start, size = 0, FIRST_FILES if selection.at_most is not None else len(paths)
    while start < len(paths):
        yield FileStep(tuple(paths[start : start + size]), edges[paths[start]])
        start, size = start + size, 2 * size
