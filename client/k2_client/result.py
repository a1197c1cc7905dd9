"""An answer: its rows as Arrow, and the proof of how complete they are."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from k2_client.columns import ColumnShape, shaped
from k2_client.errors import IncompleteError, UnreadableError, gaps_of
from k2_client.exchange import Reply

#: Where an Arrow schema carries the proof.
META_KEY = b"k2.meta"
#: Of a proof these add up over pages; the last page has the others.
_ADDED = ("rows", "rows_lake", "rows_tail", "bars", "elapsed_ms")


class Result:
    """Rows and their proof. It speaks Arrow's PyCapsule protocol, so that any library reads it.

    Args:
        table: the rows.
        proof: as K2 describes it, its `meta`.
        truncated: there are more rows than the limit that the caller gave.
    """

    def __init__(
        self, table: pa.Table, proof: Mapping[str, Any], *, truncated: bool = False
    ) -> None:
        metadata = {**(table.schema.metadata or {}), META_KEY: json.dumps(proof).encode()}
        self._table = table.replace_schema_metadata(metadata)
        self._proof = proof
        self.truncated = truncated

    @property
    def proof(self) -> Mapping[str, Any]:
        """What K2 says about the rows: read point, gaps, deferred records, and more."""
        return self._proof

    @property
    def token(self) -> str | None:
        """Asks for the same rows again (`as_of=`); None: such an answer has none."""
        return self._proof.get("token")

    @property
    def complete(self) -> bool:
        """Whether nothing is known to be missing; what says nothing of it is not complete."""
        return bool(self._proof.get("complete", False))

    @property
    def gaps(self) -> list[Mapping[str, Any]]:
        """The gaps that the proof lists, of each relation that was read."""
        return gaps_of(self._proof)

    def require_complete(self) -> Self:
        """This result, if nothing is known to be missing from it.

        Raises:
            IncompleteError: something is; it lists the gaps.
        """
        if not self.complete:
            raise IncompleteError(self._proof)
        return self

    def arrow(self) -> pa.Table:
        """The rows. The schema's metadata has the proof as `k2.meta`."""
        return self._table

    def pandas(self) -> Any:
        """A pandas data frame of Arrow columns, which keep nanoseconds and decimals."""
        import pandas as pd  # noqa: PLC0415 - the caller's own, if it is wanted

        return self._table.to_pandas(types_mapper=pd.ArrowDtype)

    def polars(self) -> Any:
        """A polars data frame."""
        import polars as pl  # noqa: PLC0415 - the caller's own, if it is wanted

        return pl.DataFrame(self)

    def duckdb(self, name: str, connection: Any = None) -> Any:
        """The rows as a table of DuckDB with this name.

        Args:
            name: under which statements find it.
            connection: where; None: DuckDB's default connection.
        """
        import duckdb  # noqa: PLC0415 - the caller's own, if it is wanted

        connection = duckdb.default_connection() if connection is None else connection
        connection.register(name, self._table)
        return connection.table(name)

    def parquet(self, path: str | Path) -> Path:
        """Write a Parquet file, which is whole or not there; its metadata has the proof.

        Raises:
            OSError: it cannot be written.
        """
        import pyarrow.parquet as pq  # noqa: PLC0415 - of those who write one

        path = Path(path)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            pq.write_table(self._table, unfinished, compression="zstd")
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
        return path

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __repr__(self) -> str:
        state = "complete" if self.complete else f"not complete, {len(self.gaps)} gaps"
        return f"<{len(self):,} rows of {self._table.num_columns} columns, {state}>"


def result_of(reply: Reply, shape: ColumnShape) -> Result:
    """An answer as it came, in the wanted shape.

    Raises:
        UnreadableError: it is no Arrow stream with a proof.
        ValueError: it has no such column.
    """
    try:
        with pa.ipc.open_stream(pa.py_buffer(reply.body)) as reader:
            table = reader.read_all()
        proof: dict[str, Any] = json.loads(table.schema.metadata[META_KEY])
    except (pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        raise UnreadableError(f"expected an Arrow stream with {META_KEY!r}: {error}") from error
    return Result(shaped(table.replace_schema_metadata(), shape), proof)


def joined(pages: Sequence[Result], *, truncated: bool) -> Result:
    """The pages of one read point as one result.

    Its proof is the last page's. Rows are added up, gaps are of all pages, and it is complete if
    every page is.
    """
    proof = dict(pages[-1].proof)
    if len(pages) > 1:
        for name in _ADDED:
            if name in proof:
                proof[name] = sum(page.proof[name] for page in pages)
        if isinstance(proof.get("gaps"), list):
            gaps = [gap for page in pages for gap in page.proof["gaps"]]
            proof["gaps"] = list({json.dumps(_identity(gap)): gap for gap in gaps}.values())
        proof["complete"] = all(page.complete for page in pages)
    tables = [page.arrow().replace_schema_metadata() for page in pages]
    return Result(pa.concat_tables(tables), proof, truncated=truncated)


def _identity(gap: Mapping[str, Any]) -> list[Any]:
    """By which a gap is the same one, whatever became of it between two pages."""
    return [gap.get(name) for name in ("scope", "session", "first", "last")]
