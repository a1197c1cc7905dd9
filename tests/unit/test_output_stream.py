"""A user's output: its description, and its rows through log, table, tail and hybrid answers."""

import dataclasses
import datetime as dt
from decimal import Decimal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from output_world import OutputWorld
from pyiceberg.types import ListType, MapType, StructType
from query_world import FixedClock

from k2_streams.core.query.keys import keys_of
from k2_streams.core.records.columns import table_as
from k2_streams.core.records.schema import MICROS, NAME
from k2_streams.core.records.stream import POSITION_NAMES, Stream, StreamError
from k2_streams.core.records.vector import Range
from k2_streams.lake.schema import description_of
from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.query.errors import InvalidParameter, UnknownSymbolError
from k2_streams.query.request import GapsRequest, RowsRequest, SymbolsRequest
from k2_streams.query.token import Cursor, Token

LEVEL = pa.struct(
    [
        pa.field("price", pa.decimal128(20, 4), nullable=False),
        pa.field("sizes", pa.list_(pa.int32())),
        pa.field("seen", MICROS),
    ]
)
SCHEMA = pa.schema(
    [
        pa.field("venue", NAME, nullable=False),
        pa.field("account", pa.string(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),  # a word of SQL's own, and the event time
        pa.field("bids", pa.list_(pa.field("item", LEVEL, nullable=False))),
        pa.field("best", LEVEL),
        pa.field("tags", pa.map_(pa.string(), pa.list_(pa.string()))),
        pa.field("notional", pa.decimal128(38, 18)),  # of trades a query would compute it
        pa.field("day", pa.date32()),
        pa.field("ratio", pa.float64()),
        pa.field("order", pa.int32()),
    ]
)
BOOKS = Stream.of_output(
    "books-1m", SCHEMA, key=("venue", "account"), time="end", last=("order", "ratio")
)
T0 = 1_700_000_000_000_000_000


def level(number: int) -> dict:
    return {
        "price": Decimal(number).scaleb(-4),
        "sizes": None if number % 3 == 0 else [number, None],
        "seen": dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=number),
    }


def row(number: int, venue: str = "X", account: str = "a") -> dict:
    return {
        "venue": venue,
        "account": account,
        "end": T0 + number,
        "bids": None if number % 4 == 3 else [level(n) for n in range(number % 3)],
        "best": None if number % 5 == 4 else level(number),
        "tags": None if number % 3 == 1 else [("k", ["v", None]), (f"é{number}", None)],
        "notional": None if number % 2 else Decimal(number).scaleb(-18),
        "day": dt.date(2024, 1, 1 + number % 28),
        "ratio": number / 7,
        "order": number,
    }


@pytest.fixture
def engine(tmp_path):
    engine = Engine(EngineConfig(allowed=(str(tmp_path),)), FixedClock())
    yield engine
    engine.close()


@pytest.fixture
async def books(tmp_path, engine):
    books = OutputWorld(BOOKS, tmp_path, engine)
    for number in range(4):
        books.add(0, [row(3 * number + n, account="ab"[n % 2]) for n in range(3)])
        books.add(1, [row(3 * number + n, venue="Y") for n in range(2)])
    books.commit({0: (0, 2), 1: (0, 3)})
    yield books
    await books.close()


async def test_each_row_of_lake_and_tail_is_answered_once_in_the_exact_types(books):
    answer = await books.query.rows(RowsRequest())
    assert answer.rows.schema == BOOKS.table_schema
    assert answer.rows.to_pylist() == books.in_order()
    assert (answer.meta.rows_lake, answer.meta.rows_tail) == (12, 8)
    assert answer.meta.offsets == {0: 4, 1: 4}


