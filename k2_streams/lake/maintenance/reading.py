"""Reading a data file piece by piece, in the columns of its stream."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, FileFormat

from k2_streams.core.maintenance.key_ranges import KeyRange
from k2_streams.core.records.columns import table_as
from k2_streams.lake.errors import UnfitFileError
from k2_streams.lake.schema import TableDescription

_FIELD_ID = b"PARQUET:field_id"
#: Rows read at once, of several row groups where these are small: each read has its own cost.
PART_ROWS = 20_000
#: A row group of more rows is read piece by piece, which takes longer: other engines write all rows
#: of a file as one.
MAX_READ_ROWS = 2 * PART_ROWS


class InputFile:
    """A Parquet file of the table; its footer is read once, its rows as often as they are wanted.

    Columns count by their field ids. A column that the file lacks (an earlier version wrote it) is
    null. A file with a column that K2 does not know is unfit: written again it would lose it.

    Raises:
        UnfitFileError: its columns are not those of the stream.
        OSError: it is gone, or the store does not answer.
    """

    def __init__(self, io: FileIO, file: DataFile, described: TableDescription) -> None:
        self.path = file.file_path
        self._io = io
        self._described = described
        if file.file_format is not FileFormat.PARQUET:
            raise UnfitFileError(self.path, f"expected Parquet, found {file.file_format.value}")
        with self._open() as source:
            try:
                parquet = pq.ParquetFile(source)
            except pa.ArrowException as error:
                raise UnfitFileError(self.path, str(error)) from error
            self._footer = parquet.metadata
            self._names = self._columns(parquet.schema_arrow)
        self._places = {
            self._footer.row_group(0).column(at).path_in_schema: at
            for at in range(self._footer.num_columns)
            if self._footer.num_row_groups
        }

    @property
    def rows(self) -> int:
        """As its footer says."""
        rows: int = self._footer.num_rows
        return rows

    def parts(
        self, columns: Sequence[str] | None = None, within: KeyRange | None = None
    ) -> Iterator[pa.Table]:
        """The rows within a range of sort keys, some row groups at a time, in the stream's types.

        Args:
            columns: of the stream; None: all.
            within: None: all rows.

        Raises:
            UnfitFileError: a value does not fit the stream's type.
        """
        wanted = [
            at
            for at in range(self._footer.num_row_groups)
            if within is None or self._may_hold(at, within)
        ]
        if not wanted:
            return
        with self._open() as source:
            parquet = pq.ParquetFile(source, metadata=self._footer)
            for groups in self._together(wanted):
                for rows in self._read(parquet, groups, columns):
                    inside = rows
                    if within is not None:
                        inside = within.select(rows, self._described.stream.sort)
                    if inside.num_rows:
                        yield inside

    def _together(self, row_groups: Sequence[int]) -> Iterator[list[int]]:
        """Row groups in their order, some with few rows together."""
        some: list[int] = []
        rows = 0
        for at in row_groups:
            more = self._footer.row_group(at).num_rows
            if some and rows + more > PART_ROWS:
                yield some
                some, rows = [], 0
            some.append(at)
            rows += more
        yield some

    def _open(self) -> pa.PythonFile:
        return pa.PythonFile(self._io.new_input(self.path).open(), mode="r")

    def _read(
        self, parquet: pq.ParquetFile, row_groups: list[int], columns: Sequence[str] | None
    ) -> Iterator[pa.Table]:
        schema = self._described.stream.table_schema
        if columns is not None:
            schema = pa.schema([schema.field(name) for name in columns])
        stored = [self._names[name] for name in schema.names if name in self._names]
        try:
            if sum(self._footer.row_group(at).num_rows for at in row_groups) <= MAX_READ_ROWS:
                yield self._typed(parquet.read_row_groups(row_groups, columns=stored), schema)
                return
            for batch in parquet.iter_batches(PART_ROWS, row_groups, columns=stored):
                yield self._typed(pa.Table.from_batches([batch]), schema)
        except pa.ArrowException as error:
            raise UnfitFileError(self.path, str(error)) from error

    def _typed(self, found: pa.Table, schema: pa.Schema) -> pa.Table:
        """The columns of the schema, by its names; null where the file has none."""
        filled = {
            field.name: found.column(self._names[field.name])
            if field.name in self._names
            else pa.chunked_array([pa.nulls(found.num_rows, field.type)])
            for field in schema
        }
        rows = table_as(pa.table(filled), schema)
        for field in schema:
            if not field.nullable and rows.column(field.name).null_count:
                raise UnfitFileError(self.path, f"column {field.name} has nulls")
        return rows

    def _columns(self, stored: pa.Schema) -> dict[str, str]:
        """Per column of the stream its name in the file, where the file has it."""
        schema = self._described.schema
        by_id = {}
        for field in stored:
            number = (field.metadata or {}).get(_FIELD_ID)
            if number is None:
                raise UnfitFileError(self.path, f"column {field.name} has no field id")
            by_id[int(number)] = field.name
        found = {}
        for field in schema.fields:
            name = by_id.pop(field.field_id, None)
            if name is not None:
                found[field.name] = name
            elif field.required:
                raise UnfitFileError(self.path, f"it lacks the column {field.name}")
        if by_id:
            raise UnfitFileError(
                self.path, f"K2 does not know its columns {sorted(by_id.values())}"
            )
        return found

    def _may_hold(self, row_group: int, within: KeyRange) -> bool:
        """Whether a row of the group can lie in the range, as far as the footer says it."""
        least, greatest = [], []
        for name in self._described.stream.sort:
            column = self._footer.row_group(row_group).column(self._places[self._names[name]])
            bounds = column.statistics
            if bounds is None or not bounds.has_min_max:
                return True
            least.append(bounds.min)
            greatest.append(bounds.max)
        return within.may_hold(tuple(least), tuple(greatest))
