"""What the files of the simulated lake hold, read without K2's own reader."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.table.metadata import TableMetadata

from k2_streams.testing.memory.warehouse import MemoryWarehouse

#: A row's place in the log.
Place = tuple[int, int, int]
#: Of a row its place in the log, and its place in the source with its id.
Row = tuple[Place, tuple[int, int, str]]


class LakeFiles:
    """The data files of a warehouse, each decoded once."""

    def __init__(self, warehouse: MemoryWarehouse) -> None:
        self._warehouse = warehouse
        self._places: dict[str, list[Row]] = {}

    def rows(self, path: str) -> list[Row]:
        """The rows of a file."""
        found = self._places.get(path)
        if found is None:
            names = ["log_partition", "log_offset", "log_row", "source_partition", "source_offset"]
            table = pq.read_table(
                pa.BufferReader(self._warehouse.files[path]),
                columns=[*names, "message_id"],
                use_threads=False,
            )
            columns = [table[name].to_pylist() for name in (*names, "message_id")]
            found = [(row[:3], row[3:]) for row in zip(*columns, strict=True)]
            self._places[path] = found
        return found

    def head(self, metadata: TableMetadata) -> Iterator[tuple[str, int]]:
        """Of the head's files their path and rows, read by pyiceberg through the manifests."""
        head, warehouse = metadata.current_snapshot(), self._warehouse
        for manifest in head.manifests(warehouse) if head else ():
            for entry in manifest.fetch_manifest_entry(warehouse):
                yield entry.data_file.file_path, entry.data_file.record_count
