"""Ranges of sort keys hold every row once, and statistics never hide one."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from k2_streams.core.maintenance.key_ranges import KeyRange, ranges_of

KEYS = st.lists(
    st.tuples(st.sampled_from(["", "A", "AB", "B", "é", "\U0001f600"]), st.integers(-3, 3)),
    max_size=30,
)


def rows_of(keys):
    return pa.table(
        {
            "symbol": pa.array([key[0] for key in keys], pa.string()),
            "time": pa.array([key[1] for key in keys], pa.int64()),
        }
    )


@given(KEYS, KEYS, st.integers(1, 6))
def test_every_key_is_in_one_range(keys, sample, count):
    ranges = ranges_of(sample, count)
    assert 1 <= len(ranges) <= count
    found = []
    for each in ranges:
        part = each.select(rows_of(keys), ("symbol", "time"))
        found += zip(part["symbol"].to_pylist(), part["time"].to_pylist(), strict=True)
        if keys:
            least = (min(key[0] for key in keys), min(key[1] for key in keys))
            greatest = (max(key[0] for key in keys), max(key[1] for key in keys))
            assert each.may_hold(least, greatest) or part.num_rows == 0
    assert sorted(found) == sorted(keys)
    assert found == [key for each in ranges for key in keys if _holds(each, key)]


def _holds(each, key):
    return (each.low is None or key >= each.low) and (each.high is None or key < each.high)


def test_a_row_group_outside_a_range_is_skipped():
    middle = KeyRange(("B", 2), ("D", 0))
    assert not middle.may_hold(("A", 0), ("B", 1))
    assert not middle.may_hold(("D", 0), ("E", 0))
    assert middle.may_hold(("B", 2), ("B", 2))
    assert middle.may_hold(("A", 0), ("Z", 9))
