"""Tags keep snapshots and their files; holds refuse deletion, also where another engine deletes."""

import json

import pytest
from click.testing import CliRunner
from lake_rows import DAY_NS, TOPIC_ID, World, before_each_commit, record, table_of
from maintenance_world import SetClock, commit, compact_all, filled, rows_of
from pyiceberg.exceptions import CommitFailedException
from rows_requests import parse_rows

from k2_streams.cli.main import main
from k2_streams.core.records.stream import QUOTES, TRADES
from k2_streams.lake.errors import LakeUnavailableError
from k2_streams.lake.maintenance import expiry
from k2_streams.lake.maintenance.deletions import delete_due
from k2_streams.lake.maintenance.expiry import expire_snapshots
from k2_streams.lake.maintenance.tags import (
    TAG_TRIES,
    TagError,
    create_tag,
    delete_tag,
    list_tags,
    release_tag,
)
from k2_streams.lake.table import Lake
from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.query.errors import InvalidParameter
from k2_streams.query.hybrid import HybridQuery
from k2_streams.query.lake_view import LakeView
from k2_streams.query.request import RowsRequest
from k2_streams.query.tail.store import Tail
from k2_streams.query.token import TagName

LATER = 1 << 62
NEXT_DAY = SetClock(SetClock().now_ns + DAY_NS)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def snapshots(world):
    return {one.snapshot_id for one in world.table().metadata.snapshots}


def maintain(world, now_ms=1 << 50):
    """Compact, expire all that may, and delete it at once."""
    compact_all(world, clock=NEXT_DAY)
    commit(world.writer(), world.vector()[0])
    expire_snapshots(world.writer(), keep=1, older_than_ms=LATER, files_at_ms=now_ms)
    delete_due(world.writer(), SetClock((now_ms + 1) * 1_000_000), delay_s=0.0)


def test_a_tagged_snapshot_is_the_same_after_all_maintenance(world):
    filled(world, 5)
    tag = create_tag(world.writer(), "eod-2026-11-24")
    assert (tag.rows, tag.retain_ms, tag.is_held) == (15, None, False)
    before = rows_of(world)
    for _ in range(2):
        maintain(world)
    assert list_tags(world.writer()) == [tag]
    assert rows_of(world, snapshot_id=tag.snapshot_id).equals(before)
    delete_tag(world.writer(), "eod-2026-11-24")
    maintain(world)
    assert tag.snapshot_id not in snapshots(world)
    assert len(world.data_files()) == 2


def test_a_tag_is_kept_as_long_as_it_is_retained(world):
    filled(world, 3)
    tag = create_tag(world.writer(), "week", retain_s=7 * 86_400.0)
    assert tag.retain_ms == 7 * 86_400_000
    maintain(world, now_ms=tag.timestamp_ms + tag.retain_ms)
    assert list_tags(world.writer()) == [tag]
    maintain(world, now_ms=tag.timestamp_ms + tag.retain_ms + 1)
    assert list_tags(world.writer()) == []
    assert tag.snapshot_id not in snapshots(world)


def test_a_tag_that_is_created_anew_beside_an_expiry_is_kept(world, monkeypatch):
    """The expiry has seen the old one, which was over."""
    filled(world, 2)
    create_tag(world.writer(), "eod", retain_s=0.001)
    commit(world.writer(), 2)
    real = expiry.doomed_by

    def doomed_by(*of):
        found = real(*of)
        monkeypatch.undo()
        delete_tag(world.writer(), "eod")
        create_tag(world.writer(), "eod")
        return found

    monkeypatch.setattr(expiry, "doomed_by", doomed_by)
    maintain(world)
    (tag,) = list_tags(world.writer())
    assert (tag.name, tag.retain_ms) == ("eod", None)
    assert tag.snapshot_id == world.table().current_snapshot().snapshot_id


