"""The pure decision behind an append: where it may land and what the vector is then."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2_streams.core.records.vector import Range, Vector
from k2_streams.lake.claim import Claim, goes_back
from k2_streams.lake.errors import TopicChangedError, VectorMovedError

TOPIC = "k2.trades"
ends = st.dictionaries(st.integers(0, 5), st.integers(0, 50), max_size=6)


def vector(next_offsets, topic_id="t", topic=TOPIC):
    return Vector().with_next(topic, topic_id, next_offsets)


def claim(ranges, topic_id="t", commit_id="c"):
    return Claim(TOPIC, topic_id, {p: Range(*r) for p, r in ranges.items()}, commit_id)


@given(head=ends, lengths=st.dictionaries(st.integers(0, 5), st.integers(0, 9), min_size=1))
def test_a_batch_that_starts_where_the_table_ends_moves_its_own_partitions_alone(head, lengths):
    ranges = {p: (head.get(p, 7), head.get(p, 7) + n) for p, n in lengths.items()}
    after = claim(ranges).rebase(vector(head)).topics[TOPIC].next
    assert after == {**head, **{p: end for p, (_, end) in ranges.items()}}
    assert goes_back(vector(head), vector(after)) is None


@given(head=ends, ranges=st.dictionaries(st.integers(0, 5), st.integers(0, 50), min_size=1))
def test_any_other_batch_is_refused_and_says_where_the_table_ends(head, ranges):
    one = claim({p: (start, start + 1) for p, start in ranges.items()})
    moved = {p: head[p] for p, start in ranges.items() if p in head and head[p] != start}
    if not moved:
        one.rebase(vector(head))
        return
    with pytest.raises(VectorMovedError) as refused:
        one.rebase(vector(head))
    assert refused.value.found == moved


@given(head=ends, ranges=st.dictionaries(st.integers(0, 5), st.integers(0, 50), min_size=1))
def test_a_batch_never_lands_twice(head, ranges):
    one = claim({p: (start, start + 1) for p, start in ranges.items()})
    try:
        after = one.rebase(vector(head))
    except VectorMovedError:
        return
    with pytest.raises(VectorMovedError):
        one.rebase(after)


def test_other_topics_are_carried_over_and_another_id_is_refused():
    head = vector({0: 5}, "q", "k2.quotes").with_next(TOPIC, "t", {0: 3})
    after = claim({0: (3, 4)}).rebase(head)
    assert after.topics["k2.quotes"] == head.topics["k2.quotes"]
    with pytest.raises(TopicChangedError, match="topic id t, found topic id u"):
        claim({0: (3, 4)}, topic_id="u").rebase(head)


def test_a_snapshot_is_ours_by_id_and_by_where_it_ends():
    ours = claim({0: (3, 5), 1: (0, 0)})
    after = vector({0: 5, 1: 0, 2: 9})
    assert ours.made("c", after)
    assert not ours.made("d", after)
    assert not ours.made(None, after)
    assert not ours.made("c", None)
    assert not ours.made("c", vector({0: 6, 1: 0}))
    assert not ours.made("c", vector({0: 5}))
    assert not ours.made("c", vector({0: 5, 1: 0}, "u"))


@given(before=ends, after=ends)
def test_going_back_is_an_entry_that_shrank_or_went_away(before, after):
    back = any(p not in after or after[p] < end for p, end in before.items())
    assert (goes_back(vector(before), vector(after)) is not None) == back


def test_a_topic_with_another_id_counts_anew_and_a_topic_that_went_away_went_back():
    assert goes_back(vector({0: 9}), vector({0: 1}, "u")) is None
    assert goes_back(vector({0: 9}), Vector()) == "k2.trades-0: expected 9 or more, found None"


def test_the_vector_says_what_waited_at_the_end_of_each_range():
    head = vector({0: 5, 1: 5, 2: 5})
    ranges = {0: Range(5, 9), 1: Range(5, 9)}
    after = Claim(TOPIC, "t", ranges, "c", {0: 7, 1: 0}).rebase(head)
    assert after.topics[TOPIC].deferred == {0: 7}
    unsaid = Claim(TOPIC, "t", {0: Range(9, 10)}, "c").rebase(after)
    assert unsaid.topics[TOPIC].deferred == {0: 7}
    drained = Claim(TOPIC, "t", {0: Range(9, 10)}, "c", {0: 0}).rebase(after)
    assert drained.topics[TOPIC].deferred == {}
    # What waits nowhere is not written: other readers of the property know two fields.
    assert "deferred" not in drained.encode()
    assert Vector.decode(after.encode()) == after
