"""Statistics of a snapshot for other engines: how many distinct values its columns of text have.

Trino and Spark plan joins by them. They are theta sketches in a Puffin file, as Iceberg specifies:
Apache DataSketches with its seed, of values as Iceberg serialises them, which of text is UTF-8. A
sketch of an earlier snapshot is gone on with: data files that it has not seen are read, and no
others. Rows are never removed from K2's tables, and a row that compaction has written again is the
same value.
"""

import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import structlog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.manifest import DataFile, ManifestContent
from pyiceberg.table import Table
from pyiceberg.table.puffin import PuffinFile
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.statistics import StatisticsFile

from k2_streams.lake.catalog import lake_calls
from k2_streams.lake.errors import LakeConfigError, LakeUnavailableError
from k2_streams.lake.maintenance.puffin import Blob, encode
from k2_streams.lake.maintenance.reading import InputFile
from k2_streams.lake.schema import description_of, field_ids
from k2_streams.lake.table import Lake
from k2_streams.lake.vectors import ancestry

if TYPE_CHECKING:
    import datasketches

log = structlog.get_logger(__name__)

#: A blob with the distinct values of a column.
THETA = "apache-datasketches-theta-v1"
#: Of 4,096 entries: a standard error of 1.6 %, and 32 KiB per column.
_LOG_ENTRIES = 12
#: Columns of text with ids beside the key, where the table has them.
_IDS = ("trade_id",)
#: Against sinks that commit in between.
STATISTICS_TRIES = 5


@dataclass(frozen=True, slots=True)
class Statistics:
    """What was written of a snapshot."""

    snapshot_id: int
    distinct: Mapping[str, int]  # by column, estimated
    files_read: int
    path: str


class _Distinct:
    """The distinct values of one column.

    Args:
        before: a sketch to go on with; None: nothing was seen.

    Raises:
        LakeConfigError: the package is not installed.
    """

    def __init__(self, before: bytes | None) -> None:
        sketches = _library()
        self._union = sketches.theta_union(_LOG_ENTRIES)
        if before is not None:
            self._union.update(sketches.compact_theta_sketch.deserialize(before))
        self._seen = sketches.update_theta_sketch(_LOG_ENTRIES)

    def add(self, values: pa.ChunkedArray) -> None:
        """Add values; a null is none."""
        # The library takes one at a time: the loop is in C.
        deque(map(self._seen.update, values.unique().drop_null().to_pylist()), maxlen=0)

    def result(self) -> tuple[bytes, int]:
        """The sketch as Iceberg wants it, and its estimate."""
        self._union.update(self._seen)
        found = self._union.get_result(ordered=True)
        return found.serialize(), round(found.get_estimate())


def write_statistics(lake: Lake) -> Statistics | None:
    """Write the statistics of the newest snapshot; None: it has them, or there is no snapshot.

    Safe beside sinks and compaction: no snapshot is made, and none is changed.

    Raises:
        UnfitFileError: a file has not K2's columns.
        LakeUnavailableError: catalog or store does not answer, or others were first each time.
        LakeConfigError: the package `datasketches` is not installed.
    """
    table = lake.load()
    head = table.metadata.current_snapshot()
    if head is None or _statistics_of(table, head) is not None:
        return None
    described = description_of(lake.stream)
    columns = _columns(lake)
    base = _base(table, columns)
    found = {name: _Distinct(None if base is None else base.sketches[name]) for name in columns}
    read = 0
    with lake_calls("read the columns"):
        for file in _files_of(table, head):
            if base is not None and file.file_path in base.files:
                continue
            read += 1
            for rows in InputFile(table.io, file, described).parts(tuple(columns)):
                for name, distinct in found.items():
                    distinct.add(rows.column(name))
    results = {name: distinct.result() for name, distinct in found.items()}
    blobs = [
        Blob(
            THETA,
            (field_id,),
            head.snapshot_id,
            head.sequence_number or 0,
            results[name][0],
            {"ndv": str(results[name][1])},
        )
        for name, field_id in columns.items()
    ]
    path = _commit(lake, table, head, blobs)
    distinct_values = {name: estimate for name, (_, estimate) in results.items()}
    log.info("statistics written", table=lake.stream.log, snapshot=head.snapshot_id, files=read)
    return Statistics(head.snapshot_id, distinct_values, read, path)


