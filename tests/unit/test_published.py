"""How far into the log what its checkpoints published has been read."""

from hypothesis import given
from hypothesis import strategies as st

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