def test_a_hold_refuses_deletion_until_it_is_released(world):
    filled(world, 3)
    tag = create_tag(world.writer(), "audit", is_held=True)
    assert tag.is_held
    with pytest.raises(TagError, match="k2 tag release audit"):
        delete_tag(world.writer(), "audit")
    maintain(world)
    assert tag.snapshot_id in snapshots(world)
    release_tag(world.writer(), "audit")
    delete_tag(world.writer(), "audit")
    maintain(world)
    assert tag.snapshot_id not in snapshots(world)


def test_a_hold_keeps_the_snapshot_though_another_engine_drops_the_tag(world):
    filled(world, 3)
    tag = create_tag(world.writer(), "audit", is_held=True)
    before = rows_of(world)
    with world.table().manage_snapshots() as manage:
        manage.remove_tag("audit")
    maintain(world)
    assert rows_of(world, snapshot_id=tag.snapshot_id).equals(before)
    release_tag(world.writer(), "audit")
    maintain(world)
    assert tag.snapshot_id not in snapshots(world)


def test_a_sink_that_lets_snapshots_expire_keeps_tags_and_holds(world):
    lake = filled(world, 3)
    create_tag(world.writer(), "week", retain_s=1.0)
    held = create_tag(world.writer(), "audit", is_held=True)
    with world.table().manage_snapshots() as manage:
        manage.remove_tag("audit")
    commit(lake, 3)
    expire_snapshots(lake, keep=1, older_than_ms=LATER)
    assert held.snapshot_id in snapshots(world)
    assert [one.name for one in list_tags(lake)] == ["week"]


@pytest.mark.parametrize("name", ["", "-x", "a b", "x" * 101, "tag:x", "main"])
def test_a_name_that_is_taken_or_none_is_refused(world, name):
    filled(world, 1)
    with pytest.raises(TagError):
        create_tag(world.writer(), name)


def test_a_tag_is_not_moved(world):
    lake = filled(world, 1)
    tag = create_tag(lake, "day")
    commit(lake, 1)
    with pytest.raises(TagError, match="already"):
        create_tag(lake, "day")
    assert list_tags(lake) == [tag]


def test_what_is_not_there_is_named(world):
    with pytest.raises(TagError, match="found none"):
        create_tag(world.writer(), "day")
    filled(world, 1)
    create_tag(world.writer(), "day")
    with pytest.raises(TagError, match=r"one of its tags \(day\), found 'night'"):
        delete_tag(world.writer(), "night")
    with pytest.raises(TagError, match="not held"):
        release_tag(world.writer(), "day")


def test_a_snapshot_that_cannot_be_asked_for_is_not_tagged(world):
    filled(world, 1)
    world.table().append(table_of(record(7, 0)))
    with pytest.raises(TagError, match="another engine"):
        create_tag(world.writer(), "day")


def test_a_sink_that_commits_in_between_hinders_nobody(world):
    sink, lake = filled(world, 1), world.writer()
    before_each_commit(lake, lambda n: commit(sink, n), times=1)
    assert create_tag(lake, "day").rows == 3
    assert world.table().metadata.refs["day"].snapshot_id != lake.head().snapshot_id


@pytest.mark.parametrize("times", [1, TAG_TRIES])
def test_a_conflict_is_tried_again_a_few_times(world, times):
    filled(world, 1)
    lake = world.writer()

    def conflict(_):
        raise CommitFailedException("conflict")

    before_each_commit(lake, conflict, times=times)
    if times < TAG_TRIES:
        assert create_tag(lake, "day").rows == 3
        return
    with pytest.raises(LakeUnavailableError, match="others were first"):
        create_tag(lake, "day")
    assert list_tags(world.writer()) == []


@pytest.fixture
def command(world, monkeypatch):
    monkeypatch.setenv("K2_CATALOG_URI", world.config.catalog_uri)
    monkeypatch.setenv("K2_WAREHOUSE", world.config.warehouse)

    def run(*arguments, code=0):
        done = CliRunner().invoke(main, ["tag", *arguments])
        assert done.exit_code == code, done.output
        return done.output

    return run