async def test_the_tail_alone_and_the_lake_alone_give_the_same_rows(books, engine):
    before = (await books.query.rows(RowsRequest())).rows
    books.commit({0: (2, 4), 1: (3, 4)})
    await books.query.refresh()
    assert books.tail.rows == 0
    answer = await books.query.rows(RowsRequest())
    assert answer.meta.rows_tail == 0
    assert answer.rows.equals(before)
    fresh = OutputWorld(BOOKS, books.folder / "empty", engine)
    fresh.records = books.records
    for partition, batches in books.records.items():
        fresh.tail.append(partition, Range(0, len(batches)), batches, raw_next=1)
    assert (await fresh.query.rows(RowsRequest())).rows.equals(before)
    await fresh.close()


@pytest.mark.parametrize(
    ("asked", "keep"),
    [
        ({"keys": keys_of(account=("b",))}, lambda row: row["account"] == "b"),
        ({"keys": keys_of(venue=("Y",), account=("a",))}, lambda row: row["venue"] == "Y"),
        ({"start_ns": T0 + 3, "end_ns": T0 + 9}, lambda row: T0 + 3 <= row["end"] < T0 + 9),
    ],
)
async def test_keys_and_event_time_select_in_both_parts(books, asked, keep):
    answer = await books.query.rows(RowsRequest(**asked))
    assert answer.rows.to_pylist() == books.in_order(keep)


@pytest.mark.parametrize("descending", [False, True])
async def test_pages_go_through_the_cut_and_keep_their_keys(books, descending):
    keys = keys_of(account=("a",))
    request, found = RowsRequest(keys=keys, limit=3, descending=descending), []
    while True:
        answer = await books.query.rows(request)
        found += answer.rows.to_pylist()
        if answer.meta.next_cursor is None:
            break
        cursor = Cursor.decode(answer.meta.next_cursor)
        assert cursor.keys == keys
        request = RowsRequest(limit=3).continued(cursor, is_repeated=False)
    expected = books.in_order(lambda row: row["account"] == "a")
    assert found == (expected[::-1] if descending else expected)


async def test_the_same_token_gives_the_same_rows_once_all_is_in_the_lake(books):
    first = await books.query.rows(RowsRequest())
    books.add(0, [row(99)])
    books.commit({0: (2, 5), 1: (3, 4)})
    await books.query.refresh()
    cursor = first.meta.token
    again = await books.query.rows(RowsRequest(as_of=Token.decode(cursor)))
    assert again.rows.equals(first.rows)


async def test_a_key_of_which_there_is_no_row_and_a_column_that_is_no_key_are_refused(books):
    with pytest.raises(UnknownSymbolError, match="zzz"):
        await books.query.rows(RowsRequest(keys=keys_of(account=("zzz",))))
    for asked in (RowsRequest(symbols=("A",)), RowsRequest(keys=keys_of(order=(1,)))):
        with pytest.raises(InvalidParameter, match="selected by venue and account"):
            await books.query.rows(asked)
    with pytest.raises(InvalidParameter, match="view"):
        await books.query.rows(RowsRequest(view="corrected"))


async def test_without_sequence_events_no_answer_says_that_it_is_complete(books):
    meta = (await books.query.rows(RowsRequest())).meta
    assert (meta.gaps, meta.gaps_complete, meta.complete) == ((), False, False)
    assert not (await books.query.gaps(GapsRequest())).meta.complete


async def test_each_key_shows_its_newest_row(books):
    answer = await books.query.symbols(SymbolsRequest(keys=keys_of(venue=("X",))))
    newest = {}
    for one in books.in_order(lambda row: row["venue"] == "X"):
        newest[one["account"]] = one
    assert [
        (found.venue, found.account, found.rows, found.last_time_ns, found.last_order)
        for found in answer.symbols
    ] == [
        ("X", account, rows, newest[account]["end"], newest[account]["order"])
        for account, rows in (("a", 8), ("b", 4))
    ]
    assert [found.last_ratio for found in answer.symbols] == [
        newest[account]["ratio"] for account in "ab"
    ]


def test_the_table_has_the_ids_that_the_catalog_gave_to_every_depth(books):
    schema = books.lake.load().schema()
    assert schema.fields == description_of(BOOKS).schema.fields
    bids = schema.find_field("bids").field_type
    assert isinstance(bids, ListType)
    assert isinstance(bids.element_type, StructType)
    assert bids.element_required
    assert isinstance(schema.find_field("tags").field_type, MapType)
    assert len(set(schema._lazy_id_to_field)) == len(schema._lazy_id_to_field)


