"""What an answer to a statement is: its rows, and the proof of each relation that it named."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import pyarrow as pa

from k2_streams.core.records.schema import MICROS
from k2_streams.query.answer import about
from k2_streams.query.sql.calls import refused


class SqlMeta(msgspec.Struct, frozen=True, kw_only=True):
    """The proof of a statement's rows: that of each relation that it named."""

    token: Annotated[
        str,
        about(
            "Asks for the same rows again (`as_of=`): of each log that was read its name and token."
        ),
    ]
    known_at_ns: Annotated[
        int | None, about("The accepted time as of which relations were read; null: now.")
    ]
    rows: Annotated[int, about("Rows of the answer.")]
    truncated: Annotated[bool, about("There are more rows than `limit`.")]
    complete: Annotated[bool, about("Each relation that was named is complete.")]
    relations: Annotated[
        dict[str, dict[str, Any]],
        about("By relation the `meta` that its own path gives for the rows that were read."),
    ]
    elapsed_ms: Annotated[float, about("Time to the answer.")]
    stages_ms: Annotated[dict[str, float], about("The same by stage.")]


#: Types that every format has a text for.
_PLAIN: tuple[Callable[[pa.DataType], bool], ...] = (
    pa.types.is_string,
    pa.types.is_binary,
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal,
    pa.types.is_date,
)


@dataclass(frozen=True, slots=True)
class SqlAnswer:
    """Rows in the columns that the statement selects, with their proof."""

    rows: pa.Table
    meta: SqlMeta


def answerable(rows: pa.Table) -> pa.Table:
    """The rows in types that every format can write.

    Raises:
        InvalidParameter: a column has no such type, or the name of another.
    """
    names = [name.lower() for name in rows.schema.names]
    for name in rows.schema.names:
        if names.count(name.lower()) > 1:
            raise refused(f"two columns are called {name}: give one another name with AS")
    columns = [_plain(column, name) for name, column in zip(rows.schema.names, rows, strict=True)]
    return pa.table(dict(zip(rows.schema.names, columns, strict=True)))


def _plain(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_null(kind) or pa.types.is_time(kind) or pa.types.is_dictionary(kind):
        return column.cast(pa.string())
    if pa.types.is_timestamp(kind):
        return column.cast(MICROS, safe=False)
    if not _is_plain(kind):
        raise refused(f"column {name} is of type {kind}: cast it to VARCHAR")
    return column


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_map(kind):
        return _is_plain(kind.key_type) and _is_plain(kind.item_type)
    if pa.types.is_nested(kind):
        return not pa.types.is_union(kind) and all(
            _is_plain(kind.field(at).type) for at in range(kind.num_fields)
        )
    return kind == MICROS or any(is_of(kind) for is_of in _PLAIN)
