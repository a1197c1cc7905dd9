"""The tail: what it refuses, what it lets go of, what it spills, and what a view keeps."""

import pytest
from query_world import T0, TOPIC, TOPIC_ID, DictSpill, make_batch

from k2_streams.core.query.keys import keys_of
from k2_streams.core.records import stream
from k2_streams.core.records.expand import expand
from k2_streams.core.records.schema import TRADES
from k2_streams.core.records.vector import Range, TopicOffsets, Vector
from k2_streams.query.selection import Selection
from k2_streams.query.tail.rows import select
from k2_streams.query.tail.store import Tail, TailMovedError
from k2_streams.query.token import Key
from k2_streams.state.spill import SpillDatabase


def vector(next_: dict[int, int], topic_id: str = TOPIC_ID) -> Vector:
    return Vector({TOPIC: TopicOffsets(topic_id, next_)})


def filled(records: int = 4, **settings) -> Tail:
    """Partition 0, records at 0, 2, 4 ... of three rows each, a marker behind each."""
    tail = Tail(stream.TRADES, topic_id=TOPIC_ID, **settings)
    tail.seek(0, 0)
    for number in range(records):
        rows = [("A", T0 + number), ("B", T0 + number), ("A", T0 + 10 - number)]
        batch = make_batch(rows, partition=0, offset=2 * number)
        tail.append(0, Range(2 * number, 2 * number + 2), [batch], raw_next=number)
    return tail


def offsets(tail: Tail) -> list[int]:
    view = tail.view()
    return [batch.log_offset for batch in view.batches(view.ranges)]


@pytest.mark.parametrize(
    ("partition", "range_", "batch"),
    [
        (1, Range(0, 2), (1, 0)),  # not followed
        (0, Range(9, 10), (0, 9)),  # a hole
        (0, Range(7, 9), (0, 8)),  # goes back
        (0, Range(8, 9), (0, 9)),  # outside its range
        (0, Range(8, 9), (1, 8)),  # of another partition
    ],
)
def test_a_readers_mistake_is_refused_and_nothing_is_taken_in(partition, range_, batch):
    tail = filled()
    rows = tail.rows
    with pytest.raises(ValueError, match=TOPIC):
        tail.append(
            partition, range_, [make_batch([("A", T0)], partition=batch[0], offset=batch[1])]
        )
    assert (tail.rows, offsets(tail)) == (rows, [0, 2, 4, 6])
    assert tail.view().partitions[0].end == 8


def test_batches_out_of_order_are_refused():
    tail = filled()
    two = [make_batch([("A", T0)], partition=0, offset=n) for n in (9, 8)]
    with pytest.raises(ValueError, match="not in order"):
        tail.append(0, Range(8, 10), two)


def test_a_range_without_rows_moves_the_end():
    # A batch of which no row survives still moves the mark, or it would be waited for for ever.
    tail = filled()
    tail.append(0, Range(8, 10), [make_batch([], partition=0, offset=8)], raw_next=99)
    view = tail.view().partitions[0]
    assert (view.end, view.raw_next) == (10, 99)
    assert offsets(tail) == [0, 2, 4, 6]


def test_eviction_follows_the_vector_and_no_further():
    tail = filled()
    assert tail.evict(vector({0: 4})) == 6
    assert (offsets(tail), tail.view().partitions[0].range) == ([4, 6], Range(4, 8))
    assert tail.evict(vector({0: 2})) == 0
    assert tail.view().partitions[0].evicted == 4
    assert tail.evict(vector({0: 100})) == 6  # the lake is ahead of this tail
    assert tail.view().partitions[0].range == Range(8, 8)
    assert (tail.rows, tail.memory_bytes) == (0, 0)
    assert tail.evict(vector({5: 1})) == 0
    tail.append(0, Range(8, 10), [make_batch([("A", T0)], partition=0, offset=8)])
    assert tail.rows == 1


def test_offsets_of_another_topic_of_the_same_name_evict_nothing():
    tail = filled()
    assert tail.evict(vector({0: 4}, "another")) == 0
    assert offsets(tail) == [0, 2, 4, 6]


def test_a_view_keeps_what_it_saw():
    tail = filled()
    view = tail.view()
    tail.evict(vector({0: 8}))
    assert select(stream.TRADES, view.batches(view.ranges), Selection()).num_rows == 12
    assert tail.view().partitions[0].batches == ()


def test_ready_means_read_to_the_end_that_was_there_at_the_start():
    tail = Tail(stream.TRADES, topic_id=TOPIC_ID)
    assert not tail.all_ready()
    tail.seek(0, 5, ready_at=7)
    assert not tail.ready(0)
    assert not tail.ready(1)
    tail.append(0, Range(5, 7), [])
    assert tail.ready(0)
    assert tail.all_ready()
    tail.seek(1, 3)
    assert tail.all_ready()


def test_seek_forgets_what_was_held():
    tail = filled()
    version = tail.version
    tail.seek(0, 100)
    assert tail.version != version
    assert (tail.rows, tail.memory_bytes, offsets(tail)) == (0, 0, [])
    assert tail.view().partitions[0].range == Range(100, 100)


def test_listeners_hear_of_every_append():
    heard = []
    tail = filled()
    tail.listen(lambda: heard.append(tail.version))
    tail.append(0, Range(8, 9), [])
    assert heard == [tail.version]


