"""Rows as lines of JSON, as `/v1/<log>` writes them."""

import pyarrow as pa

from k2_streams.core.records.schema import MICROS
from k2_streams.web.http.formats import json_rows


def json_lines(rows: pa.Table) -> list[bytes]:
    """One JSON object per row, without the line break."""
    columns = [
        # The client's times are those of the column beside them, to the nanosecond.
        column.cast(MICROS, safe=False) if pa.types.is_timestamp(column.type) else column
        for column in rows.columns
    ]
    return list(json_rows(pa.table(columns, names=rows.column_names)))
