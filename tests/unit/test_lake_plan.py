"""Which files a plan names: all that can match, and none that cannot by its bounds."""

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lake_rows import NOON_NS, World, append, record, table_of
from pyiceberg.manifest import DataFile

from k2_streams.core.query.keys import keys_of
from k2_streams.core.records.stream import TRADES
from k2_streams.core.records.vector import Range
from k2_streams.lake import plan
from k2_streams.lake.errors import SnapshotNotFoundError, TableMismatchError
from k2_streams.lake.plan import Filter, Planner
from k2_streams.lake.schema import description_of

TABLE = description_of(TRADES)
SYMBOLS = ("AAA", "BBB", "CCC", "DDD")
STEP_NS = 3_600_000_000_000


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Twelve commits: a symbol or two each, an hour on each time, so days change on the way."""
    world = World(tmp_path_factory.mktemp("plan"))
    lake = world.writer()
    for n in range(12):
        one = record(0, n, 4, symbols=SYMBOLS[n % 3 : n % 3 + 2], start_ns=NOON_NS + n * STEP_NS)
        lake.append(table_of(one), {0: Range(n, n + 1)}, topic_id="t", commit_id=str(n))
    return lake


def matching(path, symbols, exchanges, start_ns, end_ns):
    rows = pq.read_table(path, partitioning=None).to_pylist()
    return [
        row["message_id"]
        for row in rows
        if (symbols is None or row["symbol"] in symbols)
        and (exchanges is None or row["exchange"] in exchanges)
        and (start_ns is None or row["exchange_time_ns"] >= start_ns)
        and (end_ns is None or row["exchange_time_ns"] < end_ns)
    ]


times = st.none() | st.integers(-2, 14).map(lambda n: NOON_NS + n * STEP_NS)


@given(
    symbols=st.none() | st.lists(st.sampled_from([*SYMBOLS, "ZZZ", "A"]), max_size=2).map(tuple),
    exchanges=st.sampled_from([None, ("SYN",), ("OTHER",), ("OTHER", "SYN")]),
    start_ns=times,
    end_ns=times,
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_matching_row_is_outside_the_plan(filled, symbols, exchanges, start_ns, end_ns):
    head = filled.head()
    every = filled.plan(head.snapshot_id)
    wanted = {"symbols": symbols, "exchanges": exchanges, "start_ns": start_ns, "end_ns": end_ns}
    columns = (("symbol", symbols), ("exchange", exchanges))
    keys = tuple((column, values) for column, values in columns if values is not None)
    planned = filled.plan(head.snapshot_id, keys=keys, start_ns=start_ns, end_ns=end_ns)
    assert set(planned) <= set(every)
    for file in set(every) - set(planned):
        assert matching(file.path, **wanted) == []


def cut_upwards(text: str, length: int) -> str | None:
    """As Iceberg cuts an upper bound: raised where something is cut off; None: it cannot be."""
    cut = text[:length]
    if cut == text:
        return text
    for at in reversed(range(len(cut))):
        code = ord(cut[at]) + 1
        code = 0xE000 if code == 0xD800 else code
        if code <= 0x10FFFF:
            return cut[:at] + chr(code)
    return None


#: Longer than the 16 characters that other engines keep of a bound; the highest characters cannot
#: be raised, and those before the surrogates skip them.
TEXTS = st.text(
    st.sampled_from(["a", "b", "\x00", "ß", "\ud7ff", "\ue000", "\U0010ffff"]), max_size=20
)


@given(
    held=st.lists(TEXTS, min_size=1, max_size=4),
    wanted=st.lists(TEXTS, min_size=1, max_size=3),
    length=st.sampled_from([1, 2, 16]),
)
def test_a_file_with_cut_bounds_is_planned_for_every_text_that_it_holds(held, wanted, length):
    """Of text most engines keep the first characters: the upper bound's last one is raised."""
    ordered = sorted(held, key=str.encode)
    low = ordered[0][:length]
    high = cut_upwards(ordered[-1], length)
    symbol = TABLE.schema.find_field("symbol").field_id
    file = DataFile.from_args(
        file_path="/a.parquet",
        record_count=len(held),
        file_size_in_bytes=1,
        lower_bounds={symbol: low.encode()},
        upper_bounds={} if high is None else {symbol: high.encode()},
        value_counts={},
        null_value_counts={},
    )
    for name in (*held, *wanted):
        planned = plan._file(TABLE, file).may_match(Filter(keys_of(symbol=(name,))))
        assert planned or name not in held
    assert plan._file(TABLE, file).may_match(Filter(keys_of(symbol=(*wanted, held[0]))))


