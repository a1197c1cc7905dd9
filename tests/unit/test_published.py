"""How far into the log what its checkpoints published has been read."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from k2_streams.core.records.log_chunk import LogChunk
from k2_streams.core.records.log_record import CheckpointHeaders
from k2_streams.runtime.node.published import Published

#: Checkpoints, each with so many records; and when each is read, of either topic.
STEPS = st.lists(st.tuples(st.sampled_from(["log", "other"]), st.integers(0, 3)), max_size=30)


@given(STEPS)
def test_reached_is_what_is_read_of_all_checkpoints_below(steps):
    """However the two topics' fetches come one behind the other."""
    published = Published()
    expected = read = 0
    ends = [(0, 0)]
    for topic, count in steps:
        if topic == "log":
            expected += count
            ends.append((len(ends), expected))
            published.expect(0, expected, len(ends) - 1)
        else:
            published.read(0, count)
            read += count
        found = published.reached().get(0, 0)
        assert published.has(0) == (read >= expected)
        assert ends[found][1] <= read, "it never says more than was read"
        if published.has(0):
            assert found == len(ends) - 1
    assert published.total == read


def test_a_version_that_did_not_count_says_nothing():
    published = Published()
    published.expect(0, None, 9)
    assert published.reached() == {}
    published.expect(0, 0, 10)
    published.expect(0, None, 11)
    assert published.reached() == {0: 10}


def log_of(checkpoints):
    """Records of checkpoints: of each so many, of which the last counts its events; a marker."""
    records, events, offset = [], 0, 0
    for count, found in checkpoints:
        events += found
        for left in reversed(range(count)):
            headers = CheckpointHeaders(offset, None, 0, events, 0, 0).encode() if not left else ()
            records.append(
                SimpleNamespace(offset=offset, headers=headers, timestamp=0, checkpoint=events)
            )
            offset += 1
        offset += 1
    return records


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=6),
    st.lists(st.integers(1, 5), min_size=1),
    st.lists(st.integers(0, 3), min_size=1),
)
def test_wherever_the_log_is_cut_no_row_is_covered_whose_events_may_still_come(
    checkpoints, cuts, reads
):
    """A client gives a part of a transaction: its events are counted at its end."""
    stream = SimpleNamespace(decode=lambda _partition, _records: ())
    records, published, read, start = log_of(checkpoints), Published(), 0, 0
    total = records[-1].checkpoint
    for turn in range(len(records)):
        count = cuts[turn % len(cuts)]
        now, records = records[:count], records[count:]
        if not now:
            break
        end = records[0].offset if records else now[-1].offset + 2
        chunk = LogChunk.decoded(stream, 0, start, end, now)
        start = end
        if chunk.headers is not None:
            published.expect(0, chunk.headers.events, chunk.headers_end)
        more = min(reads[turn % len(reads)], total - read)
        read += more
        published.read(0, more)
        covered = published.reached().get(0, 0)
        below = [one.checkpoint for one in log_of(checkpoints) if one.offset < covered]
        assert read >= max(below, default=0)
    published.read(0, total - read)
    assert published.reached() == {0: start}, "all was read: all is covered"


def test_where_the_log_has_no_record_nothing_is_missing():
    """An aborted transaction may be the last for hours: nothing behind it counts anything."""
    published = Published()
    published.expect(0, 2, 4)
    published.expect_none(0, 4, 7)
    assert published.reached() == {}, "two records before it were not read"
    published.read(0, 2)
    assert published.reached() == {0: 7}
    published.expect_none(0, 5, 9)
    assert published.reached() == {0: 9}
    published.expect_none(0, 2, 6)
    assert published.reached() == {0: 9}


def test_no_end_without_records_covers_those_before_it_that_are_not_counted():
    """They may be of a version that did not count, or of a checkpoint that ends behind it."""
    published = Published()
    published.expect_none(0, 0, 3)
    assert published.reached() == {}
    published.expect(0, 2, 4)
    published.expect(0, None, 6)
    published.expect_none(0, 6, 9)
    published.read(0, 2)
    assert published.reached() == {0: 4}
