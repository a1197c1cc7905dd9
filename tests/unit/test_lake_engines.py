"""Every engine reads every column with its defaults, and finds the rows that K2 answers with.

Of each column a group of rows that are all null, groups with some nulls and with none, the largest
and smallest decimals, empty and filled lists and maps. Spark is asked if `make spark` has fetched
it: `make test-spark`.
"""

import datetime as dt
import decimal
import json

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from lake_rows import DAY_NS, NOON_NS, TOPIC_ID, World
from maintenance_world import SetClock, compact_all
from rows_requests import parse_rows
from spark_program import JARS, run_with_spark

from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.maintenance.compaction import CompactionPolicy
from k2_streams.core.records import stream
from k2_streams.core.records.schema import DECIMAL, MICROS, TRADES
from k2_streams.core.records.vector import Range
from k2_streams.lake.maintenance.deletions import delete_due
from k2_streams.lake.maintenance.expiry import expire_snapshots
from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.query.gaps import GapsView
from k2_streams.query.hybrid import HybridQuery
from k2_streams.query.lake_view import LakeView
from k2_streams.query.tail.store import Tail

#: What every engine reads. RLE is of levels and of booleans in pages of version 2, which are not
#: written.
READ_BY_ALL = {"PLAIN", "RLE", "RLE_DICTIONARY"}
GROUP = 10_000  # rows, as the table says
KEY = ["log_partition", "log_offset", "log_row"]
EXTREMES = [
    decimal.Decimal("99999999999999999999.999999999999999999"),
    decimal.Decimal("-99999999999999999999.999999999999999999"),
    decimal.Decimal("0.000000000000000001"),
    decimal.Decimal(0),
    decimal.Decimal("-0.000000000000000001"),
]


