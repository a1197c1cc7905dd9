"""Statistics that other engines plan by: a Puffin file with the distinct values of columns."""

import json
import sys

import datasketches
import pytest
from click.testing import CliRunner
from lake_rows import World
from maintenance_world import commit, compact_all, filled, state_of
from pyiceberg.table.puffin import PuffinFile

from k2_streams.cli.main import main
from k2_streams.core.maintenance.deletion import plain
from k2_streams.core.records.stream import TRADES
from k2_streams.lake.maintenance import statistics as module
from k2_streams.lake.maintenance.expiry import expire_snapshots
from k2_streams.lake.maintenance.statistics import THETA, write_statistics
from k2_streams.lake.maintenance.table_files import ReachableFiles
from k2_streams.lake.schema import field_ids


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def puffin_of(world):
    """The statistics of the head, and the file as pyiceberg reads it."""
    metadata = world.table().metadata
    (found,) = [
        one for one in metadata.statistics if one.snapshot_id == metadata.current_snapshot_id
    ]
    content = world.table().io.new_input(found.statistics_path).open().read()
    assert len(content) == found.file_size_in_bytes
    return found, PuffinFile(content)


def test_another_engine_reads_the_distinct_values_of_each_column(world):
    lake = filled(world, 4)
    before = state_of(world)
    done = write_statistics(lake)
    rows = world.table().scan().to_arrow()
    expected = {
        name: len(set(rows[name].to_pylist()) - {None})
        for name in ("exchange", "symbol", "trade_id")
    }
    assert done.distinct == expected
    found, puffin = puffin_of(world)
    assert {blob.fields[0]: blob.properties["ndv"] for blob in found.blob_metadata} == {
        field_ids(TRADES)[name]: str(count) for name, count in expected.items()
    }
    for blob in puffin.footer.blobs:
        assert (blob.type, blob.snapshot_id) == (THETA, done.snapshot_id)
        sketch = datasketches.compact_theta_sketch.deserialize(puffin.get_blob_payload(blob))
        assert sketch.is_ordered()
        assert str(round(sketch.get_estimate())) == blob.properties["ndv"]
    assert state_of(world) == before
    assert write_statistics(lake) is None, "the newest snapshot has them"


def test_a_later_run_reads_new_files_alone_and_knows_what_a_whole_run_knows(world):
    lake = filled(world, 6)
    assert write_statistics(lake).files_read == 6
    for start in range(6, 9):
        commit(lake, start, symbols=("DDD",))
    later = write_statistics(lake)
    assert later.files_read == 3
    assert later.distinct["symbol"] == 4
    assert compact_all(world)
    after = write_statistics(lake)
    assert after.distinct == later.distinct, "a row that is written again is no other value"


def test_statistics_that_lack_a_column_are_no_base_and_the_ones_before_them_are(world, monkeypatch):
    lake = filled(world, 2)
    write_statistics(lake)
    commit(lake, 2)
    with monkeypatch.context() as patched:
        patched.setattr(module, "_columns", lambda _: {"exchange": field_ids(TRADES)["exchange"]})
        assert write_statistics(lake).distinct.keys() == {"exchange"}
    commit(lake, 3)
    assert write_statistics(lake).files_read == 2


def test_statistics_expire_with_their_snapshot_and_are_reached_until_then(world):
    lake = filled(world, 2)
    first = write_statistics(lake)
    metadata = world.table().metadata
    reached = ReachableFiles(world.table().io).of(metadata, metadata.snapshots)
    assert plain(first.path) in reached
    commit(lake, 2)
    expire_snapshots(lake, keep=1, older_than_ms=2**60)
    assert world.table().metadata.statistics == []
    assert write_statistics(lake).files_read == 3, "without an earlier one all files are read"


def test_a_sink_that_commits_in_between_is_waited_for(world, monkeypatch):
    lake = filled(world, 2)
    encode = module.encode

    def late(blobs):
        commit(world.writer(), 2)
        return encode(blobs)

    monkeypatch.setattr(module, "encode", late)
    done = write_statistics(lake)
    statistics = world.table().metadata.statistics
    assert [one.snapshot_id for one in statistics] == [done.snapshot_id]
    assert world.table().scan().to_arrow().num_rows == 9


def test_the_command_writes_them_once_and_says_what_it_found(world, monkeypatch):
    filled(world, 2)
    monkeypatch.setenv("K2_CATALOG_URI", world.config.catalog_uri)
    monkeypatch.setenv("K2_WAREHOUSE", world.config.warehouse)
    done = CliRunner().invoke(main, ["maintain", "statistics", "--json"])
    assert done.exit_code == 0, done.output
    line = json.loads(done.stdout)
    assert (line["table"], line["files_read"]) == ("trades", 2)
    assert line["distinct"]["exchange"] == 1
    again = CliRunner().invoke(main, ["maintain", "statistics"])
    assert (again.exit_code, again.stdout) == (0, "")


def test_without_the_package_the_error_names_what_to_install(world, monkeypatch):
    lake = filled(world, 1)
    monkeypatch.setitem(sys.modules, "datasketches", None)
    with pytest.raises(module.LakeConfigError, match=r"k2-streams\[statistics\]"):
        write_statistics(lake)
