"""Other engines change the table while K2 writes to it: each commit fits, or it is refused."""

import datetime as dt

import pytest
from lake_rows import NOON_NS, World, append, places_of
from pyiceberg.table.update import SetCurrentSchemaUpdate
from pyiceberg.transforms import DayTransform, IdentityTransform, MonthTransform
from pyiceberg.types import DoubleType, LongType, StringType
from sink_world import SinkWorld

from k2_streams.lake import table as lake_table
from k2_streams.lake.errors import TableMismatchError
from k2_streams.lake.table import COMMIT_TRIES

NOON = dt.datetime.fromtimestamp(NOON_NS // 1_000_000_000, dt.UTC)


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(lake_table, "RELOAD_PAUSE_S", 0.001)
    return World(tmp_path)


def evolve(world, change):
    with world.table().update_schema(allow_incompatible_changes=True) as update:
        change(update)


def partition(world, change):
    with world.table().update_spec() as update:
        change(update)


def by_month(update):
    update.remove_field("exchange_time_day")
    update.add_field("exchange_time", MonthTransform(), "exchange_time_month")


def by_day_again(update):
    update.remove_field("exchange_time_month")
    update.add_field("exchange_time", DayTransform(), "exchange_time_day")


def columns_back(world):
    """The schema that the table was created with is its current one again."""
    good = next(s for s in world.table().metadata.schemas if s.schema_id == 1)
    with world.table().transaction() as change:
        change._apply((SetCurrentSchemaUpdate.model_validate({"schema-id": good.schema_id}),))


ACCEPTED = {
    "a column added": lambda u: u.add_column("desk", StringType()),
    "a comment": lambda u: u.update_column("price", doc="of one unit"),
    "a column made optional": lambda u: u.make_column_optional("symbol"),
    "columns reordered": lambda u: u.move_first("vendor"),
}

#: What is changed, what of it the error says, and how it is undone.
REFUSED = {
    "a column renamed": (
        lambda w: evolve(w, lambda u: u.rename_column("vendor", "supplier")),
        r"vendor \(field id 26\) is named supplier: .* RENAME COLUMN supplier TO vendor",
        lambda w: evolve(w, lambda u: u.rename_column("supplier", "vendor")),
    ),
    "a column dropped": (
        lambda w: evolve(w, lambda u: u.delete_column("late")),
        r"late \(field id 14\) is missing: make schema 1 the table's current one again",
        columns_back,
    ),
    "a column dropped and added again": (
        lambda w: (
            evolve(w, lambda u: u.delete_column("action")),
            evolve(w, lambda u: u.add_column("action", StringType())),
        ),
        "action .* is missing: make schema 1",
        columns_back,
    ),
    "a column retyped": (
        lambda w: evolve(w, lambda u: u.update_column("log_row", LongType())),
        "log_row .* is long, K2 writes int: make schema 1",
        columns_back,
    ),
    "a column that must have a value": (
        lambda w: evolve(w, lambda u: u.add_column("desk", DoubleType(), required=True)),
        "desk must have a value.* ALTER COLUMN desk DROP NOT NULL",
        lambda w: evolve(w, lambda u: u.make_column_optional("desk")),
    ),
    "a K2 column that must have a value": (
        lambda w: evolve(w, lambda u: u._set_column_requirement("side", required=True)),
        r"side .* must have a value: ALTER TABLE k2.trades ALTER COLUMN side DROP NOT NULL",
        lambda w: evolve(w, lambda u: u.make_column_optional("side")),
    ),
    "a partition field added": (
        lambda w: partition(w, lambda u: u.add_field("symbol", IdentityTransform(), "symbol_id")),
        r"by \[day\(exchange_time\), identity\(symbol\)\], K2 .*DROP PARTITION FIELD symbol_id",
        lambda w: partition(w, lambda u: u.remove_field("symbol_id")),
    ),
    "a partition transform replaced": (
        lambda w: partition(w, by_month),
        "DROP PARTITION FIELD exchange_time_month; ALTER TABLE k2.trades ADD PARTITION FIELD day",
        lambda w: partition(w, by_day_again),
    ),
    "no partitions": (
        lambda w: partition(w, lambda u: u.remove_field("exchange_time_day")),
        r"partitioned by \[\], K2 writes",
        lambda w: partition(
            w, lambda u: u.add_field("exchange_time", DayTransform(), "exchange_time_day")
        ),
    ),
}
refused = pytest.mark.parametrize(("change", "says", "undo"), REFUSED.values(), ids=REFUSED.keys())


def before_commit(lake, act):
    """Another's act between the sink's look at the table and its request to the catalog."""
    lake.head()
    real, calls = lake._catalog.commit_table, []

    def commit_table(*args, **kwargs):
        calls.append(args)
        if len(calls) == 1:
            act()
        return real(*args, **kwargs)

    lake._catalog.commit_table = commit_table
    return calls


def rows_of_the_day(world):
    """As other engines ask: by partition, with what the manifests say."""
    first, next_day = NOON.date(), NOON.date() + dt.timedelta(1)
    day = (
        f"exchange_time >= '{first}T00:00:00+00:00' AND exchange_time < '{next_day}T00:00:00+00:00'"
    )
    return world.table().scan(row_filter=day).to_arrow().num_rows


@pytest.mark.parametrize("change", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_k2_need_not_know_is_accepted(world, change):
    lake = world.writer()
    append(lake, 0, 0, 5)
    evolve(world, change)
    append(lake, 0, 5, 9)
    restarted = world.writer()
    restarted.ensure()
    append(restarted, 0, 9, 12)
    assert world.places() == places_of((0, 0), (0, 5), (0, 9))


@pytest.mark.parametrize("change", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_it_is_accepted_between_look_and_request_as_well(world, change):
    lake = world.writer()
    calls = before_commit(lake, lambda: evolve(world, change))
    assert append(lake, 0, 0, 5).attempts == 2
    assert len(calls) == 2
    assert world.places() == places_of((0, 0))


def test_a_column_that_was_added_is_null_in_rows_of_k2(world):
    evolve(world, ACCEPTED["a column added"])
    append(world.writer(), 0, 0, 5)
    assert world.table().scan().to_arrow()["desk"].to_pylist() == [None] * 3


@refused
@pytest.mark.slow
def test_what_would_be_wrong_is_refused_until_it_is_undone(world, change, says, undo):
    lake = world.writer()
    append(lake, 0, 0, 5)
    files = len(world.data_files())
    change(world)
    for writer in (lake, world.writer()):
        with pytest.raises(TableMismatchError, match=says):
            append(writer, 0, 5, 9)
    with pytest.raises(TableMismatchError, match=says):
        world.writer().ensure()
    assert len(world.data_files()) == files  # refused before a file was written
    assert world.writer().head().vector.next_of("k2.trades", 0) == 5
    undo(world)
    world.writer().ensure()
    append(lake, 0, 5, 9)
    assert world.places() == places_of((0, 0), (0, 5))
    assert rows_of_the_day(world) == 6


@refused
@pytest.mark.slow
def test_it_is_refused_by_the_commit_itself(world, change, says, undo):
    """Between look and request: the head is the same, and only schema or spec have changed."""
    lake = world.writer()
    append(lake, 0, 0, 5)
    calls = before_commit(lake, lambda: change(world))
    with pytest.raises(TableMismatchError, match=says):
        append(lake, 0, 5, 9)
    assert len(calls) == 1
    undo(world)
    append(lake, 0, 5, 9)
    assert world.places() == places_of((0, 0), (0, 5))
    assert rows_of_the_day(world) == 6


def test_files_of_a_spec_that_is_no_longer_the_tables_are_written_again(world):
    """Renamed, the partition field is of another spec, and the same to every reader."""
    lake = world.writer()
    append(lake, 0, 0, 5)

    def rename():
        partition(world, lambda u: u.rename_field("exchange_time_day", "day"))

    calls = before_commit(lake, rename)
    with pytest.raises(lake_table.SpecChangedError, match="written again"):
        append(lake, 0, 5, 9, "batch-7")
    assert len(calls) < COMMIT_TRIES
    append(lake, 0, 5, 9, "batch-7")
    assert world.places() == places_of((0, 0), (0, 5))
    assert rows_of_the_day(world) == 6
    assert {file.file.spec_id for file in world.table().scan().plan_files()} == {0, 1}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("write.parquet.compression-codec", "lzo"),
        ("write.parquet.compression-level", "best"),
        ("write.parquet.row-group-limit", "0"),
    ],
)
def test_a_property_that_cannot_be_followed_is_refused_by_name(world, name, value):
    before = world.table().properties[name]
    with world.table().transaction() as change:
        change.set_properties({name: value})
    with pytest.raises(TableMismatchError, match=f"{name}: expected .* found '{value}'"):
        append(world.writer(), 0, 0, 5)
    with world.table().transaction() as change:
        change.set_properties({name: before})
    append(world.writer(), 0, 0, 5)


@pytest.mark.parametrize("codec", ["snappy", "gzip", "lz4", "brotli", "uncompressed", "ZSTD"])
def test_every_codec_of_iceberg_can_be_chosen(world, codec):
    with world.table().transaction() as change:
        change.set_properties({"write.parquet.compression-codec": codec})
    append(world.writer(), 0, 0, 5)
    assert world.places() == places_of((0, 0))


async def test_the_sink_says_what_it_waits_for_and_goes_on_when_it_is_undone(world):
    lake = world.writer()
    sink = SinkWorld(lake=lake)
    await sink.start()
    await sink.pass_time(3)
    change, _, undo = REFUSED["a column renamed"]
    change(world)
    await sink.pass_time(4)
    assert "RENAME COLUMN supplier TO vendor" in sink.runner.error
    assert sink.metrics.registry.get_sample_value("k2_sink_refused", {"stream": "trades"}) == 1
    assert sink.paused, "the log keeps what comes"
    assert sink.runner.buffered_rows <= 12
    undo(world)
    await sink.pass_time(40)
    assert sink.runner.error is None
    assert sink.metrics.registry.get_sample_value("k2_sink_refused", {"stream": "trades"}) == 0
    assert not sink.paused
    held = lake.head().vector.next_of("k2.trades", 0)
    assert held >= sink.position - 4
    assert world.places() == places_of(*[(0, n) for n in range(held)], count=2)
    await sink.runner.close()


async def test_a_sink_that_starts_on_such_a_table_waits_as_well(world):
    append(world.writer(), 0, 0, 5)
    change, says, undo = REFUSED["a partition field added"]
    change(world)
    sink = SinkWorld(lake=world.writer())
    with pytest.raises(TableMismatchError, match=says):
        await sink.runner.assign({0})
    undo(world)
    assert await sink.runner.assign({0}) == {0: 5}
    await sink.runner.close()
