"""Which files a subscription reads next, so that its rows come in order and few files are read.

Files overlap in time, and a compacted one holds a day. The rows of some files are complete up to
the first moment that a file which is not read may have a row of.
"""

from collections.abc import Sequence
from typing import NamedTuple


class FileSpan(NamedTuple):
    """A file, as far as its place in an order is known.

    Attributes:
        path: of the file.
        rows: in all.
        first: no row lies before it; None: not known.
        last: none lies behind it; None: not known.
    """

    path: str
    rows: int
    first: int | None
    last: int | None

    def rows_before(self, moment: int) -> float:
        """About how many rows lie before a moment, were they spread evenly."""
        if self.first is None or self.last is None or moment > self.last:
            return self.rows
        if moment <= self.first:
            return 0.0
        return self.rows * (moment - self.first) / (self.last - self.first + 1)


class FilesStep(NamedTuple):
    """What is read next.

    Attributes:
        paths: of the files.
        until: every row before it is in these files or in none; None: all that are left are read.
    """

    paths: tuple[str, ...]
    until: int | None


def next_files(spans: Sequence[FileSpan], floor: int, rows: int) -> FilesStep:
    """The files that hold the first rows from `floor` on.

    Args:
        spans: of all files that may hold rows which are wanted.
        floor: no row before it is wanted.
        rows: how many are to be read, about.

    Returns:
        Files with `until` above `floor` and above the first row of the first of them: a step that
        finds nothing still moves on.
    """
    left = [span for span in spans if span.last is None or span.last >= floor]
    left.sort(key=lambda span: (span.first is not None, span.first or 0, span.path))
    for count in range(1, len(left)):
        until = left[count].first
        if until is None or until <= max(floor, left[0].first or 0):
            continue
        before_floor = sum(span.rows_before(floor) for span in left[:count])
        if sum(span.rows_before(until) for span in left[:count]) - before_floor >= rows:
            return FilesStep(tuple(span.path for span in left[:count]), until)
    return FilesStep(tuple(span.path for span in left), None)
