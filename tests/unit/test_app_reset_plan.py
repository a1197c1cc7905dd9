"""What `k2 app reset` deletes, in which order, and when it refuses."""

import fcntl
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_agents import raw_topology

from k2_streams.cli.app_reset import refused, shown
from k2_streams.core.records.source import QUOTES_INPUT
from k2_streams.core.records.stream import QUOTES, TRADES
from k2_streams.runtime.lock import DirectoryLock, is_held
from k2_streams.runtime.reset.found import state_folders
from k2_streams.runtime.reset.plan import (
    STATE,
    Deleted,
    Found,
    guards_of,
    owned_topics,
    plan_of,
    streams_of,
)
from k2_streams.runtime.settings.worker import from_environment
from k2_streams.runtime.topics import topics_of
from k2_streams.topology.declarations import (
    Agent,
    Output,
    RawSource,
    StreamSource,
    Table,
    Topology,
)

SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("time_ns", pa.int64(), nullable=False),
    ]
)


def nothing(_batch: Any, _ctx: Any) -> None: ...


def surveillance() -> Topology:
    trades, quotes = StreamSource(TRADES), StreamSource(QUOTES)
    recent, spread = Table("recent", int), Table("spread", int)
    alerts, spreads = (
        Output.of(name, SCHEMA, key=("symbol",), time="time_ns") for name in ("alerts", "spreads")
    )
    agents = (
        Agent("alerts", trades, nothing, (recent,), (alerts,)),
        Agent("spreads", quotes, nothing, (spread,), (spreads,)),
    )
    return Topology("desk", (trades, quotes), agents, (recent, spread), (alerts, spreads))


TOPOLOGIES = {
    "trades": raw_topology("k2"),
    "quotes": raw_topology("k2-quotes", QUOTES_INPUT),
    "surveillance": surveillance(),
}
EVERY = pytest.mark.parametrize("topology", TOPOLOGIES.values(), ids=TOPOLOGIES)


def everything(topology: Topology) -> Found:
    """An app that has run."""
    names = frozenset(one.name for one in owned_topics(topology, "app"))
    streams = frozenset(streams_of(topology))
    return Found(
        topics=names,
        written=names,
        tables=streams,
        filled=streams,
        folders=(Path("/k2/worker-0"),),
        has_group=True,
    )


@EVERY
def test_every_topic_of_an_app_is_deleted_but_what_it_reads(topology):
    """Those that a start creates, neither more nor less."""
    settings = from_environment({"K2_APP_ID": "app"})
    created = {spec.name for spec in topics_of(topology, settings)}
    read = {source.topic for source in topology.sources}
    assert {one.name for one in owned_topics(topology, "app")} == created - read


@EVERY
def test_the_whole_of_an_app_with_its_outputs(topology):
    plan = plan_of(topology, "app", everything(topology), outputs=True)
    assert plan.kept == ()
    assert set(plan.read).isdisjoint(one.name for one in plan.deletions)
    assert [one.kind for one in plan.deletions] == sorted(
        (one.kind for one in plan.deletions), key=list(Deleted).index
    )
    kinds = {one.kind for one in plan.deletions}
    raw = topology.raw is not None
    of_raw = {Deleted.DEFERRED, Deleted.EVENTS, Deleted.REDRIVES, Deleted.REPAIRS}
    assert kinds == set(Deleted) - (set() if raw else of_raw)


@EVERY
def test_without_its_outputs_an_app_loses_its_state_alone(topology):
    plan = plan_of(topology, "app", everything(topology), outputs=False)
    assert {one.kind for one in plan.deletions} <= STATE
    assert {one.kind for one in plan.kept} >= {Deleted.TABLE, Deleted.LOG, Deleted.DEAD_LETTERS}
    assert Deleted.LEVELS not in {one.kind for one in plan.kept}, "they are no reason to refuse"


@EVERY
def test_whenever_a_reset_ends_half_way_the_app_refuses_to_start_on_the_rest(topology):
    """The position goes after all other state, and the logs, which stop a start, at last."""
    plan = plan_of(topology, "app", everything(topology), outputs=True)
    names = [one.name for one in plan.deletions]
    for source in topology.sources:
        first = source.input.tables[0] if isinstance(source, RawSource) else source.position_table
        position = names.index(f"app-{first}-changelog")
        for agent in topology.agents_of(source):
            for table in agent.declared_tables:
                assert names.index(f"app-{table.name}-changelog") < position
        if isinstance(source, RawSource):
            assert (
                names.index("app-dedup-changelog") < position < names.index(source.input.deferred)
            )
    for logs, outputs in guards_of(topology):
        others = [names.index(one) for one in outputs if one not in logs]
        assert max(others) < min(names.index(log) for log in logs)
    for one, following in pairwise(plan.deletions):
        assert (one.kind in STATE) >= (following.kind in STATE), "no state after an output"