def rows_of(symbol: str, offset: int, filled: float, *, days: int = 2) -> pa.Table:
    """A group of rows; of each nullable column that share has a value."""
    rng = np.random.default_rng(offset)
    numbers = np.arange(GROUP)
    times = NOON_NS + numbers % days * DAY_NS + numbers * 1_000
    given = {
        "message_id": [f"SYN|{symbol}|{n}" for n in numbers],
        "symbol": [symbol] * GROUP,
        "exchange_time": pa.array(times // 1_000).cast(MICROS),
        "exchange_time_ns": times,
        "log_partition": np.zeros(GROUP, np.int32),
        "log_offset": np.full(GROUP, offset),
        "log_row": numbers.astype(np.int32),
        "conditions": [[[], ["open"], ["open", "block"]][n % 3] for n in numbers],
        "vendor": [[[], [("k", "v")], [("k", "v"), ("n", None)]][n % 3] for n in numbers],
    }
    columns = []
    for field in TRADES:
        values = given.get(field.name)
        array = _values(field.type, numbers) if values is None else pa.array(values)
        array = array.cast(field.type) if values is None else pa.array(values, field.type)
        if field.nullable:
            has = pa.array(rng.random(GROUP) < filled)
            array = array.take(pc.if_else(has, pa.array(numbers), None))
        columns.append(array)
    return pa.table(columns, schema=TRADES)


def _values(kind: pa.DataType, numbers: np.ndarray) -> pa.Array:
    if kind == DECIMAL:
        return pa.array([EXTREMES[n % len(EXTREMES)] for n in numbers], DECIMAL)
    if pa.types.is_boolean(kind):
        return pa.array(numbers % 2 == 0)
    if pa.types.is_string(kind):
        return pa.array([f"v{n % 7}" for n in numbers])
    if pa.types.is_date(kind):
        return pa.array((20_000 + numbers % 9).astype(np.int32))
    return pa.array((numbers * 7).astype(np.int32 if kind == pa.int32() else np.int64))


@pytest.fixture(scope="module", params=["as committed", "compacted"])
def world(request, tmp_path_factory):
    world = World(tmp_path_factory.mktemp("lake"))
    groups = [("ALL", 0, 1.0), ("NONE", 1, 0.0), ("SOME", 2, 0.5), ("RARE", 3, 0.001)]
    world.rows = pa.concat_tables(rows_of(*group) for group in groups)
    world.writer().append(world.rows, {0: Range(0, 4)}, topic_id=TOPIC_ID, commit_id="x")
    # A group of one day with a value in no row: each page of each nullable column is all null.
    alone = rows_of("NONE", 4, 0.0, days=1)
    world.writer().append(alone, {0: Range(4, 5)}, topic_id=TOPIC_ID, commit_id="y")
    world.rows = in_order(pa.concat_tables([world.rows, alone]))
    if request.param == "compacted":
        compact_all(world, clock=SetClock(NOON_NS + 9 * DAY_NS), policy=CompactionPolicy())
        expire_snapshots(world.writer(), keep=1, older_than_ms=1 << 62, files_at_ms=0)
        delete_due(world.writer(), SYSTEM_CLOCK, delay_s=0.0)
        assert len(world.data_files()) == 2  # of two days
    return world


def in_order(rows: pa.Table) -> pa.Table:
    return rows.sort_by([(name, "ascending") for name in KEY])


def test_every_column_is_encoded_as_every_engine_reads_it(world):
    seen = set()
    for path in world.data_files():
        metadata = pq.read_metadata(path)
        for group in range(metadata.num_row_groups):
            for number in range(metadata.num_columns):
                column = metadata.row_group(group).column(number)
                assert set(column.encodings) <= READ_BY_ALL, column.path_in_schema
                nulls = column.statistics.null_count if column.statistics else 0
                seen.add((column.path_in_schema, nulls == column.num_values))
    nullable = {field.name for field in TRADES if field.nullable}
    assert {path.partition(".")[0] for path, _ in seen} == set(TRADES.names)
    assert {path.partition(".")[0] for path, all_null in seen if all_null} >= nullable - {
        "conditions", "vendor",
    }  # fmt: skip


async def test_k2_pyiceberg_duckdb_and_polars_find_the_same_rows(world, monkeypatch):
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")
    engine = Engine(EngineConfig(allowed=(world.config.warehouse,)))
    tail = Tail(stream.TRADES, topic_id=TOPIC_ID)
    tail.seek(0, 5)
    query = HybridQuery(
        tail, LakeView(world.writer), engine, GapsView(), clock=SYSTEM_CLOCK, stream=stream.TRADES
    )
    answer = await query.rows(parse_rows({"limit": "100000"}))
    await query.close()
    engine.close()
    # Answers fill in what can be computed of a row (`notional`, ticks): compared is what is stored.
    stored = [name for name in TRADES.names if name not in {"notional", "tick_direction"}]
    assert in_order(answer.rows).select(stored).equals(world.rows.select(stored))

    table = world.table()
    assert in_order(table.scan().to_arrow().select(TRADES.names).cast(TRADES)).equals(world.rows)

    files = [str(path) for path in world.data_files()]
    by_duckdb = duckdb.read_parquet(files, hive_partitioning=False).to_arrow_table()
    assert in_order(by_duckdb.select(TRADES.names).cast(TRADES)).equals(world.rows)

    scan = pl.scan_iceberg(table.metadata_location)
    by_polars = scan.collect().sort(KEY)
    expected = pl.from_arrow(world.rows)
    for name in TRADES.names:
        if name != "vendor":  # of maps polars makes lists of structs
            assert by_polars[name].to_list() == expected[name].to_list(), name


@pytest.mark.spark
def test_spark_finds_the_same_rows(world, tmp_path):
    noon = dt.datetime.fromtimestamp(NOON_NS // 1_000_000_000, dt.UTC)
    bounds = [str(noon.date()), str(noon.date() + dt.timedelta(1))]
    arguments = (world.table().metadata_location, tmp_path, JARS, json.dumps(bounds))
    run_with_spark("spark_reader.py", *arguments, folder=tmp_path)
    found = json.loads((tmp_path / "found.json").read_text())
    rows = world.rows
    day = pc.equal(pc.floor_temporal(rows["exchange_time"], unit="day"), noon.replace(hour=0))
    within = rows.filter(day)
    assert found["within"] == [within.num_rows, pc.max(within["message_id"]).as_py()]
    plain = [f.name for f in TRADES if not pa.types.is_nested(f.type)]
    for name in plain:
        assert int(found[name][0]) == pc.count(rows[name]).as_py(), name
    by_spark = in_order(pq.read_table(tmp_path / "plain"))
    assert by_spark.select(plain).cast(rows.select(plain).schema).equals(rows.select(plain))
    nested = in_order(pq.read_table(tmp_path / "nested"))
    for name in ("conditions", "vendor"):
        assert nested[name].to_pylist() == rows[name].to_pylist(), name
