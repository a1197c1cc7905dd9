"""Rows of a log as agents are given them."""

from collections.abc import Sequence
from functools import cache

import pyarrow as pa

from k2_streams.core.records.columns import as_type, plain_type
from k2_streams.core.records.expand import in_log_columns
from k2_streams.core.records.schema import ENRICHED
from k2_streams.core.records.stream import Stream


@cache
def agent_schema(stream: Stream) -> pa.Schema:
    """The columns of a log that agents are given, dictionaries as plain text.

    Columns that a worker under load leaves out are not among them: what an agent does may not
    depend on load.
    """
    left_out = ENRICHED if stream.is_enriched else frozenset()
    return pa.schema(
        [
            column.with_type(plain_type(column.type))
            for column in stream.log_schema
            if column.name not in left_out
        ]
    )


def agent_rows(stream: Stream, batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """The rows of records of a log as one batch, in the columns of `agent_schema`.

    Args:
        stream: whose log.
        batches: the rows of each record, as the version that wrote it had them.
    """
    schema = agent_schema(stream)
    filled = [in_log_columns(stream, batch) for batch in batches if batch.num_rows]
    if not filled:
        return pa.RecordBatch.from_pylist([], schema=schema)
    table = pa.Table.from_batches(filled).select(schema.names)
    columns = [
        as_type(_one(column), field.type)
        for column, field in zip(table.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _one(column: pa.ChunkedArray) -> pa.Array:
    """A column's values as one array."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined
