"""Compaction replaces files by one with the same rows, beside sinks and other engines."""

import copy
import gc
import itertools

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lake_rows import DAY_NS, NOON_NS, TOPIC_ID, World, append, places_of, table_of
from lake_rows import record as record_of
from maintenance_world import (
    POLICY,
    TODAY,
    SetClock,
    commit,
    compact_all,
    compactor,
    filled,
    live_files,
    rows_of,
    state_of,
)
from pyiceberg.manifest import DataFile, ManifestContent
from pyiceberg.table.snapshots import Operation, Snapshot
from pyiceberg.types import StringType

from k2_streams.core.maintenance.compaction import CompactionPolicy
from k2_streams.core.maintenance.row_sums import sums_of
from k2_streams.core.records.stream import TRADES, Stream
from k2_streams.core.records.vector import Range
from k2_streams.failpoints import FailpointError, arm, parse
from k2_streams.lake import files
from k2_streams.lake import table as lake_table
from k2_streams.lake.errors import (
    InputsGoneError,
    LakeUnavailableError,
    NotProvenError,
    TableMismatchError,
    VectorMissingError,
)
from k2_streams.lake.history import EarlierMetadata
from k2_streams.lake.maintenance import compaction, reading, rewrite
from k2_streams.lake.maintenance.compaction import Compactor
from k2_streams.lake.maintenance.replace import attempt_replace, find_replacement
from k2_streams.lake.schema import description_of
from k2_streams.lake.table import COMMIT_WITHIN_S, Lake


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(lake_table, "RELOAD_PAUSE_S", 0.001)
    yield World(tmp_path)
    arm(())


def before_commit(compacting, act, times=1):
    """Another's act between what the compaction saw and its request to the catalog."""
    compacting._lake.load()
    real, calls = compacting._lake._catalog.commit_table, []

    def commit_table(*args, **kwargs):
        calls.append(args)
        if len(calls) <= times:
            act(len(calls))
        return real(*args, **kwargs)

    compacting._lake._catalog.commit_table = commit_table
    return calls


def test_small_files_of_a_day_become_one_with_the_same_rows(world):
    filled(world, 10)
    before, rows = state_of(world), rows_of(world)
    (done,) = compact_all(world)
    assert (done.files, done.rows, done.day, done.attempts) == (10, 30, TODAY, 1)
    assert len(live_files(world)) == 1
    assert state_of(world) == before
    assert rows_of(world).equals(rows)


def test_a_compacted_table_is_a_replace_with_the_heads_vector_and_an_id_of_its_own(world):
    lake = filled(world, 8)
    lake.append(
        table_of(record_of(0, 8)),
        {0: Range(8, 9)},
        topic_id="topic-1",
        commit_id="with-deferred",
        deferred={0: 7},
    )
    before = world.table().current_snapshot()
    compact_all(world)
    snapshot = world.table().current_snapshot()
    assert snapshot.summary.operation is Operation.REPLACE
    says, said = snapshot.summary.additional_properties, before.summary.additional_properties
    assert says["k2.offsets"] == said["k2.offsets"]
    assert '"deferred":{"0":7}' in says["k2.offsets"]
    assert says["k2.commit-id"] not in {f"commit-0-{n}" for n in range(8)} | {"with-deferred"}
    assert says["total-records"] == said["total-records"] == "27"
    assert (says["added-data-files"], says["deleted-data-files"]) == ("1", "9")
    assert says["total-data-files"] == "1"


def test_a_sink_goes_on_as_if_nothing_had_happened(world):
    lake = filled(world, 8)
    compact_all(world)
    commit(lake, 8)
    assert world.vector() == {0: 9}
    assert world.places() == places_of(*[(0, n) for n in range(9)])
    # A commit that the compaction hides is still found by who repeats it.
    again = commit(lake, 8)
    assert again.attempts == 0


def test_each_day_has_files_of_its_own(world):
    lake = world.writer()
    for start in range(12):
        commit(lake, start, day=-(start % 3))
    before = rows_of(world)
    done = compact_all(world)
    assert [one.day for one in done] == [TODAY - 2, TODAY - 1]  # today waits for more files
    assert [one.files for one in done] == [4, 4]
    assert len(live_files(world)) == 2 + 4
    assert rows_of(world).equals(before)


def test_rows_are_sorted_and_row_groups_are_as_the_sinks(world):
    with world.table().transaction() as change:
        change.set_properties({"write.parquet.row-group-limit": "7"})
    filled(world, 9)
    compact_all(world)
    (file,) = live_files(world)
    parquet = pq.ParquetFile(file.file_path.removeprefix("file://"))
    rows = parquet.read()
    keys = list(
        zip(*(rows[name].to_pylist() for name in ("symbol", "exchange_time_ns")), strict=True)
    )
    assert keys == sorted(keys)
    groups = [parquet.metadata.row_group(at).num_rows for at in range(parquet.num_row_groups)]
    assert groups == [7, 7, 7, 6]


def test_what_does_not_fit_into_memory_is_written_range_by_range(world, monkeypatch):
    """No more rows at once than a range has; the file is the same as in one piece."""
    filled(world, 12, count=40)
    monkeypatch.setattr(rewrite, "SAMPLE_EVERY_ROWS", 5)
    before, most = rows_of(world), []
    real = rewrite.in_file_order

    def in_file_order(rows, described):
        most.append(rows.num_rows)
        return real(rows, described)

    monkeypatch.setattr(rewrite, "in_file_order", in_file_order)
    row_bytes = before.nbytes // before.num_rows
    compact_all(world, range_bytes=100 * row_bytes)
    assert len(most) >= 4
    assert sum(most) == 480
    assert max(most) <= 100 + 12 * 5
    assert rows_of(world).equals(before)
    (file,) = live_files(world)
    rows = pq.read_table(file.file_path.removeprefix("file://"))
    keys = list(
        zip(*(rows[name].to_pylist() for name in ("symbol", "exchange_time_ns")), strict=True)
    )
    assert keys == sorted(keys)


def test_a_row_group_of_many_rows_is_read_piece_by_piece(world, monkeypatch):
    """As another engine writes them: all rows of a file in one."""
    filled(world, 1, count=200)
    monkeypatch.setattr(reading, "PART_ROWS", 20)
    monkeypatch.setattr(reading, "MAX_READ_ROWS", 40)
    (file,) = live_files(world)
    opened = reading.InputFile(world.table().io, file, description_of(TRADES))
    parts = list(opened.parts())
    assert max(part.num_rows for part in parts) <= 20
    assert sums_of(pa.concat_tables(parts)) == sums_of(rows_of(world))
    assert sum(part.num_rows for part in opened.parts(["symbol"])) == 200


def test_of_files_that_are_not_chosen_little_is_kept(world, monkeypatch):
    """A table that was never compacted may have hundreds of thousands of them."""
    filled(world, 12)
    kept = []
    real = compaction.next_group

    def next_group(*of):
        gc.collect()
        kept.append(sum(isinstance(one, DataFile) for one in gc.get_objects()))
        return real(*of)

    monkeypatch.setattr(compaction, "next_group", next_group)
    before = sum(isinstance(one, DataFile) for one in gc.get_objects())
    assert compactor(world).run_once().files == 12
    assert kept[0] - before <= 1, "that of the manifest which was read last"


def test_a_commit_whose_files_may_be_orphans_by_now_is_not_sent(world, monkeypatch):
    """The process stood still while it wrote: it writes them again, and then it lands."""
    clock = SetClock()
    lake = Lake(world.config, clock, stream=TRADES)
    compacting = Compactor(lake, clock, POLICY)
    filled(world, 8)
    before, head = state_of(world), world.table().current_snapshot()
    real = rewrite.Rewrite.run

    def run(self):
        made = real(self)
        clock.now_ns += int((COMMIT_WITHIN_S + 1) * 1e9)
        return made

    with monkeypatch.context() as standing_still:
        standing_still.setattr(rewrite.Rewrite, "run", run)
        with pytest.raises(LakeUnavailableError, match="written again"):
            compacting.run_once()
    assert world.table().current_snapshot() == head
    assert compacting.run_once().files == 8
    assert state_of(world) == before


def test_large_files_stay_as_they_are(world):
    filled(world, 10)
    size = min(file.file_size_in_bytes for file in live_files(world))
    assert compact_all(world, policy=CompactionPolicy(target_bytes=size)) == []


@pytest.mark.parametrize("times", [1, 3])
def test_a_sink_that_commits_meanwhile_is_neither_lost_nor_hindered(world, times):
    """Its rows are of the day that is compacted; the vector is that of the attempt's head."""
    filled(world, 8)
    sink = world.writer()
    compacting = compactor(world)
    attempts = []
    calls = before_commit(
        compacting, lambda n: attempts.append(commit(sink, 7 + n).attempts), times=times
    )
    done = compacting.run_once()
    assert done.files == 8
    assert done.attempts == len(calls) == times + 1
    assert attempts == [1] * times
    assert world.vector() == {0: 8 + times}
    assert world.places() == places_of(*[(0, n) for n in range(8 + times)])
    assert len(live_files(world)) == 1 + times


def test_a_sink_whose_commit_meets_a_compaction_lands_in_its_next_attempt(world):
    sink = filled(world, 8)
    real, calls = sink._catalog.commit_table, []

    def commit_table(*args, **kwargs):
        calls.append(args)
        if len(calls) == 1:
            compact_all(world)
        return real(*args, **kwargs)

    sink._catalog.commit_table = commit_table
    assert commit(sink, 8).attempts == 2
    assert world.places() == places_of(*[(0, n) for n in range(9)])
    assert len(live_files(world)) == 2


def test_two_compactions_of_the_same_files_double_no_row(world):
    """The later one finds its inputs gone, and plans anew."""
    filled(world, 8)
    before = state_of(world)
    late = compactor(world)
    before_commit(late, lambda _: compact_all(world))
    with pytest.raises(InputsGoneError):
        late.run_once()
    assert late.run_once() is None
    assert state_of(world) == before
    assert len(live_files(world)) == 1


def test_a_commit_whose_answer_is_lost_is_found_to_have_landed(world):
    filled(world, 8)
    before = state_of(world)
    compacting = compactor(world)
    compacting._lake.load()
    real = compacting._lake._catalog.commit_table

    def commit_table(*args, **kwargs):
        real(*args, **kwargs)
        raise TimeoutError("read timed out")

    compacting._lake._catalog.commit_table = commit_table
    assert compacting.run_once().files == 8
    assert state_of(world) == before
    assert len(live_files(world)) == 1


POINTS = (
    "maintenance.planned", "maintenance.rewritten", "maintenance.proven", "maintenance.replaced",
    "lake.manifests-written", "lake.committing", "lake.committed",
)  # fmt: skip


class CrashError(BaseException):
    """The process is gone: nothing handles it."""


def crash():
    raise CrashError


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.slow
def test_a_crash_at_any_step_leaves_rows_and_vector_as_they_were(world, point):
    sink = filled(world, 8)
    before = state_of(world)
    arm(parse(f"{point}=crash"), crash=crash)
    with pytest.raises(CrashError):
        compactor(world).run_once()
    arm(())
    assert state_of(world) == before
    # Whatever was left behind, the sink and the next compaction go on.
    commit(sink, 8)
    for _ in range(2):
        compact_all(world, clock=SetClock(SetClock().now_ns + 86_400_000_000_000))
    assert len(live_files(world)) == 1
    assert world.places() == places_of(*[(0, n) for n in range(9)])


@pytest.mark.parametrize("point", POINTS[:3])
def test_an_error_before_the_commit_changes_nothing(world, point):
    filled(world, 8)
    before, head = state_of(world), world.table().current_snapshot()
    arm(parse(f"{point}=raise"))
    with pytest.raises(FailpointError):
        compactor(world).run_once()
    assert world.table().current_snapshot() == head
    assert state_of(world) == before


@pytest.mark.parametrize(
    "damage",
    {
        "a row lost": lambda rows: rows.slice(1),
        "a row doubled": lambda rows: rows.take([0, *range(rows.num_rows)]),
        "a row in place of another": lambda rows: rows.take([0, 0, *range(2, rows.num_rows)]),
        "a value changed": lambda rows: rows.set_column(
            rows.schema.get_field_index("late"), rows.schema.field("late"), [[True] * len(rows)]
        ),
    }.values(),
    ids=["lost", "doubled", "replaced", "changed"],
)
def test_what_is_not_proven_is_not_committed(world, monkeypatch, damage):
    filled(world, 8)
    before, head = state_of(world), world.table().current_snapshot()
    real = rewrite.in_file_order

    def in_file_order(rows, described):
        return damage(real(rows, described))

    monkeypatch.setattr(rewrite, "in_file_order", in_file_order)
    compacting = compactor(world)
    assert compacting.run_once() is None
    assert world.table().current_snapshot() == head
    assert state_of(world) == before
    assert len(compacting.unfit) == 8  # not tried for ever
    assert all("nothing was committed" in reason for reason in compacting.unfit.values())


