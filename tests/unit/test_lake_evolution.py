"""A table of an earlier version opens, gets the columns that it lacks, and goes on."""

import dataclasses

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lake_rows import TOPIC_ID, World, record, table_of
from pyiceberg.types import StringType
from rows_requests import parse_rows

from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.records.stream import TRADES
from k2_streams.core.records.vector import Range
from k2_streams.lake.errors import TableMismatchError
from k2_streams.lake.schema import description_of
from k2_streams.lake.table import Lake
from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.query.gaps import GapsView
from k2_streams.query.hybrid import HybridQuery
from k2_streams.query.lake_view import LakeView
from k2_streams.query.tail.store import Tail

KEPT = len(TRADES.table_schema) - len(TRADES.added)
#: Trades as they were before any column was added.
BEFORE = dataclasses.replace(
    TRADES, table_schema=pa.schema(list(TRADES.table_schema)[:KEPT]), added=()
)


@pytest.fixture
def old(tmp_path):
    """A table that the first version made, with rows in it; its configuration."""
    world = World.__new__(World)
    world.__init__(tmp_path / "other")  # its folders alone are used
    config = dataclasses.replace(
        world.config,
        catalog_uri=f"sqlite:///{tmp_path}/old.db",
        warehouse=f"{tmp_path}/old",
    )
    lake = Lake(config, stream=BEFORE)
    lake.ensure()
    rows = table_of(record(0, 0, 6)).select(BEFORE.table_schema.names)
    lake.append(rows, {0: Range(0, 1)}, topic_id=TOPIC_ID, commit_id="before")
    return config


def test_the_first_version_had_these_field_ids(old):
    """They stand in files that were written long ago: they are never given to another column."""
    fields = Lake(old, stream=BEFORE).load().schema().fields
    assert [(f.field_id, f.name) for f in fields][:3] == [
        (1, "message_id"), (2, "exchange"), (3, "symbol"),
    ]  # fmt: skip
    assert [f.field_id for f in fields] == list(range(1, 27))
    by_name = {f.name: f.field_type for f in fields}
    assert by_name["conditions"].element_id == 27
    assert (by_name["vendor"].key_id, by_name["vendor"].value_id) == (28, 29)


def test_an_old_table_opens_and_goes_on(old):
    lake = Lake(old, stream=TRADES)
    lake.ensure()
    assert lake.load().schema().fields == description_of(TRADES).schema.fields
    assert lake.head().vector.next_of(TRADES.log, 0) == 1
    lake.append(table_of(record(0, 1, 4)), {0: Range(1, 2)}, topic_id=TOPIC_ID, commit_id="after")
    assert lake.head().rows == 10
    read = lake.load().scan().to_arrow()
    assert read.num_rows == 10
    assert read.column("action").null_count == 10
    lake.ensure()  # again changes nothing
    assert lake.load().schema().schema_id == 1


def test_many_may_grow_it_at_once(old):
    """Each finds the columns there, or adds what is missing: none twice, none left out."""
    lakes = [Lake(old, stream=TRADES) for _ in range(3)]
    for lake in lakes:
        lake.load()
    for lake in lakes:
        lake.ensure()
    assert lakes[0].load().schema().fields == description_of(TRADES).schema.fields


def test_a_field_id_that_another_engine_took_is_not_given_to_a_column_of_k2(old):
    """The ids stand in files: with another id the column would be another one to every reader."""
    with Lake(old, stream=BEFORE).load().update_schema() as update:
        update.add_column("desk", StringType())
    lake = Lake(old, stream=TRADES)
    with pytest.raises(
        TableMismatchError, match=r"action \(field id 30\) is another engine's desk"
    ):
        lake.ensure()
    assert "action" not in lake.load().schema().column_names


def test_a_new_table_and_a_grown_one_agree_on_the_ids(old, tmp_path):
    grown, new = (
        Lake(old, stream=TRADES),
        Lake(dataclasses.replace(old, catalog_uri=f"sqlite:///{tmp_path}/n.db"), stream=TRADES),
    )
    grown.ensure()
    new.ensure()
    assert grown.load().schema().fields == new.load().schema().fields


async def test_answers_hold_rows_of_old_and_new_files(old, tmp_path):
    """A file without the column gives null; one with it its values; both in one answer."""
    lake = Lake(old, stream=TRADES)
    lake.ensure()
    rows = table_of(record(0, 1, 4))
    at = rows.schema.get_field_index("action")
    rows = rows.set_column(at, rows.schema.field(at), pa.array(["cancel"] * 4))
    lake.append(rows, {0: Range(1, 2)}, topic_id=TOPIC_ID, commit_id="after")
    warehouse = old.warehouse_uri.removeprefix("file://")
    files = [file.path for file in lake.plan(lake.head().snapshot_id)]
    assert sorted("action" in pq.read_schema(file).names for file in files) == [False, True]
    engine = Engine(EngineConfig(allowed=(warehouse,)))
    tail = Tail(TRADES, topic_id=TOPIC_ID)
    tail.seek(0, 2)
    query = HybridQuery(
        tail,
        LakeView(lambda: Lake(old, stream=TRADES)),
        engine,
        GapsView(),
        clock=SYSTEM_CLOCK,
        stream=TRADES,
    )
    answer = await query.rows(parse_rows({}))
    assert sorted(answer.rows.column("action").to_pylist(), key=str) == [None] * 6 + ["cancel"] * 4
    assert answer.rows.schema == TRADES.table_schema
    corrected = await query.rows(parse_rows({"view": "corrected"}))
    assert corrected.rows.num_rows == 6
    await query.close()
    engine.close()
