"""The ids' store: all or nothing, never trusted without its sums; and millions of ids over it."""

from pathlib import Path

import numpy as np
import pytest
from full_disk import FullDisk
from rocksdict import Options, Rdict

from k2_streams.core.dedup.bloom import Hashes
from k2_streams.core.dedup.ids import Memory, Window, hashes_of, step_batch, to_bytes
from k2_streams.state.checked_store import StoreUnavailableError, StoreUnusableError
from k2_streams.state.ids import IdTable
from k2_streams.state.ids_codec import BucketSum, checksum_of
from k2_streams.state.ids_store import IDS_VERSION, IdsMeta, IdStore

DAY_MS = 86_400_000


def ids(prefix: bytes, count: int) -> Hashes:
    return hashes_of([b"%b%d" % (prefix, number) for number in range(count)])


IDS = {800: ids(b"a", 300), 900: ids(b"b", 200)}


def meta(held: dict[int, Hashes], offset: int = 7, version: int = IDS_VERSION) -> IdsMeta:
    sums = tuple(BucketSum(end, len(part), checksum_of(part)) for end, part in sorted(held.items()))
    return IdsMeta(version, "changelog", offset, 0, sums)


def filled(path: Path, version: int = IDS_VERSION) -> IdStore:
    store = IdStore(path)
    assert store.open(lambda _bucket, _ids: None) is None
    store.write(IDS, (), meta(IDS, version=version))
    return store


def reopened(path: Path) -> tuple[IdsMeta | None, dict[int, set[bytes]]]:
    found: dict[int, set[bytes]] = {}
    store = IdStore(path)

    def load(bucket: int, hashes: Hashes) -> None:
        packed = to_bytes(hashes)
        found.setdefault(bucket, set()).update(
            packed[a : a + 16] for a in range(0, len(packed), 16)
        )

    made = store.open(load)
    store.close()
    return made, found


def test_what_was_written_is_there_after_a_reopen(tmp_path: Path) -> None:
    """Every id is given to the filters; a bucket that was dropped is gone in the same write."""
    store = filled(tmp_path / "s")
    assert store.holds(800, to_bytes(IDS[800])[:16])
    assert not store.holds(900, to_bytes(IDS[800])[:16])
    store.close()
    made, found = reopened(tmp_path / "s")
    assert made == meta(IDS)
    assert {bucket: len(held) for bucket, held in found.items()} == {800: 300, 900: 200}
    store.open(lambda _bucket, _ids: None)
    left = {900: IDS[900], 1000: ids(b"c", 3)}
    store.write({1000: left[1000]}, (800,), meta(left, 8))
    store.close()
    made, found = reopened(tmp_path / "s")
    assert made == meta(left, 8)
    assert {bucket: len(held) for bucket, held in found.items()} == {900: 200, 1000: 3}


@pytest.mark.parametrize(
    ("what", "spoil"),
    [
        ("an id is gone", lambda db, key: db.delete(key)),
        ("an id is new", lambda db, key: db.put(key[:8] + b"x" * 16, b"")),
        ("an id is changed", lambda db, key: (db.delete(key), db.put(key[:8] + b"x" * 16, b""))),
        (
            "an id is of another bucket",
            lambda db, key: db.put(b"\x00" * 7 + b"\x05" + key[8:], b""),
        ),
        ("a key is none", lambda db, _: db.put(b"odd", b"")),
        ("the meta record is gone", lambda db, _: db.delete(b"\x00meta")),
        ("the meta record is not one", lambda db, _: db.put(b"\x00meta", b"\xff")),
        ("the meta record is cut", lambda db, _: db.put(b"\x00meta", db[b"\x00meta"][:-1])),
    ],
)
def test_a_store_that_does_not_hold_what_it_should_is_unusable(
    tmp_path: Path, what: str, spoil: object
) -> None:
    """Whatever is lost or changed, it is noticed before a filter is believed."""
    filled(tmp_path / "s").close()
    db = Rdict(str(tmp_path / "s"), Options(raw_mode=True))
    key = (800).to_bytes(8) + to_bytes(IDS[800])[:16]
    assert db.get(key) is not None
    spoil(db, key)  # type: ignore[operator]
    db.close()
    with pytest.raises(StoreUnusableError):
        reopened(tmp_path / "s")


def test_another_version_is_unusable(tmp_path: Path) -> None:
    """It is rebuilt, not guessed at."""
    filled(tmp_path / "s", IDS_VERSION + 1).close()
    with pytest.raises(StoreUnusableError, match="version"):
        reopened(tmp_path / "s")


def test_another_partitions_store_is_not_believed(tmp_path: Path) -> None:
    """It is whole: only what it says of itself tells it apart."""
    filled(tmp_path / "s").close()
    made, _ = reopened(tmp_path / "s")
    assert made is not None
    assert made.of("changelog", 0) is made
    for changelog_id, partition in (("changelog", 1), ("another", 0)):
        with pytest.raises(StoreUnusableError, match="expected"):
            made.of(changelog_id, partition)


def test_a_full_disk_says_nothing_of_the_files(tmp_path: Path) -> None:
    """Wiped, they could not be rebuilt either, and the partition would count as lost."""
    filled(tmp_path / "s").close()
    with pytest.raises(StoreUnavailableError, match="No space left"):
        IdStore(tmp_path / "s", FullDisk()).open(lambda _bucket, _ids: None)
    assert reopened(tmp_path / "s")[0] == meta(IDS)


@pytest.mark.slow
def test_half_a_million_ids_no_repeat_passed_and_no_first_dropped(tmp_path: Path) -> None:
    """1 % repeats at random distances within the time to live, over a day and a half."""
    count, batch, rng = 500_000, 12_500, np.random.default_rng(7)
    times = np.sort(rng.integers(0, DAY_MS * 3 // 2, count))
    number = np.arange(count)
    again = np.flatnonzero(rng.random(count) < 0.01)
    again = again[again > 0]
    # Back to a first copy at most a time to live before.
    earliest = np.searchsorted(times, times[again] - DAY_MS)
    number[again] = number[rng.integers(earliest, again)]
    first_at = np.full(count, -1)
    memory, window = Memory.of(count, 0.001), Window(DAY_MS)
    store = IdStore(tmp_path / "ids")
    store.open(lambda _bucket, _ids: None)
    table = IdTable(store, memory, window)
    repeats = new = false_positives = 0
    for start in range(0, count, batch):
        part = number[start : start + batch]
        hashes = hashes_of([b"SIM:A\x000\x00%d" % one for one in part.tolist()])
        found = step_batch(table, window, hashes, times[start : start + batch])
        sealed = table.seal()
        table.write(sealed, IdsMeta(IDS_VERSION, "c", start, 0, sealed.buckets))
        new += sealed.counts.new
        false_positives += sealed.counts.false_positives
        for at, one, repeated in zip(
            range(start, start + batch), part.tolist(), found.tolist(), strict=False
        ):
            seen = first_at[one]
            if seen < 0 or times[at] - times[seen] >= DAY_MS + window.width_ms:
                assert not repeated, "a first copy was dropped"
            elif times[at] - times[seen] <= DAY_MS:
                assert repeated, "a repeat was passed"
            if not repeated:
                first_at[one] = at
            repeats += repeated
    assert repeats > count * 0.009
    assert new + repeats == count
    assert false_positives / new < 0.0012
    assert table.ids < new
    store.close()
    again_table = IdTable(store, memory, window)
    assert store.open(again_table.load) is not None
    assert again_table.sums() == table.sums()
    store.close()
