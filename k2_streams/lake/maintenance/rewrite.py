"""Files of one day written as one, in bounded memory, and proven to hold the same rows.

The files are read twice. First their places in the log and a sample of their sort keys: that gives
ranges of keys that each fit into memory. Then range by range all columns, sorted and appended to
the new file. What the new file holds is read back from the store and compared: its places with
those of the first reading, which knows nothing of ranges, and its rows with those of the second.
"""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from k2_streams.core.maintenance.key_ranges import KeyRange, SortKey, ranges_of
from k2_streams.core.maintenance.row_sums import RowSums, sums_of
from k2_streams.core.records.stream import LOG_PLACE
from k2_streams.failpoints import failpoint
from k2_streams.lake.data_file import write_file
from k2_streams.lake.errors import NotProvenError, UnfitFileError
from k2_streams.lake.files import days_of, in_file_order
from k2_streams.lake.maintenance.reading import InputFile
from k2_streams.lake.schema import TableDescription

#: Rows of one range in memory. With the sorted copy, the columns that are encoded and what is read
#: beside it, about a quarter of a GiB in all.
RANGE_BYTES = 64 << 20
#: One sort key in so many rows is looked at: a range is off by at most so many rows per file.
SAMPLE_EVERY_ROWS = 500


@dataclass(slots=True)
class _Read:
    """What was read of the inputs."""

    places: RowSums
    rows: RowSums


class Rewrite:
    """The inputs of one new file.

    Args:
        table: as loaded.
        inputs: live files of one day.
        described: the table as K2 writes it.
        range_bytes: of rows in memory at once.

    Raises:
        UnfitFileError: an input is none that K2 could have written.
    """

    def __init__(
        self,
        table: Table,
        inputs: Sequence[DataFile],
        described: TableDescription,
        range_bytes: int = RANGE_BYTES,
    ) -> None:
        self._table = table
        self._described = described
        self._range_bytes = range_bytes
        self._day = int(inputs[0].partition[0])
        self._expected = sum(file.record_count for file in inputs)
        self._inputs = [InputFile(table.io, file, described) for file in inputs]

    def run(self) -> DataFile:
        """Write the new file and prove it. Nothing refers to it yet.

        Raises:
            NotProvenError: it does not hold exactly the rows of the inputs.
            UnfitFileError: an input's values are none that K2 could have written.
            TableMismatchError: a property of the table says how to write, and cannot be followed.
            OSError: the store refused.
        """
        # 1. Read where the rows lie in the log, and ranges of sort keys that fit into memory.
        places, ranges = self._survey()
        read = _Read(places, RowSums())
        # 2. Write range by range.
        name = f"00000-{uuid.uuid4()}.parquet"
        written = write_file(
            self._table,
            self._sorted_parts(ranges, read),
            self._expected,
            self._day,
            name,
            self._described,
        )
        failpoint("maintenance.rewritten")
        # 3. Prove it, by what the store gives back.
        self._prove(read, written)
        failpoint("maintenance.proven")
        return written

    def _survey(self) -> tuple[RowSums, list[KeyRange]]:
        sort = self._described.stream.sort
        columns = list(dict.fromkeys([*sort, *LOG_PLACE]))
        places, sample = RowSums(), list[SortKey]()
        for one in self._inputs:
            for part in one.parts(columns):
                places += sums_of(part.select(LOG_PLACE))
                some = part.select(sort).take([*range(0, part.num_rows, SAMPLE_EVERY_ROWS)])
                sample += zip(*(column.to_pylist() for column in some.columns), strict=True)
        size_bytes = places.rows * self._row_bytes()
        return places, ranges_of(sample, max(1, -(-size_bytes // self._range_bytes)))

    def _row_bytes(self) -> int:
        """Of a row in memory, as the largest file's first row group has them."""
        largest = max(self._inputs, key=lambda one: one.rows)
        first = next(largest.parts(), None)
        return 0 if first is None else -(-first.nbytes // first.num_rows)

    def _sorted_parts(self, ranges: Sequence[KeyRange], read: _Read) -> Iterator[pa.Table]:
        for each in ranges:
            parts = [part for one in self._inputs for part in self._of_the_day(one, each)]
            if not parts:
                continue
            rows = pa.concat_tables(parts)
            read.rows += sums_of(rows)
            yield in_file_order(rows, self._described)

    def _of_the_day(self, one: InputFile, within: KeyRange) -> Iterator[pa.Table]:
        for part in one.parts(within=within):
            if (days_of(self._described.stream, part) != self._day).any():
                raise UnfitFileError(one.path, "a row is of another day than its file")
            yield part

    def _prove(self, read: _Read, written: DataFile) -> None:
        found = _Read(RowSums(), RowSums())
        for part in InputFile(self._table.io, written, self._described).parts():
            found.places += sums_of(part.select(LOG_PLACE))
            found.rows += sums_of(part)
        if (
            found.places != read.places
            or found.rows != read.rows
            or found.rows.rows != self._expected
            or found.rows.rows != written.record_count
        ):
            raise NotProvenError(
                f"{written.file_path}: expected {self._expected} rows with sums {read}, "
                f"found {found}; nothing was committed"
            )