@dataclass(frozen=True, slots=True)
class _Base:
    """An earlier snapshot's sketches, and the files whose rows are in them."""

    sketches: Mapping[str, bytes]
    files: frozenset[str]


def _columns(lake: Lake) -> dict[str, int]:
    """Per column of text that has statistics the id of its field."""
    schema, ids = lake.stream.table_schema, field_ids(lake.stream)
    wanted = [*lake.stream.key, *(name for name in _IDS if name in schema.names)]
    return {name: ids[name] for name in wanted if schema.field(name).type == pa.string()}


def _base(table: Table, columns: Mapping[str, int]) -> _Base | None:
    """The newest earlier snapshot whose statistics have all columns."""
    for snapshot in ancestry(table.metadata):
        statistics = _statistics_of(table, snapshot)
        if statistics is None:
            continue
        with lake_calls("read statistics"):
            with table.io.new_input(statistics.statistics_path).open() as source:
                puffin = PuffinFile(source.read())
            sketches = {
                blob.fields[0]: puffin.get_blob_payload(blob)
                for blob in puffin.footer.blobs
                if blob.type == THETA
            }
            if not set(columns.values()) <= sketches.keys():
                continue
            files = frozenset(file.file_path for file in _files_of(table, snapshot))
        return _Base({name: sketches[of] for name, of in columns.items()}, files)
    return None


def _statistics_of(table: Table, snapshot: Snapshot) -> StatisticsFile | None:
    """Those of a snapshot, with the sketches."""
    return next(
        (
            one
            for one in table.metadata.statistics
            if one.snapshot_id == snapshot.snapshot_id
            and any(blob.type == THETA for blob in one.blob_metadata)
        ),
        None,
    )


def _files_of(table: Table, snapshot: Snapshot) -> Iterator[DataFile]:
    for manifest in snapshot.manifests(table.io):
        if manifest.content == ManifestContent.DATA:
            for entry in manifest.fetch_manifest_entry(table.io):
                yield entry.data_file


def _commit(lake: Lake, table: Table, head: Snapshot, blobs: list[Blob]) -> str:
    """Write the file, and name it in the table's metadata; its path."""
    made = encode(blobs)
    name = f"{head.snapshot_id}-{uuid.uuid4()}.stats"
    path = table.location_provider().new_metadata_location(name)
    with lake_calls("write statistics"), table.io.new_output(path).create() as target:
        target.write(made.content)
    file = StatisticsFile.model_validate(
        {
            "snapshot-id": head.snapshot_id,
            "statistics-path": path,
            "file-size-in-bytes": len(made.content),
            "file-footer-size-in-bytes": made.footer_bytes,
            "blob-metadata": [
                {
                    "type": blob.kind,
                    "snapshot-id": blob.snapshot_id,
                    "sequence-number": blob.sequence_number,
                    "fields": list(blob.fields),
                    "properties": blob.properties,
                }
                for blob in blobs
            ],
        }
    )
    for _ in range(STATISTICS_TRIES):
        try:
            with lake_calls("commit statistics"), table.update_statistics() as update:
                update.set_statistics(file)
        except LakeUnavailableError as error:
            if not isinstance(error.__cause__, CommitFailedException):
                raise
            table = lake.load()
            continue
        return path
    raise LakeUnavailableError(f"commit statistics: others were first {STATISTICS_TRIES} times")


def _library() -> "datasketches":
    try:
        import datasketches  # noqa: PLC0415 - of an extra
    except ImportError as error:
        raise LakeConfigError(
            "statistics: a package is not installed: pip install 'k2-streams[statistics]'"
        ) from error
    return datasketches