def test_a_plan_leaves_out_what_its_bounds_exclude(filled):
    head = filled.head()
    assert len(filled.plan(head.snapshot_id)) == 12
    assert filled.plan(head.snapshot_id, keys=keys_of(symbol=("ZZZ",))) == []
    assert filled.plan(head.snapshot_id, keys=(("symbol", ()),)) == []
    assert filled.plan(head.snapshot_id, keys=keys_of(exchange=("OTHER",))) == []
    one = filled.plan(head.snapshot_id, start_ns=NOON_NS + STEP_NS, end_ns=NOON_NS + STEP_NS + 1)
    assert [file.rows for file in one] == [4]
    assert filled.plan(head.snapshot_id, start_ns=NOON_NS + 12 * STEP_NS) == []
    assert filled.plan(head.snapshot_id, end_ns=NOON_NS) == []


def test_an_older_snapshot_plans_its_own_files(filled):
    oldest = filled.snapshots()[0]
    assert [file.rows for file in filled.plan(oldest.id)] == [4]


def test_a_file_is_a_local_path_with_its_size_and_the_times_in_it(world):
    lake = world.writer()
    done = append(lake, 0, 0, 5)
    [file] = lake.plan(done.snapshot_id)
    assert (file.first_ns, file.last_ns) == (NOON_NS, NOON_NS + 2_000)
    [path] = world.data_files()
    assert (file.path, file.rows, file.size_bytes) == (str(path), 3, path.stat().st_size)


def test_a_snapshot_of_another_writer_is_found_without_asking_for_the_head(world):
    reader = world.writer()
    reader.head()
    done = append(world.writer(), 0, 0, 5)
    assert len(reader.plan(done.snapshot_id)) == 1


def test_a_snapshot_that_is_not_there_is_named(world):
    with pytest.raises(SnapshotNotFoundError, match="42"):
        world.writer().plan(42)


def test_a_manifest_is_read_once(world, monkeypatch):
    """And what is kept is bounded, by files and by plans."""
    lake = world.writer()
    first = append(lake, 0, 0, 5)
    second = append(lake, 0, 5, 9)
    read = []
    table = world.table()
    snapshots = [table.snapshot_by_id(done.snapshot_id) for done in (first, second)]
    planner = Planner(TABLE, max_files=1, max_plans=1)
    kind = type(snapshots[0].manifests(table.io)[0])
    real = kind.fetch_manifest_entry

    def fetch(self, *args, **kwargs):
        read.append(self.manifest_path)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(kind, "fetch_manifest_entry", fetch)
    roomy = Planner(TABLE)
    for snapshot in snapshots * 2:
        roomy.plan(table.io, snapshot, Filter())
    assert len(read) == len(set(read)) == 2
    roomy.forget()
    roomy.plan(table.io, snapshots[1], Filter())
    assert len(read) == 4
    for snapshot in snapshots * 2:
        planner.plan(table.io, snapshot, Filter())
    assert (len(planner._plans), len(planner._manifests)) == (1, 1)


def test_a_file_is_kept_once_however_often_manifests_are_merged(world):
    """Else the files that are kept grow with the square of the commits."""
    lake = world.writer()
    plans = []
    for n in range(25):
        rows = table_of(record(0, n, 1))
        head = lake.append(rows, {0: Range(n, n + 1)}, topic_id="t", commit_id=str(n))
        plans.append(lake.plan(head.snapshot_id))
    assert [len(plan) for plan in plans] == list(range(1, 26))
    assert len({id(file) for plan in plans for file in plan}) == 25


def test_delete_files_are_refused_not_ignored(world):
    """Another engine may write them; ignoring them would show deleted rows."""
    lake = world.writer()
    done = append(lake, 0, 0, 5)
    table = world.table()
    snapshot = table.snapshot_by_id(done.snapshot_id)
    manifest = snapshot.manifests(table.io)[0]

    class WithDeletes:
        snapshot_id = 1

        def manifests(self, io):
            return [manifest, _Deletes(manifest)]

    class _Deletes:
        def __init__(self, real):
            self.content, self.manifest_path = 1, real.manifest_path

    with pytest.raises(TableMismatchError, match="deletes"):
        Planner(TABLE).plan(table.io, WithDeletes(), Filter())
