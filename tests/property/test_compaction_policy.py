"""Which files are compacted: the number of files stays small, and so does what is rewritten."""

import math

from hypothesis import given
from hypothesis import strategies as st

from k2_streams.core.maintenance.compaction import (
    CLOSED_DAY_RATIO,
    MAX_GROUP_FILES,
    OPEN_DAY_FILES,
    Candidate,
    CompactionPolicy,
    next_group,
)

TODAY = 20_000
POLICY = CompactionPolicy(target_bytes=1_000_000)
FILES = st.lists(
    st.tuples(st.integers(TODAY - 2, TODAY + 1), st.integers(1, 10_000), st.integers(1, 1_200_000)),
    max_size=300,
)


def files_of(found):
    return [Candidate(f"f{at}", *one) for at, one in enumerate(found)]


def merged(files, group, name):
    rest = [one for one in files if one not in group]
    size = sum(one.size_bytes for one in group)
    return [*rest, Candidate(name, group[0].day, sum(one.rows for one in group), size)]


def compacted(files, policy=POLICY):
    """All groups there are, and the files in the end."""
    groups = []
    while group := next_group(files, TODAY, policy):
        groups.append(group)
        files = merged(files, group, f"m{len(groups)}")
    return groups, files


@given(FILES)
def test_every_group_is_of_one_day_and_becomes_one_file_of_the_target_at_most(found):
    files = files_of(found)
    groups, _ = compacted(files)
    for group in groups:
        assert len({one.day for one in group}) == 1
        assert 2 <= len(set(group)) == len(group) <= MAX_GROUP_FILES
        assert sum(one.size_bytes for one in group) <= POLICY.target_bytes
        assert all(one.size_bytes < POLICY.small_bytes for one in group)
    assert len(groups) < max(1, len(files))


@given(FILES)
def test_a_closed_day_ends_with_few_small_files(found):
    _, files = compacted(files_of(found))
    for day in (TODAY - 2, TODAY - 1):
        small = sorted(one.size_bytes for one in files if one.day == day)
        small = [size for size in small if size < POLICY.small_bytes]
        for at in range(1, len(small)):
            others = sum(small[:at])
            assert others + small[at] > POLICY.target_bytes or small[at] > CLOSED_DAY_RATIO * others


@given(st.integers(8, 3_000))
def test_a_day_of_commits_costs_a_logarithm_of_rewrites(commits):
    files, rewritten = [], 0
    policy = CompactionPolicy(target_bytes=1 << 40)
    for at in range(commits):
        files.append(Candidate(f"f{at}", TODAY, 10, 100))
        while group := next_group(files, TODAY, policy):
            rewritten += sum(one.size_bytes for one in group)
            files = merged(files, group, f"m{at}")
    assert len(files) <= OPEN_DAY_FILES + math.log2(commits)
    assert rewritten <= 100 * commits * (math.log2(commits) + 1)


def test_an_open_day_waits_for_more_files_and_a_closed_one_does_not():
    few = [Candidate(f"f{at}", TODAY, 10, 100) for at in range(OPEN_DAY_FILES - 1)]
    assert next_group(few, TODAY, POLICY) == ()
    assert len(next_group(few, TODAY + 1, POLICY)) == len(few)
    eight = [*few, Candidate("one-more", TODAY, 10, 100)]
    assert len(next_group(eight, TODAY, POLICY)) == OPEN_DAY_FILES


def test_many_small_files_are_sorted_in_one_piece_each():
    many = [Candidate(f"f{at:03d}", TODAY, 5_000, 1_000) for at in range(150)]
    group = next_group(many, TODAY, POLICY)
    assert OPEN_DAY_FILES <= len(group) == 40
