"""`k2 maintain`: what it shows, what it does, and how it fails."""

import json

import pytest
from click.testing import CliRunner
from lake_rows import World
from maintenance_world import TODAY, day_of, filled, live_files, state_of

from k2_streams.cli.main import main


@pytest.fixture
def world(tmp_path, monkeypatch):
    world = World(tmp_path)
    monkeypatch.setenv("K2_CATALOG_URI", world.config.catalog_uri)
    monkeypatch.setenv("K2_WAREHOUSE", world.config.warehouse)
    return world


def run(*arguments, code=0):
    done = CliRunner().invoke(main, ["maintain", *arguments])
    assert done.exit_code == code, done.output
    return done


def test_a_dry_run_shows_the_groups_and_changes_nothing(world):
    filled(world, 9)
    head = world.table().current_snapshot()
    (line,) = map(json.loads, run("compact", "--dry-run", "--json").stdout.splitlines())
    assert line["table"] == "trades"
    assert (line["day"], line["files"], line["rows"]) == (day_of(TODAY).isoformat(), 9, 27)
    assert world.table().current_snapshot() == head


def test_all_groups_are_compacted_and_shown(world):
    filled(world, 9)
    before = state_of(world)
    text = run("compact").stdout
    assert f"trades: snapshot_id={world.table().current_snapshot().snapshot_id}" in text
    assert "files=9 rows=27" in text
    assert len(live_files(world)) == 1
    assert state_of(world) == before
    assert run("compact").stdout == ""


def test_status_shows_rows_files_and_snapshots(world):
    filled(world, 9)
    (line,) = map(json.loads, run("status", "--json").stdout.splitlines())
    assert (line["table"], line["rows"], line["files"], line["small_files"]) == ("trades", 27, 9, 9)
    assert line["snapshots"] == 9
    assert line["size_bytes"] == sum(file.file_size_in_bytes for file in live_files(world))
    head, row = run("status", "--table", "trades").stdout.splitlines()
    assert head.split()[:2] == ["table", "snapshot"]
    assert row.startswith("trades")


def test_a_table_that_is_not_there_is_named(world):
    assert "k2.quotes" in run("status", "--table", "quotes", code=2).output
    found = run("compact", "--table", "alerts", code=2).output
    assert "table 'alerts': expected trades or quotes" in found
    assert "--app" in found


def test_a_table_that_k2_must_not_write_to_is_refused_with_what_to_do(world):
    filled(world, 9)
    with world.table().update_schema() as update:
        update.rename_column("vendor", "supplier")
    assert "RENAME COLUMN supplier TO vendor" in run("compact", code=2).output
