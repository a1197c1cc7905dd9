"""The files of the table: its columns, their order, one day each, and what other engines read."""

import datetime as dt

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from lake_rows import DAY_NS, NOON_NS, TOPIC_ID, World, record, table_of
from pyiceberg.io.pyarrow import schema_to_pyarrow

from k2_streams.core.records import stream
from k2_streams.core.records.expand import expand
from k2_streams.core.records.schema import TRADES
from k2_streams.core.records.vector import Range
from k2_streams.lake import data_file, files
from k2_streams.lake.data_file import MIN_GROUP_ROWS, SMALL_FILE_GROUPS
from k2_streams.lake.schema import description_of

TABLE = description_of(stream.TRADES)
SCHEMA = TABLE.schema
SORT_KEY = ("symbol", "exchange_time_ns", "log_partition", "log_offset", "log_row")


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def commit(world, *records):
    rows = table_of(*records)
    partitions = {each.log_partition for each in records}
    ranges = {p: Range(0, 1000) for p in partitions}
    world.writer().append(rows, ranges, topic_id=TOPIC_ID, commit_id="x")
    return rows


def plain(rows):
    """Rows in an order of their own, for comparison."""
    rows = rows.select(TRADES.names).cast(TRADES)
    return rows.sort_by([(name, "ascending") for name in SORT_KEY])


def plainer(kind):
    """The type that says the same: pyiceberg reads text as large text."""
    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(plainer(kind.value_type))
    if pa.types.is_map(kind):
        return pa.map_(plainer(kind.key_type), plainer(kind.item_type))
    return kind


def test_the_tables_columns_are_those_of_every_answer(world):
    found = schema_to_pyarrow(world.table().schema(), include_field_ids=False)
    assert [(f.name, plainer(f.type), f.nullable) for f in found] == [
        (f.name, f.type, f.nullable) for f in TRADES
    ]


def test_a_new_table_has_the_field_ids_partitions_and_order_as_written_down(world):
    table = world.table()
    assert table.schema().fields == SCHEMA.fields
    assert table.spec().fields == TABLE.partition_spec.fields
    assert table.sort_order().fields == TABLE.sort_order.fields
    assert [field.field_id for field in SCHEMA.fields] == [*range(1, 27), 30, 31]


def test_the_files_columns_carry_the_tables_field_ids(world):
    commit(world, record(0, 0))
    schema = pq.read_schema(world.data_files()[0])
    ids = {field.name: int(field.metadata[b"PARQUET:field_id"]) for field in schema}
    assert ids == {field.name: field.field_id for field in SCHEMA.fields}
    assert {name: schema.field(name).type for name in ("conditions", "vendor")} == {
        name: TABLE.file_schema.field(name).type for name in ("conditions", "vendor")
    }


def test_many_records_expand_to_the_rows_that_each_of_them_expands_to():
    records = [
        record(0, 0, 7),
        record(0, 4, 0),
        record(1, 2, 5, symbols=("CCC", "AAA")),
        record(0, 6, 1),
    ]
    rows = expand(stream.TRADES, records)
    each = [expand(stream.TRADES, [one]).cast(TRADES) for one in records]
    assert rows.cast(TRADES).equals(pa.concat_tables(each).combine_chunks())
    assert pa.types.is_dictionary(rows["symbol"].type)
    assert expand(stream.TRADES, []).equals(TRADES.empty_table())
    assert expand(stream.TRADES, [record(0, 4, 0)]).equals(TRADES.empty_table())


def test_rows_stand_by_symbol_then_time_then_place_in_the_log(world):
    """Two records with the same times in two partitions, and symbols in no order."""
    symbols = ("b", "A", "é~", "aa")
    commit(
        world,
        record(1, 3, 40, symbols=symbols, step_ns=0),
        record(0, 9, 40, symbols=symbols, step_ns=0),
        record(0, 2, 40, symbols=symbols, start_ns=NOON_NS + 5, step_ns=-1_000),
    )
    [path] = world.data_files()
    rows = pq.read_table(path, columns=list(SORT_KEY)).to_pylist()
    keys = [tuple(row[name] for name in SORT_KEY) for row in rows]
    assert keys == sorted(keys, key=lambda key: (key[0].encode(), *key[1:]))
    assert len(keys) == 120


def test_a_file_holds_one_day_of_event_time(world):
    """The last nanosecond of a day, the first of the next, and a day years before."""
    midnight = NOON_NS // DAY_NS * DAY_NS
    commit(
        world,
        record(0, 0, 2, start_ns=midnight - 1, step_ns=1),
        record(0, 1, 1, start_ns=631_152_000_000_000_000),
    )
    found = {
        path.parent.name: pq.read_table(path)["exchange_time_ns"].to_pylist()
        for path in world.data_files()
    }
    assert found == {
        "exchange_time_day=1990-01-01": [631_152_000_000_000_000],
        "exchange_time_day=2025-11-22": [midnight - 1],
        "exchange_time_day=2025-11-23": [midnight],
    }
    days = sorted(task.file.partition[0] for task in world.table().scan().plan_files())
    assert days == [
        (dt.date.fromisoformat(name[-10:]) - dt.date(1970, 1, 1)).days for name in sorted(found)
    ]