def test_rows_that_a_range_leaves_out_are_noticed(world, monkeypatch):
    """The places are read without ranges, so that a wrong range cannot hide a row."""
    filled(world, 8)
    head = world.table().current_snapshot()
    real = rewrite.ranges_of

    def ranges_of(sample, count):
        (first, *_) = real(sample, 2)
        return [first]

    monkeypatch.setattr(rewrite, "ranges_of", ranges_of)
    assert compactor(world).run_once() is None
    assert world.table().current_snapshot() == head


def test_a_table_that_k2_cannot_write_to_is_refused(world):
    filled(world, 8)
    with world.table().update_schema() as update:
        update.rename_column("vendor", "supplier")
    files = len(world.data_files())
    with pytest.raises(TableMismatchError, match="RENAME COLUMN supplier TO vendor"):
        compactor(world).run_once()
    assert len(world.data_files()) == files


def test_a_table_changed_under_the_commit_is_refused(world):
    filled(world, 8)
    compacting = compactor(world)

    def rename(_):
        with world.table().update_schema() as update:
            update.rename_column("vendor", "supplier")

    before_commit(compacting, rename)
    with pytest.raises(TableMismatchError, match="RENAME COLUMN"):
        compacting.run_once()
    assert len(live_files(world)) == 8


def test_a_table_that_does_not_say_what_it_holds_is_not_touched(world):
    for n in range(8):
        world.table().append(table_of(record_of(0, n)))
    with pytest.raises(VectorMissingError):
        compactor(world).run_once()
    assert len(live_files(world)) == 8


def test_files_of_another_engine_with_columns_of_its_own_stay_as_they_are(world):
    filled(world, 8)
    with world.table().update_schema() as update:
        update.add_column("desk", StringType())
    table = world.table()
    rows = table.scan().to_arrow().slice(0, 3)
    desk = rows.schema.get_field_index("desk")
    table.append(rows.set_column(desk, "desk", [["equities"] * 3]))
    compacting = compactor(world)
    assert compacting.run_once().files == 8
    assert compacting.run_once() is None
    ((path, reason),) = compacting.unfit.items()
    assert "does not know its columns ['desk']" in reason
    assert sorted(world.table().scan().to_arrow()["desk"].to_pylist(), key=str) == [
        *[None] * 24,
        *["equities"] * 3,
    ]
    assert path in {file.file_path for file in live_files(world)}


def test_files_of_another_engine_with_nulls_that_k2_does_not_write_stay_as_they_are(world):
    filled(world, 8)
    with world.table().update_schema() as update:
        update.make_column_optional("symbol")
    table = world.table()
    rows = table.scan().to_arrow().slice(0, 3)
    symbol = rows.schema.get_field_index("symbol")
    table.append(rows.set_column(symbol, "symbol", [pa.nulls(3, rows.schema.field(symbol).type)]))
    before = sums_of(rows_of(world))
    compacting = compactor(world)
    assert compacting.run_once().files == 8
    assert [*compacting.unfit.values()] == ["column symbol has nulls"]
    assert sums_of(rows_of(world)) == before


def test_a_file_with_a_row_of_another_day_stays_and_holds_up_no_other(world):
    filled(world, 9)
    table = world.table()
    other = table_of(record_of(0, 50, start_ns=NOON_NS + DAY_NS))
    (strange,) = files.write(table, other, description_of(TRADES))
    strange.partition[0] = TODAY
    with table.transaction() as transaction, transaction.update_snapshot().fast_append() as append:
        append.append_data_file(strange)
    compacting = compactor(world)
    assert compacting.run_once().files == 9
    assert list(compacting.unfit) == [strange.file_path]


