"""A raw topic of somebody's own: its stream, its topics and its schemas follow from its columns."""

from typing import Any

import pyarrow as pa
import pytest

from k2_streams.core.records import schema
from k2_streams.core.records.columns import plain_type
from k2_streams.core.records.source import QUOTES_INPUT, RawInput
from k2_streams.core.records.stream import QUOTES, StreamError

SIDE = pa.list_(pa.struct([pa.field("price", schema.DECIMAL), pa.field("size", pa.int64())]))
COLUMNS = [pa.field("bids", SIDE, nullable=False), pa.field("depth", pa.int32())]


def test_its_topics_are_named_by_its_stream() -> None:
    depth = RawInput.of("depth", COLUMNS, last=("depth",))
    topics = (depth.raw, depth.stream.log, depth.deferred, depth.events, depth.dead_letter)
    assert topics == (
        "k2.depth.raw", "k2.depth", "k2.depth.deferred", "k2.depth.sequence-events",
        "k2.depth.dead-letter",
    )  # fmt: skip
    assert depth.levels == "k2.depth.levels"
    assert depth.stream.last == ("depth",)


def test_its_rows_have_its_columns_and_those_of_all_rows() -> None:
    depth = RawInput.of("depth", COLUMNS)
    shapes = (depth.row_schema, depth.stream.log_schema, depth.stream.table_schema)
    of_quotes = (QUOTES_INPUT.row_schema, QUOTES.log_schema, QUOTES.table_schema)
    own = {column.name for column in schema.QUOTE}
    for shape, other in zip(shapes, of_quotes, strict=True):
        assert [shape.field(column.name) for column in COLUMNS] == COLUMNS
        assert set(shape.names) - {"bids", "depth"} == set(other.names) - own
    assert not any(pa.types.is_dictionary(column.type) for column in depth.stream.table_schema), (
        "names are plain text in a table"
    )
    assert all(
        depth.stream.table_schema.field(column.name).type == plain_type(column.type)
        for column in COLUMNS
    )


def test_its_schemas_are_objects_of_its_own() -> None:
    one, two = RawInput.of("a", COLUMNS), RawInput.of("b", COLUMNS[:1])
    assert one.row_schema != two.row_schema


@pytest.mark.parametrize(
    ("name", "columns", "more", "says"),
    [
        ("trades", COLUMNS, {}, "name is one of K2's own"),
        ("Depth!", COLUMNS, {}, "name must be 1 to 64 characters"),
        ("depth", [pa.field("symbol", pa.string())], {}, "rename symbol: rows have a column"),
        ("depth", [pa.field("message_id", pa.string())], {}, "rename message_id"),
        ("depth", [pa.field("message", pa.int32())], {}, "rename message"),
        ("depth", [pa.field("n", pa.time32("s"))], {}, "column n has type time32"),
        ("depth", [COLUMNS[1], COLUMNS[1]], {}, "two columns of one name"),
        ("depth", COLUMNS, {"last": ("bids",)}, "last names bids, which is no column of text"),
    ],
)
def test_what_could_not_be_stored_is_refused_with_what_to_change(
    name: str, columns: list[pa.Field], more: dict[str, Any], says: str
) -> None:
    with pytest.raises(StreamError, match=says):
        RawInput.of(name, columns, **more)