@given(st.sampled_from(list(TOPOLOGIES)), st.data())
def test_nothing_is_deleted_that_is_not_there_and_never_a_source(name, data):
    topology = TOPOLOGIES[name]
    own = [one.name for one in owned_topics(topology, "app")]
    topics = data.draw(st.frozensets(st.sampled_from([*own, "k2.trades.raw", "k2.other"])))
    tables = data.draw(st.frozensets(st.sampled_from([*streams_of(topology), "other"])))
    found = Found(topics=topics, tables=tables)
    plan = plan_of(topology, "app", found, outputs=data.draw(st.booleans()))
    deleted = {one.name for one in plan.deletions}
    assert deleted <= (topics & set(own)) | (tables & set(streams_of(topology)))
    assert not deleted & {source.topic for source in topology.sources}


def test_an_app_that_never_ran_has_nothing_to_delete():
    plan = plan_of(TOPOLOGIES["trades"], "k2", Found(), outputs=True)
    assert list(shown(plan, "to delete")) == [
        "to delete: nothing", "kept: nothing", "read, never deleted: k2.trades.raw",
    ]  # fmt: skip
    assert refused(plan, Found(), None) is None


def test_the_plan_is_shown_line_by_line():
    topology = TOPOLOGIES["surveillance"]
    plan = plan_of(topology, "app", everything(topology), outputs=True)
    assert "\n".join(shown(plan, "to delete")) == (
        "to delete:\n"
        "  group offsets     app\n"
        "  state folder      /k2/worker-0\n"
        "  changelog         app-recent-changelog\n"
        "  changelog         app-spread-changelog\n"
        "  changelog         app-position-trades-changelog\n"
        "  changelog         app-position-quotes-changelog\n"
        "  Iceberg table     k2.alerts, with its files\n"
        "  Iceberg table     k2.spreads, with its files\n"
        "  dead letters      k2.desk.trades.dead-letter\n"
        "  dead letters      k2.desk.quotes.dead-letter\n"
        "  level changes     k2.desk.levels\n"
        "  output            k2.alerts\n"
        "  output            k2.spreads\n"
        "kept: nothing\n"
        "read, never deleted: k2.trades, k2.quotes"
    )


def test_where_something_was_written_one_has_to_choose():
    topology = TOPOLOGIES["trades"]
    found = everything(topology)
    kept = plan_of(topology, "app", found, outputs=False)
    assert "8 outputs hold something: choose --outputs" in refused(kept, found, None)
    assert refused(kept, found, outputs=False) is None
    assert refused(plan_of(topology, "app", found, outputs=True), found, outputs=True) is None


def test_outputs_are_not_kept_where_nothing_would_stop_the_app_from_writing_them_again():
    """Records of a log expire after a week; dead letters and the table's rows do not."""
    topology = TOPOLOGIES["trades"]
    written = everything(topology)
    found = Found(topics=written.topics, written=written.written, unguarded=("k2.trades-3",))
    plan = plan_of(topology, "app", found, outputs=False)
    text = refused(plan, found, outputs=False)
    assert text.startswith("k2.trades-3: written, and their logs hold no record any more")
    assert refused(plan_of(topology, "app", found, outputs=True), found, outputs=True) is None


def test_the_folders_of_all_workers_of_this_app_are_found(tmp_path):
    for name in ("worker-0", "worker-12", "worker-a", "quotes-worker-0", "worker-1.log"):
        (tmp_path / name).mkdir()
    (tmp_path / "worker-3").write_text("a file")
    assert [one.name for one in state_folders(tmp_path, "worker")] == ["worker-0", "worker-12"]
    assert state_folders(tmp_path / "absent", "worker") == []


def test_a_folder_that_a_worker_holds_is_known_and_not_written_to(tmp_path):
    folder = tmp_path / "worker-0"
    assert not is_held(folder)
    lock = DirectoryLock(folder)
    assert is_held(folder)
    lock.release()
    assert not is_held(folder)
    with (folder / "lock").open() as file:  # the look itself holds nothing
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
