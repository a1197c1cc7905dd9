"""Opening, creating and looking at the lake, and what it says when something is away."""

import contextlib
import sqlite3
import threading
from pathlib import Path

import pytest
from lake_rows import World, append, record, table_of
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import ForbiddenError, ServiceUnavailableError, UnauthorizedError
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField

from k2_streams.core.records.stream import TRADES
from k2_streams.core.records.vector import Vector
from k2_streams.lake import catalog
from k2_streams.lake import table as lake_table
from k2_streams.lake.catalog import lake_calls
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.errors import (
    CommitUnknownError,
    LakeConfigError,
    LakeUnavailableError,
    TableMismatchError,
    TableMissingError,
)
from k2_streams.lake.schema import description_of
from k2_streams.lake.table import Lake
from k2_streams.testing.oracle.invariants import vectors_check


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(lake_table, "RELOAD_PAUSE_S", 0.001)
    return World(tmp_path)


def impatient(world):
    """A writer that does not wait for a lock."""
    return Lake(
        LakeConfig(f"{world.config.catalog_uri}?timeout=0.01", world.config.warehouse_uri),
        stream=TRADES,
    )


@contextlib.contextmanager
def stopped_reader(world):
    """A process that was stopped in the middle of a question: it keeps its lock."""
    database = world.config.catalog_uri.removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM iceberg_tables").fetchone() == (1,)
        yield


def test_a_reader_that_stands_still_in_the_catalog_holds_no_commit_back(world):
    lake = world.writer()
    append(lake, 0, 0, 5)
    with stopped_reader(world):
        append(lake, 0, 5, 9)
        assert world.vector() == {0: 9}


def test_a_commit_that_the_catalog_refused_is_not_found_in_what_was_not_committed(
    tmp_path, monkeypatch
):
    """SQLite without a write-ahead log refuses at the end, with the row written already."""
    monkeypatch.setattr(catalog, "SQLITE_JOURNAL", "DELETE")
    world = World(tmp_path)
    lake = impatient(world)
    append(lake, 0, 0, 5)
    with stopped_reader(world):
        with pytest.raises(CommitUnknownError):
            append(lake, 0, 5, 9)
        assert lake.head().vector.next_of(TRADES.log, 0) == 5
    append(lake, 0, 5, 9)
    assert world.vector() == {0: 9}


def test_an_empty_table_has_a_head_without_snapshot(world):
    head = world.writer().head()
    assert (head.snapshot_id, head.rows, head.vector) == (None, 0, Vector())
    assert world.writer().snapshots() == []


def test_a_head_is_read_from_the_catalog_each_time(world):
    reader = world.writer()
    reader.head()
    done = append(world.writer(), 0, 0, 5)
    assert reader.head() == done.head
    assert reader.head().timestamp_ms > 0


def test_snapshots_tell_their_story(world):
    lake = world.writer()
    first = append(lake, 0, 0, 5, "a")
    append(lake, 0, 5, 9, "b", count=0)
    third = append(lake, 0, 9, 12, "c", count=2)
    found = lake.snapshots()
    assert [(s.commit_id, s.rows_added, s.rows_total, s.files) for s in found] == [
        ("a", 3, 3, 1),
        ("b", 0, 3, 1),
        ("c", 2, 5, 2),
    ]
    assert [s.vector.next_of("k2.trades", 0) for s in found] == [5, 9, 12]
    assert (found[0].id, found[0].parent) == (first.snapshot_id, None)
    assert (found[2].id, found[2].parent) == (third.snapshot_id, found[1].id)
    assert {s.operation for s in found} == {"append"}