def test_tables_that_it_does_not_concern_are_left_out(world, command):
    assert "found none" in command("create", "eod", code=2)
    Lake(world.config, stream=QUOTES).ensure()
    filled(world, 1)
    assert command("create", "eod", "--hold").startswith("trades: eod is snapshot")
    assert "found none" in command("create", "more", "--table", "quotes", code=2)
    assert command("release", "eod") == "trades: released eod\n"
    assert "is not held" in command("release", "eod", code=2)
    assert command("delete", "eod") == "trades: deleted eod\n"
    assert "one of its tags (none), found 'eod'" in command("delete", "eod", code=2)


def test_the_command_creates_lists_holds_and_deletes(world, command):
    filled(world, 2)
    assert "trades: eod is snapshot" in command("create", "eod", "--retain", "7y")
    command("create", "audit", "--hold", "--table", "trades")
    found = [json.loads(line) for line in command("list", "--json").splitlines()]
    assert [(one["name"], one["is_held"]) for one in found] == [("audit", True), ("eod", False)]
    assert found[1]["retain_ms"] == 7 * 365 * 86_400_000
    assert "audit" in command("list")
    assert "is held" in command("delete", "audit", code=2)
    assert command("release", "audit") == "trades: released audit\n"
    assert command("delete", "audit") == "trades: deleted audit\n"
    assert "choose one" in command("create", "x", "--hold", "--retain", "1d", code=2)


async def test_an_answer_as_of_a_tag_is_the_same_after_all_maintenance(world, tmp_path):
    filled(world, 5)
    engine = Engine(EngineConfig(allowed=(str(tmp_path),)))
    tail = Tail(TRADES, topic_id=TOPIC_ID, memory_bytes=1 << 20)
    query = HybridQuery(tail, LakeView(world.writer), engine, None, clock=SetClock(), stream=TRADES)
    try:
        tail.seek(0, 5)
        await query.refresh()
        create_tag(world.writer(), "eod")
        as_of_tag = RowsRequest(as_of=TagName("eod"), limit=100)
        before = await query.rows(as_of_tag)
        assert before.rows.num_rows == 15
        assert before.meta.pinned
        for _ in range(2):
            maintain(world)
        tail.seek(0, 7)
        await query.refresh()
        after = await query.rows(as_of_tag)
        assert after.rows.equals(before.rows)
        assert after.meta.token == before.meta.token
        assert (await query.rows(RowsRequest(limit=100))).rows.num_rows == 21
        pages = await query.rows(RowsRequest(as_of=TagName("eod"), limit=4))
        assert pages.rows.equals(before.rows.slice(0, 4))
        with pytest.raises(InvalidParameter, match="trades has no tag 'night'"):
            await query.rows(RowsRequest(as_of=TagName("night")))
        with pytest.raises(InvalidParameter, match="no tag 'main'"):
            await query.rows(RowsRequest(as_of=TagName("main")))
    finally:
        await query.close()
        engine.close()


async def test_a_tag_that_another_engine_gave_a_snapshot_of_its_own_is_refused(world, tmp_path):
    filled(world, 1)
    world.table().append(table_of(record(7, 0)))
    with world.table().manage_snapshots() as manage:
        manage.create_tag(world.table().current_snapshot().snapshot_id, "theirs")
    view = LakeView(world.writer)
    query = HybridQuery(Tail(TRADES, topic_id=TOPIC_ID, memory_bytes=1), view, None, None,
                        clock=SetClock(), stream=TRADES)  # fmt: skip
    with pytest.raises(InvalidParameter, match="another engine made the snapshot"):
        await query.rows(RowsRequest(as_of=TagName("theirs")))
    await query.close()


def test_the_parameter_takes_a_tag_or_a_token():
    assert parse_rows({"as_of": "tag:eod-2026-11-24"}).as_of == TagName("eod-2026-11-24")
    with pytest.raises(InvalidParameter, match="or tag:NAME"):
        parse_rows({"as_of": "eod-2026-11-24"})
