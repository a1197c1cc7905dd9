"""Which files may be deleted: none that is reachable, pending, young, or of somebody else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2_streams.core.maintenance.deletion import (
    VERSION,
    DeletionRecord,
    StoredFile,
    deletable,
    is_below,
    orphans,
    plain,
    too_many,
)

LOCATION = "file:///lake/k2/trades"
NAMES = st.sampled_from(["a", "b", "c", "d"])
PATHS = st.builds(
    "{}/data/{}.parquet".format, st.sampled_from([LOCATION, "/lake/k2/trades"]), NAMES
)


@given(st.sets(PATHS), st.sets(PATHS))
def test_what_is_reachable_by_any_spelling_is_not_deletable(paths, reachable):
    known = {plain(path) for path in reachable}
    found = deletable(paths, known, [LOCATION])
    assert set(found) == {path for path in paths if plain(path) not in known}


@given(
    st.lists(st.tuples(PATHS, st.integers(0, 10), st.integers(0, 100)), max_size=8),
    st.sets(PATHS),
    st.sets(PATHS),
    st.integers(0, 100),
)
def test_an_orphan_is_old_and_known_to_nobody(listed, reachable, pending, before_ms):
    files = [StoredFile(*one) for one in listed]
    known, waiting = ({plain(path) for path in paths} for paths in (reachable, pending))
    found = orphans(files, known, waiting, location=LOCATION, before_ms=before_ms)
    for one in files:
        expected = one.modified_ms < before_ms and plain(one.path) not in known | waiting
        assert (one in found) is expected


@pytest.mark.parametrize(
    "path",
    [
        "file:///lake/k2/trades2/data/a.parquet",
        "/lake/k2/quotes/data/a.parquet",
        "/lake/k2/trades/../quotes/a.parquet",
        "s3://lake/k2/trades/data/a.parquet",
    ],
)
def test_files_of_others_are_never_touched(path):
    assert not is_below(path, LOCATION)
    assert deletable([path], set(), [LOCATION]) == ()
    assert orphans([StoredFile(path, 1, 0)], set(), set(), location=LOCATION, before_ms=9) == ()


def test_every_spelling_of_a_file_is_one():
    """Spark writes `file:/x`: taken for another file, a live one would be an orphan."""
    assert {plain(path) for path in ("/x:1/y", "file:/x:1/y", "file:///x:1/y")} == {"/x:1/y"}
    assert {plain(f"{scheme}://bucket/x") for scheme in ("s3", "s3a", "s3n")} == {"s3://bucket/x"}
    assert plain("gs://bucket/x") == "gs://bucket/x"
    assert is_below("s3a://bucket/lake/data/a", "s3://bucket/lake")
    listed = [StoredFile("/lake/k2/trades/data/a", 1, 0)]
    known = {plain("file:/lake/k2/trades/data/a")}
    assert orphans(listed, known, set(), location=LOCATION, before_ms=9) == ()


@pytest.mark.parametrize(("size_bytes", "is_refused"), [(10, False), (11, True)])
def test_more_than_a_tenth_of_the_live_bytes_is_refused(size_bytes, is_refused):
    found = [StoredFile("/a", size_bytes, 0)]
    refusal = too_many(found, {"/x": 60, "/y": 40})
    assert (refusal is not None) is is_refused
    assert refusal is None or "11 bytes, more than 10% of the 100 bytes" in refusal


def test_a_record_says_the_same_after_reading():
    record = DeletionRecord(VERSION, 1_000, [1, 2], ["/a", "/b"])
    assert DeletionRecord.decode(record.encode()) == record
    assert not record.is_due(60_999, 60.0)
    assert record.is_due(61_000, 60.0)


@pytest.mark.parametrize("data", [b"", b"{", b'{"version": 1}', b"[]"])
def test_a_record_that_was_cut_off_is_none(data):
    with pytest.raises(ValueError, match=r".*"):
        DeletionRecord.decode(data)


def test_a_record_of_a_later_version_is_refused():
    later = DeletionRecord(VERSION + 1, 1, [], []).encode()
    with pytest.raises(ValueError, match="expected a deletion record of version 1, found 2"):
        DeletionRecord.decode(later)
