"""`k2 maintain`: what it shows, what it does, and how it fails."""

import json
import os

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


def test_expired_files_wait_for_the_delay_and_then_go(world, monkeypatch):
    filled(world, 9)
    before = state_of(world)
    run("compact")
    (line,) = map(
        json.loads, run("expire", "--keep", "2", "--dry-run", "--json").stdout.splitlines()
    )
    assert line == {"table": "trades", "would_expire": 8}
    assert len(world.table().metadata.snapshots) == 10
    assert run("expire", "--keep", "2", "--older-than", "1h").stdout == (
        "trades: expired=0 deleted_files=0 waiting_deletions=0\n"
    )
    monkeypatch.setenv("K2_DELETE_DELAY_S", "3600")
    (line,) = map(json.loads, run("expire", "--keep", "1", "--json").stdout.splitlines())
    assert (line["expired"], line["deleted_files"], line["waiting_deletions"]) == (9, 0, 1)
    assert len(world.data_files()) == 10
    monkeypatch.setenv("K2_DELETE_DELAY_S", "0")
    (line,) = map(json.loads, run("expire", "--keep", "1", "--json").stdout.splitlines())
    assert line["deleted_files"] >= 9
    assert len(world.data_files()) == 1
    assert state_of(world) == before


def test_orphans_are_shown_and_deleted_only_when_asked_for(world):
    filled(world, 2)
    orphan = world.data_files()[0].with_name("left-behind.parquet")
    orphan.write_bytes(b"x" * 100)
    old = orphan.stat().st_mtime - 25 * 3_600
    os.utime(orphan, (old, old))
    shown = run("orphans")
    assert shown.stdout.splitlines() == [str(orphan)]
    assert "trades: 1 orphan files, 100 bytes" in shown.stderr
    assert orphan.exists()
    (line,) = map(json.loads, run("orphans", "--delete", "--json").stdout.splitlines())
    assert line == {"table": "trades", "path": str(orphan), "size_bytes": 100}
    assert not orphan.exists()
    assert len(world.data_files()) == 2


def test_many_orphans_need_force(world):
    filled(world, 2)
    orphan = world.data_files()[0].with_name("left-behind.parquet")
    orphan.write_bytes(b"x" * 1_000_000)
    old = orphan.stat().st_mtime - 25 * 3_600
    os.utime(orphan, (old, old))
    assert "more than 10%" in run("orphans").stderr
    assert "more than 10%" in run("orphans", "--delete", code=2).output
    assert orphan.exists()
    run("orphans", "--delete", "--force")
    assert not orphan.exists()


@pytest.mark.parametrize("text", ["5", "x", "-1d", "1.5h", "", "7w"])
def test_a_duration_that_is_none_is_refused(world, text):
    assert "expected 90s" in run("orphans", "--older-than", text, code=2).output


def test_a_duration_has_an_end_that_every_engine_can_read():
    """Iceberg's times are of 64 bits: with a longer one no engine would read the table any more."""
    done = CliRunner().invoke(main, ["tag", "create", "audit", "--retain", "300000000000y"])
    assert done.exit_code == 2
    assert "expected 10000y at most, found '300000000000y'" in done.output


def test_an_age_that_a_commit_may_take_is_refused(world):
    filled(world, 1)
    assert "a commit under way" in run("orphans", "--older-than", "5m", code=2).output
