"""The data files of a table: no others are read, and what is read is whole."""

import pytest
from lake_rows import World, append

from k2_streams.core.records.stream import QUOTES, TRADES
from k2_streams.lake.store import DataFiles
from k2_streams.lake.table import Lake


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    append(world.writer(), 0, 0, 1)
    world.files = DataFiles(max_open=1)
    world.lake = Lake(world.config, stream=TRADES, files=world.files)
    world.planned = world.lake.plan(world.lake.head().snapshot_id)[0]
    world.uri = f"file://{world.planned.path}"
    return world


def test_a_planned_file_is_read_by_range(world):
    whole = world.data_files()[0].read_bytes()
    assert world.files.size(world.uri) == world.planned.size_bytes == len(whole)
    assert world.files.read(world.uri, 4, 10) == whole[4:14]
    assert world.files.read(world.uri, len(whole) - 4, 100) == b"PAR1"


def test_a_file_that_is_none_of_the_tables_is_refused(world, tmp_path):
    secret = tmp_path / "warehouse" / "secret"
    secret.write_text("of somebody else")
    inside = world.uri.rpartition("/")[0]
    for path in (f"file://{secret}", f"{inside}/../../../../secret", str(secret)):
        with pytest.raises(PermissionError):
            world.files.read(path, 0, 4)


def test_nothing_is_read_before_a_table_was_seen(world):
    with pytest.raises(PermissionError):
        DataFiles().size(world.uri)


def test_a_file_that_is_gone_says_so(world):
    with pytest.raises(FileNotFoundError):
        world.files.size(world.uri.replace("00000-", "00001-"))


def test_a_file_that_is_cut_short_is_not_taken_for_whole(world):
    assert world.files.size(world.uri) > 100
    with world.data_files()[0].open("r+b") as file:
        file.truncate(100)
    with pytest.raises(OSError, match="expected"):
        world.files.read(world.uri, 0, world.planned.size_bytes)


def test_other_credentials_are_used_for_what_was_opened_with_the_old_ones(world):
    world.files.size(world.uri)
    opened = dict(world.files._open)
    fresh = world.lake.load()
    assert dict(world.files._open) == opened, "the same access: nothing is opened anew"
    fresh.io.properties = {**fresh.io.properties, "s3.session-token": "another"}
    world.files.follow(fresh)
    assert world.files.size(world.uri) == world.planned.size_bytes
    assert dict(world.files._open) != opened
    assert world.files._tables[fresh.name()].io is fresh.io


def test_files_of_two_tables_are_read_each_with_its_own_access(world):
    quotes = Lake(world.config, stream=QUOTES, files=world.files)
    quotes.ensure()
    table = quotes.load()
    assert world.files.size(world.uri) == world.planned.size_bytes
    inside = f"{table.location()}/data/a.parquet"
    with pytest.raises(FileNotFoundError):
        world.files.size(inside)
    world.files.size(world.uri)
    opened = dict(world.files._open)
    table.io.properties = {**table.io.properties, "s3.session-token": "another"}
    world.files.follow(table)
    assert dict(world.files._open) == opened, "the other table's access is the same"