def test_the_snapshots_are_those_of_main_and_of_tags_that_were(world):
    lake = world.writer()
    ids = [append(lake, 0, n, n + 1).snapshot_id for n in range(3)]
    with world.table().manage_snapshots() as manage:
        manage.create_tag(ids[0], "audit").create_branch(ids[1], "what-if")
    world.table().append(table_of(record(7, 0)), branch="what-if")
    of_branch = world.table().refs()["what-if"].snapshot_id
    assert [(s.id, s.refs) for s in lake.snapshots()] == [
        (ids[0], ("audit",)), (ids[1], ()), (ids[2], ("main",)),
    ]  # fmt: skip
    assert vectors_check(lake.snapshots(), TRADES.log).differences == []
    ids.append(append(lake, 0, 3, 4).snapshot_id)
    assert [s.id for s in lake.snapshots()] == ids
    # What led to the tagged one has expired; what was set back is no history of main.
    world.table().maintenance.expire_snapshots().by_ids(ids[1:3]).commit()
    assert [(s.id, s.is_ancestor) for s in lake.snapshots()] == [(ids[0], False), (ids[3], True)]
    with world.table().manage_snapshots() as manage:
        manage.create_tag(of_branch, "side").create_tag(ids[3], "mistake")
        manage.rollback_to_snapshot(ids[3])
    assert of_branch not in [s.id for s in lake.snapshots()]


def test_a_snapshot_of_another_engine_on_main_is_no_vector_that_goes_back(world):
    lake = world.writer()
    append(lake, 0, 0, 5)
    world.table().append(table_of(record(7, 0)))
    append(lake, 0, 5, 9)
    check = vectors_check(lake.snapshots(), TRADES.log)
    assert (check.expected, check.found) == (2, 2)
    back = [*lake.snapshots()[::-1]]
    assert vectors_check(back, TRADES.log).found == 1


def test_ensure_keeps_what_is_there(world):
    append(world.writer(), 0, 0, 5)
    world.writer().ensure()
    assert world.writer().head().rows == 3


def test_many_processes_may_create_it_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(lake_table, "RELOAD_PAUSE_S", 0.01)
    config = LakeConfig(f"sqlite:///{tmp_path}/deep/er/k2.db", f"{tmp_path}/warehouse")
    errors = []
    together = threading.Barrier(4)

    def create():
        lake = Lake(config, stream=TRADES)
        together.wait()
        try:
            lake.ensure()
        except Exception as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert Lake(config, stream=TRADES).head().rows == 0


def test_a_new_table_has_the_properties_that_keep_it_fast(world):
    given, properties = description_of(TRADES).properties, world.table().properties
    assert {k: properties[k] for k in given if k != "format-version"} == {
        k: v for k, v in given.items() if k != "format-version"
    }
    assert world.table().metadata.format_version == 2
    bounded = "write.metadata.metrics.column."
    assert {name.removeprefix(bounded) for name in properties if name.startswith(bounded)} == {
        *("exchange", "symbol", "exchange_time", "exchange_time_ns", "accepted_time"),
        *("trading_date", "source_partition", "source_offset", "log_partition", "log_offset"),
    }


def test_a_table_of_other_columns_is_refused(tmp_path):
    config = LakeConfig(f"sqlite:///{tmp_path}/k2.db", f"{tmp_path}/warehouse")
    catalog = load_catalog("k2", type="sql", uri=config.catalog_uri, warehouse=config.warehouse_uri)
    catalog.create_namespace("k2")
    catalog.create_table("k2.trades", schema=Schema(NestedField(1, "a", LongType())))
    with pytest.raises(TableMismatchError, match="expected columns"):
        Lake(config, stream=TRADES).ensure()


def test_a_table_that_was_never_created_is_missing(tmp_path):
    config = LakeConfig(f"sqlite:///{tmp_path}/k2.db", f"{tmp_path}/warehouse")
    with pytest.raises(TableMissingError, match="trades"):
        Lake(config, stream=TRADES).head()


