"""A table that another engine set back: no row is in neither lake nor log, and none is twice."""

from pathlib import Path

import pytest
from lake_rows import World, append, places_of, record, table_of
from sink_world import SinkWorld

from k2_streams.core.records.vector import VectorOf
from k2_streams.lake import table as lake_table
from k2_streams.lake.errors import VectorMissingError, VectorMovedError


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(lake_table, "RELOAD_PAUSE_S", 0.001)
    return World(tmp_path)


def overwritten(world):
    """Every row written anew by pyiceberg, everything older expired: a head without offsets."""
    table = world.table()
    table.overwrite(table.scan().to_arrow())
    table = world.table()
    head = table.current_snapshot().snapshot_id
    older = [s.snapshot_id for s in table.snapshots() if s.snapshot_id != head]
    table.maintenance.expire_snapshots().by_ids(older).commit()
    return head


def set_back(world, snapshot_id):
    with world.table().manage_snapshots() as manage:
        manage.rollback_to_snapshot(snapshot_id)


def lose_earlier_metadata(world):
    current = world.table().metadata_location.removeprefix("file://")
    for path in (Path(world.config.warehouse) / "k2/trades/metadata").glob("*.metadata.json"):
        if str(path) != current:
            path.unlink()


def test_rows_after_a_set_back_are_read_again(world):
    """Found by a trial: 3,000 rows were in neither lake nor answers."""
    lake = world.writer()
    append(lake, 0, 0, 562)
    foreign = overwritten(world)
    append(lake, 0, 562, 694)
    assert lake.head().vector.next_of("k2.trades", 0) == 694
    set_back(world, foreign)
    assert world.writer().head().vector.next_of("k2.trades", 0) == 562
    with pytest.raises(VectorMovedError) as moved:
        append(lake, 0, 694, 700)
    assert moved.value.found == {0: 562}
    append(lake, 0, 562, 694)
    append(lake, 0, 694, 700)
    assert world.places() == places_of((0, 0), (0, 562), (0, 694))


def test_the_commit_on_top_says_what_it_found_when_all_else_is_lost(world):
    lake = world.writer()
    append(lake, 0, 0, 5)
    foreign = overwritten(world)
    append(lake, 0, 5, 9)
    set_back(world, foreign)
    lose_earlier_metadata(world)
    assert world.writer().head().vector.next_of("k2.trades", 0) == 5


def test_a_head_that_nothing_proves_is_refused_until_it_is_proven(world):
    lake = world.writer()
    append(lake, 0, 0, 5)
    foreign = overwritten(world)
    later = append(lake, 0, 5, 9).snapshot_id
    set_back(world, foreign)
    world.table().maintenance.expire_snapshots().by_id(later).commit()
    lose_earlier_metadata(world)
    lake = world.writer()
    with pytest.raises(VectorMissingError, match=f"k2.offsets-of speaks of snapshot {later}"):
        lake.head()
    with pytest.raises(VectorMissingError, match=f'"snapshot-id": {foreign}'):
        append(lake, 0, 9, 12)
    assert world.places() == places_of((0, 0))
    # What the message says to do.
    offsets = VectorOf.decode(world.table().properties["k2.offsets-of"]).vector
    before = offsets.topics["k2.trades"].__class__(offsets.topics["k2.trades"].id, {0: 5})
    number = world.table().current_snapshot().sequence_number
    mended = VectorOf(foreign, number, {"k2.trades": before}).encode()
    with world.table().transaction() as change:
        change.set_properties({"k2.offsets-of": mended})
    append(lake, 0, 5, 9)
    assert world.places() == places_of((0, 0), (0, 5))


async def test_a_sink_without_messages_finds_the_table_set_back(world):
    lake = world.writer()
    sink = SinkWorld(lake=lake)
    await sink.start()
    await sink.pass_time(8)
    first, end = lake.snapshots()[0].id, lake.head().vector.next_of("k2.trades", 0)
    sink.seeks.clear()
    with world.table().manage_snapshots() as manage:
        manage.rollback_to_snapshot(first)
    back = world.writer().head().vector.next_of("k2.trades", 0)
    for _ in range(40):  # no message comes
        await sink.look(after_s=1.0)
        if sink.seeks:
            break
    assert sink.seeks == [{0: back}]
    while sink.position < end:
        sink.read()
    for _ in range(4):
        await sink.look(after_s=1.0)
    assert world.places() == places_of(*[(0, n) for n in range(end)], count=2)
    await sink.runner.close()


async def test_a_partition_without_messages_is_read_again_while_others_go_on(world):
    """Each commit of the others is of a table that looks right to them."""
    lake = world.writer()
    append(lake, 1, 0, 5, count=2)
    first = lake.head().snapshot_id
    append(lake, 1, 5, 9, count=2)
    sink = SinkWorld(lake=lake)
    assert await sink.runner.assign({0, 1}) == {0: 0, 1: 9}
    with world.table().manage_snapshots() as manage:
        manage.rollback_to_snapshot(first)
    await sink.pass_time(3)  # of partition 0 alone
    assert {1: 5} in sink.seeks
    assert sink.runner.positions[1] == 5
    await sink.runner.close()


def test_a_property_of_the_version_before_proves_nothing_by_itself(world):
    lake = world.writer()
    append(lake, 0, 0, 5)
    overwritten(world)
    with world.table().transaction() as change:
        change.remove_properties("k2.offsets-of")
    assert lake.head().vector.next_of("k2.trades", 0) == 5  # its earlier metadata proves it
    lose_earlier_metadata(world)
    with pytest.raises(VectorMissingError, match="nothing proves"):
        world.writer().head()


def test_a_property_that_is_none_is_refused(world):
    append(world.writer(), 0, 0, 5)
    overwritten(world)
    with world.table().transaction() as change:
        change.set_properties({"k2.offsets-of": "{}"})
    with pytest.raises(VectorMissingError, match="remove the property"):
        world.writer().head()


def test_a_foreign_first_snapshot_without_rows_is_an_empty_table(world):
    world.table().append(table_of(record(7, 0, 0)))
    assert world.writer().head().vector.topics == {}