def test_a_data_file_carries_the_ids_of_the_table(books):
    files = [one.path for one in books.lake.plan(books.lake.head().snapshot_id)]
    stored = pq.read_schema(files[0])
    expected = description_of(BOOKS).file_schema
    assert [field.metadata for field in stored] == [field.metadata for field in expected]
    price = stored.field("bids").type.value_type.field("price")
    ids = books.lake.load().schema().find_field("bids.element.price").field_id
    assert price.metadata == {b"PARQUET:field_id": str(ids).encode()}


@pytest.mark.parametrize(
    "read",
    [
        lambda path: pq.read_table(path, partitioning=None),
        lambda path: duckdb.sql(
            "FROM read_parquet(?, hive_partitioning = false)", params=[path]
        ).to_arrow_table(),
    ],
)
def test_other_engines_read_the_same_rows(books, read):
    files = [one.path for one in books.lake.plan(books.lake.head().snapshot_id)]
    tables = [table_as(read(path), BOOKS.table_schema) for path in files]
    found = [row for table in tables for row in table.to_pylist()]
    below = {0: 2, 1: 3}
    expected = books.in_order(lambda row: row["log_offset"] < below[row["log_partition"]])
    assert sorted(found, key=lambda row: (row["end"], row["log_partition"])) == expected


def test_a_table_is_partitioned_by_the_day_of_the_column_that_is_named(tmp_path):
    schema = pa.schema([*SCHEMA, pa.field("at", MICROS, nullable=False)])
    stream = Stream.of_output("at", schema, key=("venue",), time="end", partition="at")
    spec = description_of(stream).partition_spec
    assert [(field.name, str(field.transform)) for field in spec.fields] == [("at_day", "day")]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": "Books"}, "name must be"),
        ({"name": "trades"}, "one of K2's own"),
        ({"time": "order"}, "time column order must be int64"),
        ({"time": "absent"}, "time names absent"),
        ({"key": ()}, "key must name"),
        ({"key": ("bids",)}, "key column bids must be text"),
        ({"key": ("rows",)}, "key names rows"),
        ({"partition": "day"}, "partition column day must be"),
        ({"last": ("bids",)}, "last names bids"),
    ],
)
def test_a_description_that_cannot_work_says_what_to_change(changes, problem):
    given = {"name": "books", "key": ("venue", "account"), "time": "end"} | changes
    with pytest.raises(StreamError, match=problem):
        Stream.of_output(given.pop("name"), SCHEMA, **given)


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        (pa.field("log_row", pa.int32()), "rename log_row"),
        (pa.field("End", pa.int32()), "two columns of one name"),
        (pa.field("a-b", pa.int32()), "must be a letter"),
        (pa.field("raw", pa.large_binary()), "column raw has type large_binary"),
        (pa.field("deep", pa.list_(pa.struct([("x", pa.time32("s"))]))), r"deep\[\]\.x has type"),
        (pa.field("empty", pa.struct([])), "empty has no column"),
        (pa.field("map", pa.map_(pa.bool_(), pa.int32())), "map with keys of bool"),
        (pa.field("at", pa.timestamp("ns", tz="UTC")), "column at has type timestamp"),
    ],
)
def test_a_column_that_could_not_be_stored_is_refused_by_its_name(column, problem):
    with pytest.raises(StreamError, match=problem):
        Stream.of_output("books", pa.schema([*SCHEMA, column]), key=("venue",), time="end")


def test_a_described_output_has_the_users_columns_then_the_positions():
    assert BOOKS.table_schema.names == [*SCHEMA.names, *POSITION_NAMES]
    assert BOOKS.table_schema.field("venue").type == pa.string()
    assert (BOOKS.log, BOOKS.order[0]) == ("k2.books-1m", "end")
    assert dataclasses.fields(BOOKS)