@pytest.fixture(params=["dict", "rocksdb"])
def spill(request, tmp_path):
    if request.param == "dict":
        yield DictSpill()
        return
    database = SpillDatabase(tmp_path / "spill")
    yield database.new_tail()
    database.close()


def test_tails_that_share_a_database_have_rows_of_their_own(tmp_path):
    (tmp_path / "spill").mkdir()
    (tmp_path / "spill" / "of an earlier process").touch()
    database = SpillDatabase(tmp_path / "spill")
    assert not (tmp_path / "spill" / "of an earlier process").exists()
    one, other = database.new_tail(), database.new_tail()
    for tail, value in ((one, b"one"), (other, b"other")):
        for offset in (7, 8):
            tail.put(1, offset, value)
    one.drop_below(1, 8)
    assert [one.get(1, 7), one.get(1, 8), other.get(1, 7)] == [None, b"one", b"other"]
    one.clear()
    one.reclaim()
    assert [one.get(1, 8), other.get(1, 7), other.get(1, 8)] == [None, b"other", b"other"]
    database.close()


def test_above_its_memory_the_oldest_go_to_disk_and_read_the_same(spill):
    kept = filled(8)
    each = kept.memory_bytes // 8
    tail = filled(8, memory_bytes=3 * each, spill=spill)
    assert tail.memory_bytes <= 3 * each
    assert (tail.rows, offsets(tail)) == (kept.rows, offsets(kept))
    batches = tail.view().partitions[0].batches
    assert [batch.batch is None for batch in batches] == [True] * 5 + [False] * 3
    for selection in (
        Selection(),
        Selection(keys_of(symbol=("A",))),
        Selection(keys_of(symbol=("C",))),
    ):
        assert rows(tail, selection) == rows(kept, selection)
    assert not batches[0].may_hold(("C",))
    assert batches[0].may_hold(("A", "C"))


def test_evicting_spilled_batches_drops_them_and_older_views_notice(spill):
    tail = filled(8, memory_bytes=0, spill=spill)
    view = tail.view()
    assert spill.get(0, 4) is not None
    tail.evict(vector({0: 6}))
    assert spill.get(0, 4) is None
    assert spill.get(0, 6) is not None
    with pytest.raises(TailMovedError):
        rows_of(view, Selection())
    assert len(rows(tail, Selection())) == 15
    tail.evict(vector({0: 16}))
    assert (tail.rows, tail.memory_bytes) == (0, 0)


def test_a_new_tail_begins_with_an_empty_spill_store(spill):
    filled(8, memory_bytes=0, spill=spill)
    Tail(stream.TRADES, topic_id=TOPIC_ID, spill=spill)
    assert spill.get(0, 4) is None


def rows_of(view, selection: Selection) -> list[dict]:
    return select(stream.TRADES, view.batches(view.ranges), selection).to_pylist()


def rows(tail: Tail, selection: Selection) -> list[dict]:
    return rows_of(tail.view(), selection)


def all_rows(tail: Tail) -> list[dict]:
    batches = tail.view().partitions[0].batches
    return [row for batch in batches for row in expand(stream.TRADES, [batch.load()]).to_pylist()]


@pytest.mark.parametrize(
    ("selection", "keep"),
    [
        (Selection(), lambda row: True),
        (Selection(keys_of(symbol=("A",))), lambda row: row["symbol"] == "A"),
        (Selection(keys_of(symbol=("A", "B", "C"))), lambda row: True),
        (Selection(keys_of(symbol=("C",))), lambda row: False),
        (Selection(keys_of(exchange=("X",))), lambda row: True),
        (Selection(keys_of(exchange=("Y",), symbol=("A",))), lambda row: False),
        (Selection(start_ns=T0 + 3), lambda row: row["exchange_time_ns"] >= T0 + 3),
        (Selection(end_ns=T0 + 3), lambda row: row["exchange_time_ns"] < T0 + 3),
        (Selection(start_ns=T0 + 99), lambda row: False),
        (Selection(end_ns=T0), lambda row: False),
    ],
)
def test_selected_rows_are_the_expanded_ones(selection, keep):
    tail = filled()
    assert rows(tail, selection) == [row for row in all_rows(tail) if keep(row)]


def test_columns_are_the_tables():
    tail = filled()
    view = tail.view()
    assert select(stream.TRADES, view.batches(view.ranges), Selection()).schema == TRADES
    assert select(stream.TRADES, [], Selection()).schema == TRADES


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("at_most", [1, 2, 5, 12, 50])
def test_at_most_gives_at_least_the_first_of_the_order(at_most, descending):
    tail = filled()

    def place(row: dict) -> tuple:
        return tuple(row[n] for n in ("exchange_time_ns", "log_partition", "log_offset", "log_row"))

    ordered = sorted(all_rows(tail), key=place, reverse=descending)
    found = rows(tail, Selection(at_most=at_most, descending=descending))
    assert sorted(found, key=place, reverse=descending)[:at_most] == ordered[:at_most]
    for row in ordered:
        after = Key(*place(row))
        behind = rows(tail, Selection(after=after, descending=descending))
        rest = [r for r in ordered if (place(r) < after_tuple(after)) == descending and r != row]
        assert sorted(behind, key=place, reverse=descending) == rest


def after_tuple(key: Key) -> tuple:
    return (key.time_ns, key.log_partition, key.log_offset, key.log_row)