def test_an_address_that_is_none_is_a_clear_error_without_the_secret(tmp_path):
    for uri in ("k2.db", "nosuch://user:hidden@host/db"):
        with pytest.raises(LakeConfigError, match="K2_CATALOG_URI") as refused:
            Lake(LakeConfig(uri, f"{tmp_path}/w"), stream=TRADES).ensure()
        assert "hidden" not in str(refused.value)


def test_secrets_are_not_shown():
    assert "hidden" not in repr(LakeConfig("http://c", "w", {"token": "hidden"}))


def test_a_rest_catalog_that_is_away_is_unavailable(tmp_path):
    with pytest.raises(LakeUnavailableError):
        Lake(LakeConfig("http://127.0.0.1:9", "w"), stream=TRADES).head()


def test_a_bare_warehouse_path_becomes_a_file_uri(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert LakeConfig("sqlite:///c", "w").warehouse_uri == f"file://{tmp_path}/w"
    assert LakeConfig("sqlite:///c", "s3://b/w").warehouse_uri == "s3://b/w"
    assert LakeConfig("https://c", "prod").warehouse_uri == "prod"


@pytest.mark.parametrize(
    ("catalog", "warehouse", "folder"),
    [
        ("sqlite:///c", "/data/w", "/data/w"),
        ("sqlite:///c", "file:///data/w", "/data/w"),
        ("https://c", "file:///data/w", "/data/w"),
        ("https://c", "/data/w", "/data/w"),
        ("https://c", "prod", None),
        ("https://c", "s3://b/w", None),
        ("sqlite:///c", "s3://b/w", None),
    ],
)
def test_queries_read_a_folder_or_what_is_none(catalog, warehouse, folder):
    assert LakeConfig(catalog, warehouse).folder == folder


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_a_locked_catalog_is_unavailable_and_then_not(tmp_path, monkeypatch, journal):
    """To writers; to readers too, if they wait for writers."""
    monkeypatch.setattr(catalog, "SQLITE_JOURNAL", journal)
    world = World(tmp_path)
    lake = impatient(world)
    append(lake, 0, 0, 5)
    holder = sqlite3.connect(Path(world.config.catalog_uri.removeprefix("sqlite:///")))
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises((LakeUnavailableError, CommitUnknownError), match="locked"):
        append(lake, 0, 5, 9)
    if journal == "DELETE":
        with pytest.raises(LakeUnavailableError, match="locked"):
            lake.head()
    else:
        assert lake.head().rows == 3
    holder.rollback()
    holder.close()
    append(lake, 0, 5, 9)
    assert lake.head().rows == 6


def test_a_warehouse_that_cannot_be_written_is_unavailable_and_nothing_is_committed(world):
    lake = world.writer()
    append(lake, 0, 0, 5)
    data = next(p for p in Path(world.config.warehouse).rglob("data") if p.is_dir())
    aside = data.rename(data.with_name("aside"))
    data.write_text("a file where a folder belongs")
    with pytest.raises(LakeUnavailableError, match="data files"):
        append(lake, 0, 5, 9)
    data.unlink()
    aside.rename(data)
    append(lake, 0, 5, 9)
    assert world.vector() == {0: 9}


@pytest.mark.parametrize(
    ("raised", "meant"),
    [
        (UnauthorizedError("401"), LakeConfigError),
        (ForbiddenError("403"), LakeConfigError),
        (ServiceUnavailableError("503"), LakeUnavailableError),
        (ConnectionResetError("reset"), LakeUnavailableError),
    ],
)
def test_an_answer_is_grouped_by_what_can_be_done(raised, meant):
    with pytest.raises(meant, match="look"), lake_calls("look"):
        raise raised


def test_a_closed_lake_does_not_wait_between_tries(tmp_path, monkeypatch):
    monkeypatch.setattr(lake_table, "RELOAD_PAUSE_S", 3600)
    lake = Lake(LakeConfig("http://127.0.0.1:9", "w"), stream=TRADES)
    lake.close()
    with pytest.raises(LakeUnavailableError):
        lake.ensure()