def test_files_without_statistics_are_read_as_a_whole(world, monkeypatch):
    """Of another engine that writes none: no row group can be left out."""
    monkeypatch.setattr(rewrite, "SAMPLE_EVERY_ROWS", 5)
    filled(world, 8, count=40)
    for path in world.data_files():
        pq.write_table(pq.read_table(path), path, store_schema=False, write_statistics=False)
    before = rows_of(world)
    (done,) = compact_all(world, range_bytes=100 * before.nbytes // before.num_rows)
    assert done.files == 8
    assert sums_of(rows_of(world)) == sums_of(before)


def test_rows_that_another_engine_deleted_stay_deleted(world):
    """Before the compaction, and while it rewrites."""
    filled(world, 9)
    world.table().delete("log_offset == 4")
    compacting = compactor(world)
    before_commit(compacting, lambda _: world.table().delete("log_offset == 5"))
    with pytest.raises(InputsGoneError):
        compacting.run_once()
    kept = [(0, n) for n in range(9) if n not in (4, 5)]
    assert world.places() == places_of(*kept)
    compact_all(world, clock=SetClock(SetClock().now_ns + 86_400_000_000_000))
    assert world.places() == places_of(*kept)
    assert world.writer().head().vector.next_of("k2.trades", 0) == 9


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_table_with_delete_files_is_refused(world, monkeypatch, when):
    """Of another engine: they speak of files by their age, so a new file would bring rows back."""
    filled(world, 8)
    real, head = Snapshot.manifests, world.table().current_snapshot()

    def with_deletes(snapshot, io):
        found = real(snapshot, io)
        deletes = copy.copy(found[0])
        deletes._data = [*found[0]._data]
        deletes._data[3] = ManifestContent.DELETES
        return [*found, deletes]

    def meanwhile(rows, described):
        monkeypatch.setattr(Snapshot, "manifests", with_deletes)
        return sort(rows, described)

    sort = rewrite.in_file_order
    if when == "before":
        monkeypatch.setattr(Snapshot, "manifests", with_deletes)
    else:
        monkeypatch.setattr(rewrite, "in_file_order", meanwhile)
    with pytest.raises(TableMismatchError, match="until they are applied"):
        compactor(world).run_once()
    monkeypatch.undo()
    assert world.table().current_snapshot() == head


def test_a_table_set_back_under_a_compaction_is_not_set_forward(world):
    lake = filled(world, 9)
    first = lake.snapshots()[3].id
    compacting = compactor(world)

    def back(_):
        with world.table().manage_snapshots() as manage:
            manage.rollback_to_snapshot(first)

    before_commit(compacting, back)
    with pytest.raises(InputsGoneError):
        compacting.run_once()
    assert world.places() == places_of(*[(0, n) for n in range(4)])
    assert world.writer().head().vector.next_of("k2.trades", 0) == 4


def test_a_branch_keeps_its_files_and_main_is_compacted(world):
    lake = filled(world, 8)
    with world.table().manage_snapshots() as manage:
        manage.create_branch(lake.head().snapshot_id, "research")
    branch = world.table().metadata.refs["research"].snapshot_id
    compact_all(world)
    assert len(live_files(world)) == 1
    assert world.table().metadata.refs["research"].snapshot_id == branch
    assert len([*world.table().scan(snapshot_id=branch).plan_files()]) == 8


@pytest.mark.slow
def test_a_compaction_beside_a_sink_without_a_pause_lands_in_the_end(world, monkeypatch):
    """Its rows are written once; only the commit is tried again."""
    filled(world, 8)
    sink, numbers, written = world.writer(), itertools.count(8), []
    real = rewrite.write_file
    monkeypatch.setattr(rewrite, "write_file", lambda *given: written.append(1) or real(*given))
    compacting = compactor(world)
    before_commit(compacting, lambda _: commit(sink, next(numbers)), times=17)
    assert compacting.run_once().files == 8
    assert len(written) == 1
    assert world.places() == places_of(*[(0, n) for n in range(next(numbers))])


@pytest.mark.slow
def test_sinks_without_end_are_given_way(world, monkeypatch):
    monkeypatch.setattr(compaction, "COMMIT_ROUNDS", 1)
    filled(world, 8)
    sink, numbers = world.writer(), itertools.count(8)
    compacting = compactor(world)
    before_commit(compacting, lambda _: commit(sink, next(numbers)), times=100)
    with pytest.raises(LakeUnavailableError, match="other writers were first"):
        compacting.run_once()
    # When they pause, it lands.
    assert compactor(world).run_once() is not None
    assert world.places() == places_of(*[(0, n) for n in range(next(numbers))])


@pytest.mark.slow
def test_files_of_an_earlier_version_are_compacted_with_nulls_for_what_they_lack(tmp_path):
    """A table made before two columns were added."""
    world = World(tmp_path)
    lake = filled(world, 8)
    described = lake._description
    added = {field.name for field in described.added}
    for path in world.data_files():
        rows = pq.read_table(path)
        kept = [name for name in rows.schema.names if name not in added]
        pq.write_table(rows.select(kept), path, store_schema=False)
    before = rows_of(world)
    assert compactor(world).run_once().files == 8
    assert rows_of(world).to_pylist() == before.to_pylist()


def test_a_replacement_with_other_rows_is_refused_by_the_commit_itself(world):
    lake = filled(world, 3)
    inputs, head = live_files(world), world.table().current_snapshot()
    described = description_of(TRADES)

    def attempt(table):
        return attempt_replace(table, inputs[:2], inputs[2], "c-1", described, EarlierMetadata())

    with pytest.raises(NotProvenError, match="expected 6 rows in place of as many, found 3"):
        lake.settle(lake.load(), "c-1", attempt, lambda found: find_replacement(found, "c-1"))
    assert world.table().current_snapshot() == head


@pytest.mark.slow
def test_a_file_that_is_no_parquet_stays_as_it_is(world):
    filled(world, 9)
    damaged = world.data_files()[0]
    damaged.write_bytes(b"x" * damaged.stat().st_size)
    compacting = compactor(world)
    assert compacting.run_once().files == 8
    assert [path.removeprefix("file://") for path in compacting.unfit] == [str(damaged)]


def test_of_an_empty_table_nothing_is_compacted(world):
    assert Compactor(world.writer(), SetClock()).run_once() is None
    append(world.writer(), 0, 0, 5, count=0)
    assert Compactor(world.writer(), SetClock()).run_once() is None


ALERTS = Stream.of_output(
    "alerts",
    pa.schema(
        [
            pa.field("account", pa.int64(), nullable=False),
            pa.field("symbol", pa.string(), nullable=False),
            pa.field("at_ns", pa.int64(), nullable=False),
            pa.field("ratio", pa.float64()),
            pa.field(
                "legs", pa.list_(pa.struct([("price", pa.decimal128(10, 2)), ("n", pa.int32())]))
            ),
            pa.field("notes", pa.map_(pa.string(), pa.list_(pa.string()))),
        ]
    ),
    key=("account", "symbol"),
    time="at_ns",
)


def alerts(start):
    rows = [
        {
            "account": start % 3 - 1,
            "symbol": "B",
            "at_ns": start,
            "legs": [{"price": None, "n": 1}],
        },
        {"account": 7, "symbol": "A", "at_ns": 2, "ratio": 0.5, "notes": [("k", ["v", None])]},
        {"account": -5, "symbol": "\u00e9", "at_ns": 3, "legs": [], "notes": []},
    ]
    for number, row in enumerate(rows):
        row |= {"source_partition": 0, "log_partition": 0, "log_offset": start, "log_row": number}
        row |= {"accepted_time": NOON_NS // 1_000}
    return pa.Table.from_pylist(rows, schema=ALERTS.table_schema)


@pytest.mark.slow
def test_the_table_of_an_output_is_compacted_as_well(world, monkeypatch):
    """Nested columns, a key of numbers and text, the day of the accepted time."""
    monkeypatch.setattr(rewrite, "SAMPLE_EVERY_ROWS", 2)
    lake = Lake(world.config, stream=ALERTS)
    lake.ensure()
    for start in range(8):
        ranges = {0: Range(start, start + 1)}
        lake.append(alerts(start), ranges, topic_id=TOPIC_ID, commit_id=f"alerts-{start}")
    before = lake.load().scan().to_arrow()
    compacting = Compactor(Lake(world.config, stream=ALERTS), SetClock(), range_bytes=1_000)
    assert compacting.run_once().files == 8
    after = lake.load().scan().to_arrow()
    assert sums_of(after) == sums_of(before)
    keys = list(zip(*(after[name].to_pylist() for name in ALERTS.sort), strict=True))
    assert keys == sorted(keys)
    assert lake.head().vector.next_of("k2.alerts", 0) == 8
