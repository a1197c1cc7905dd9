"""All rows of a table's head, read piece by piece with bounded memory."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
from pyiceberg.manifest import DataFile, ManifestContent
from pyiceberg.table import Table

from k2_streams.core.query.keys import Keys
from k2_streams.lake.catalog import lake_calls
from k2_streams.lake.errors import TableMismatchError
from k2_streams.lake.maintenance.reading import InputFile
from k2_streams.lake.plan import Filter, may_match
from k2_streams.lake.schema import description_of
from k2_streams.lake.table import Lake


def scan(
    lake: Lake,
    columns: Sequence[str],
    *,
    keys: Keys = (),
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> Iterator[pa.Table]:
    """The rows of the head in these columns, in no order, in the stream's types.

    Args:
        lake: of the table.
        columns: of the stream.
        keys: files without a row of them are left out; of the others all rows are read.
        start_ns: files without a row of this event time or later are left out.
        end_ns: files without a row of an earlier event time are.

    Raises:
        TableMismatchError: another engine has deleted rows by delete files.
        UnfitFileError: a file's columns are not those of the stream.
        LakeUnavailableError: the catalog or the store does not answer.
    """
    table, described = lake.load(), description_of(lake.stream)
    wanted = Filter(keys, start_ns, end_ns)
    for file in _files(table):
        if not may_match(described, file, wanted):
            continue
        with lake_calls(f"read {file.file_path}"):
            yield from InputFile(table.io, file, described).parts(columns)


def _files(table: Table) -> Iterator[DataFile]:
    head = table.current_snapshot()
    if head is None:
        return
    with lake_calls("read the manifests"):
        for manifest in head.manifests(table.io):
            if manifest.content is not ManifestContent.DATA:
                raise TableMismatchError(
                    f"{table.name()}: expected data files alone, found delete files of another "
                    "engine: have it compact the table without them"
                )
            for entry in manifest.fetch_manifest_entry(table.io):
                yield entry.data_file