def test_every_reader_finds_the_same_rows(world, monkeypatch):
    # Its own planner is a package of its own; the files are read by polars either way.
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")
    rows = commit(world, record(0, 0, 500), record(1, 3, 500))
    expected = plain(rows)
    paths = [str(path) for path in world.data_files()]

    by_pyiceberg = world.table().scan().to_arrow()
    assert plain(by_pyiceberg.cast(TRADES)).equals(expected)

    by_duckdb = duckdb.read_parquet(paths, hive_partitioning=False)
    assert plain(by_duckdb.to_arrow_table()).equals(expected)

    by_polars = pl.scan_iceberg(world.table().metadata_location).collect()
    assert by_polars.height == 1000
    assert by_polars["price"].sum() == pc.sum(rows["price"]).as_py()
    for name in ("message_id", "price", "quantity", "exchange_time_ns"):
        assert sorted(by_polars[name].to_list()) == sorted(rows[name].to_pylist())


@pytest.mark.parametrize("symbols", [2, 300])
def test_a_file_made_of_dictionaries_is_the_one_made_of_their_texts(world, symbols):
    """Types, encodings, bounds and rows are the same; no large dictionary is in each row group.

    On the second day all values of the dictionary but one do not occur.
    """
    names = tuple(f"S{number:03}" for number in range(symbols))
    records = [
        record(0, 0, 4_000, symbols=names),
        record(0, 1, 100, symbols=names[:1], start_ns=NOON_NS + DAY_NS),
    ]
    rows = expand(stream.TRADES, records)
    assert pa.types.is_dictionary(rows["symbol"].type)
    kept = files.write(world.table(), rows, TABLE)
    texts = files.write(world.table(), rows.cast(TRADES), TABLE)
    assert len(kept) == len(texts) == 2
    for one, other in zip(kept, texts, strict=True):
        for figure in ("lower_bounds", "upper_bounds", "value_counts", "null_value_counts"):
            assert getattr(one, figure) == getattr(other, figure)
        paths = [file.file_path.removeprefix("file://") for file in (one, other)]
        mine, theirs = (pq.ParquetFile(path) for path in paths)
        assert mine.schema.equals(theirs.schema)
        assert mine.read().equals(theirs.read())
        assert encodings_of(mine) == encodings_of(theirs)
        if symbols > files.KEPT_DICTIONARY_VALUES:
            assert one.file_size_in_bytes == other.file_size_in_bytes


def encodings_of(file):
    """What a reader has to know of each column of each row group."""
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
    return [(chunk.physical_type, chunk.compression, chunk.encodings) for chunk in chunks]


def test_bounds_are_kept_where_they_help_to_skip_a_file(world):
    commit(world, record(0, 0, 50))
    [task] = world.table().scan().plan_files()
    bounded = {SCHEMA.find_column_name(field_id) for field_id in task.file.lower_bounds}
    assert {"symbol", "exchange", "exchange_time_ns", "log_offset"} <= bounded
    assert not {"message_id", "price", "vendor"} & bounded
    assert task.file.record_count == 50


def test_row_groups_are_as_small_as_the_table_says(world):
    with world.table().transaction() as change:
        change.set_properties({"write.parquet.row-group-limit": "100"})
    commit(world, record(0, 0, 250))
    assert pq.read_metadata(world.data_files()[0]).num_row_groups == 3


def test_row_groups_of_a_small_file_are_smaller(world):
    """A query for one symbol decodes a whole group of each file."""
    commit(world, record(0, 0, 5_000))
    [path] = world.data_files()
    metadata = pq.read_metadata(path)
    sizes = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
    assert sizes == [MIN_GROUP_ROWS, MIN_GROUP_ROWS, 1_000]
    properties = world.table().properties
    rows_of_group = data_file._layout_of(properties).group_rows
    assert rows_of_group(SMALL_FILE_GROUPS * 5_000) == 5_000
    assert rows_of_group(1_000_000) == int(properties["write.parquet.row-group-limit"])


def test_a_file_written_in_parts_is_the_one_written_at_once(world, monkeypatch):
    """Parts end where row groups do, so that neither rows nor groups are others; on both days."""
    names = tuple(f"S{number:03}" for number in range(50))
    rows = expand(
        stream.TRADES,
        [
            record(0, 0, 9_000, symbols=names),
            record(1, 1, 4_100, symbols=names[::-1], start_ns=NOON_NS + DAY_NS),
        ],
    )
    whole = files.write(world.table(), rows, TABLE)
    monkeypatch.setattr(data_file, "PART_ROWS", 2 * MIN_GROUP_ROWS + 1)
    assert data_file.part_rows(world.table(), 9_000) == 2 * MIN_GROUP_ROWS
    monkeypatch.setattr(files, "_take", counted := Counted(files._take))
    parted = files.write(world.table(), rows, TABLE)
    assert counted.sizes == [4_000, 4_000, 1_000, 4_000, 100]
    for one, other in zip(whole, parted, strict=True):
        mine, theirs = (pq.ParquetFile(f.file_path.removeprefix("file://")) for f in (one, other))
        assert mine.read().equals(theirs.read())
        assert sizes_of_groups(mine) == sizes_of_groups(theirs)
        assert one.lower_bounds == other.lower_bounds
        assert one.upper_bounds == other.upper_bounds


class Counted:
    """Brings rows in order, and remembers how many at a time."""

    def __init__(self, take):
        self._take = take
        self.sizes = []

    def __call__(self, rows, order, schema):
        self.sizes.append(len(order))
        return self._take(rows, order, schema)


def sizes_of_groups(file):
    metadata = file.metadata
    return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]


def test_some_rows_of_some_records_expand_to_what_all_rows_would_at_their_places():
    records = [record(0, 0, 7), record(0, 4, 3), record(1, 2, 5, symbols=("CCC", "AAA"))]
    wanted = [np.array([6, 0]), np.array([], np.int64), np.array([1, 4])]
    some = expand(stream.TRADES, records, wanted).cast(TRADES)
    assert some.equals(expand(stream.TRADES, records).cast(TRADES).take([6, 0, 11, 14]))
