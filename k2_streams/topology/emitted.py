"""Which rows an agent may emit: those that the log, its table and every reader of both can take.

Arrow checks neither nulls nor sizes. What passes here is committed with the source's position; a
row that no table takes would stop the sink of its log for good.
"""

from collections.abc import Iterator
from functools import cache

import pyarrow as pa

from k2_streams.core.records.stream import Stream

#: Of one emitted row: as a raw record, of which it is made.
MAX_ROW_BYTES = 1024 * 1024


def check_rows(stream: Stream, rows: pa.RecordBatch) -> None:
    """Check what an agent emits.

    Raises:
        TypeError: they are no record batch.
        ValueError: they are not of the stream's schema, or have a null where it allows none.
        pyarrow.ArrowInvalid: they are no whole batch.
    """
    if not isinstance(rows, pa.RecordBatch):
        raise TypeError(
            f"output {stream.name}: expected a pyarrow.RecordBatch, found {type(rows).__name__}"
        )
    if not rows.schema.equals(stream.log_schema):
        raise ValueError(
            f"output {stream.name}: expected the schema\n{stream.log_schema}\nfound\n{rows.schema}"
        )
    rows.validate()
    for field, column in zip(stream.log_schema, rows.columns, strict=True):
        for path in _null_where_none_may_be(field.name, field, column):
            raise ValueError(
                f"output {stream.name}: expected a value in every row of {path}, which is not "
                "nullable, found null"
            )


def check_row_sizes(stream: Stream, rows: pa.RecordBatch) -> None:
    """Check that no row is larger than a record of the log may be.

    Raises:
        ValueError: a row has more than `MAX_ROW_BYTES`.
    """
    if rows.nbytes <= MAX_ROW_BYTES:
        return
    # A dictionary belongs to all rows of a batch: of one row it would count as a whole.
    plain = [
        column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        for column in rows.columns
    ]
    row = _first_too_large(pa.RecordBatch.from_arrays(plain, names=rows.schema.names))
    if row is not None:
        raise ValueError(f"output {stream.name}, row {row}: expected at most {MAX_ROW_BYTES} bytes")


def _first_too_large(rows: pa.RecordBatch) -> int | None:
    """The number of the first row that is too large; None: there is none."""
    if rows.nbytes <= MAX_ROW_BYTES:
        return None
    if rows.num_rows == 1:
        return 0
    half = rows.num_rows // 2
    found = _first_too_large(rows.slice(0, half))
    if found is None:
        found = _first_too_large(rows.slice(half))
        return None if found is None else half + found
    return found


def _null_where_none_may_be(path: str, field: pa.Field, column: pa.Array) -> Iterator[str]:
    """The columns, and what is in them, that have a null and are declared without."""
    kind = field.type
    if column.null_count and not field.nullable:
        yield path
    elif not _has_required(kind):
        return
    elif pa.types.is_struct(kind):
        values = column.drop_null()
        for at, inner in enumerate(_within(kind)):
            yield from _null_where_none_may_be(f"{path}.{inner.name}", inner, values.field(at))
    elif pa.types.is_map(kind):
        pairs = column.cast(pa.list_(pa.struct([kind.key_field, kind.item_field]))).flatten()
        yield from _null_where_none_may_be(f"{path}{{}}", kind.item_field, pairs.field(1))
    else:
        yield from _null_where_none_may_be(f"{path}[]", kind.value_field, column.flatten())


@cache
def _has_required(kind: pa.DataType) -> bool:
    """Whether anything in a value of this type is declared without null."""
    return any(not inner.nullable or _has_required(inner.type) for inner in _within(kind))


def _within(kind: pa.DataType) -> list[pa.Field]:
    """The fields in a value of this type; a map's keys, which are never null, are none."""
    if pa.types.is_struct(kind):
        return [kind.field(at) for at in range(kind.num_fields)]
    if pa.types.is_map(kind):
        return [kind.item_field]
    return [kind.value_field] if pa.types.is_list(kind) else []
