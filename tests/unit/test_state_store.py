"""The store: all or nothing, and never trusted without its count and checksum."""

import time
from pathlib import Path

import mmh3
import msgspec
import pytest
from full_disk import FullDisk
from hypothesis import given
from hypothesis import strategies as st
from rocksdict import Rdict

from k2_streams.core.sequence import codec as sequence_codec
from k2_streams.core.sequence.step import ScopeState
from k2_streams.runtime.task.market import decode_entry
from k2_streams.state.checked_store import StoreUnavailableError, StoreUnusableError
from k2_streams.state.codec import POSITION_KEY, StateFormatError, add_hash, row_hash
from k2_streams.state.codec import ROWS as ROW_TABLE
from k2_streams.state.position import (
    Position,
    PositionV1,
    RowSum,
    decode_position,
    encode_position,
)
from k2_streams.state.rocks import WRITE_BUFFER_BYTES, RocksDisk
from k2_streams.state.store import STATE_VERSION, PartitionStore, StoreMeta, StoreMetaV1
from k2_streams.state.table import BytesTable, RowTable


def position(rows: dict[bytes, bytes]) -> Position:
    checksum = 0
    for key, value in rows.items():
        checksum = add_hash(checksum, new=row_hash(key, value))
    return Position(
        source_id="raw",
        partitions=4,
        next_offset=17,
        checkpoint=3,
        accepted_time_us=5,
        tables={"table": RowSum(len(rows), checksum)},
    )


@given(st.binary(max_size=600), st.binary())
def test_the_hash_of_a_row_is_of_the_length_of_its_key_and_of_both(key, value):
    low, _ = mmh3.hash64(b"%d:%b%b" % (len(key), key, value), signed=False)
    assert row_hash(key, value) == low


def meta(rows: dict[bytes, bytes], version: int = STATE_VERSION, offset: int = 99) -> StoreMeta:
    made = position(rows)
    sums = {ROW_TABLE: made.tables["table"]}
    return StoreMeta(version, "changelog", offset, 0, encode_position(made), sums)


def filled(path: Path, rows: dict[bytes, bytes]) -> PartitionStore:
    store = PartitionStore(path)
    assert store.open() is None
    store.write(dict(rows), meta(rows))
    return store


#: The meta record begins with a sum of the rest.
SUM_BYTES = 16
ROWS = {b"X:%d" % i: b"value-%d" % i for i in range(500)}


def test_what_was_written_is_there_after_a_reopen(tmp_path: Path) -> None:
    """Rows and meta record come back as they were."""
    filled(tmp_path / "s", ROWS).close()
    store = PartitionStore(tmp_path / "s")
    assert store.open() == meta(ROWS)
    assert dict(store.items()) == ROWS
    store.close()


def another_offset(db: Rdict) -> None:
    """Change a number of the meta record, which no checksum beneath notices: it can be decoded."""
    record = db[b"\x00meta"]
    content = msgspec.msgpack.decode(record[SUM_BYTES:])
    content["changelog_offset"] += 1
    db[b"\x00meta"] = record[:SUM_BYTES] + msgspec.msgpack.encode(content)


@pytest.mark.parametrize(
    ("what", "spoil"),
    [
        ("a row is gone", lambda db: db.delete(b"X:7")),
        ("a row is changed", lambda db: db.put(b"X:7", b"other")),
        ("a row is new", lambda db: db.put(b"Y:7", b"other")),
        ("the meta record is gone", lambda db: db.delete(b"\x00meta")),
        ("the meta record is not one", lambda db: db.put(b"\x00meta", b"\xff")),
        ("the meta record says another number", another_offset),
    ],
)
def test_a_store_that_does_not_hold_what_it_should_is_unusable(
    tmp_path: Path, what: str, spoil: object
) -> None:
    """Whatever is lost or changed, it is noticed at the open."""
    filled(tmp_path / "s", ROWS).close()
    from rocksdict import Options  # noqa: PLC0415 - used here alone

    db = Rdict(str(tmp_path / "s"), Options(raw_mode=True))
    spoil(db)  # type: ignore[operator]
    db.close()
    store = PartitionStore(tmp_path / "s")
    with pytest.raises(StoreUnusableError):
        store.open()
    store.close()


def test_damaged_files_are_unusable_or_whole_never_less(tmp_path: Path) -> None:
    """Every file cut in half or overwritten: an error, or all rows; never fewer in silence."""
    for number in range(6):
        path = tmp_path / f"s{number}"
        store = filled(path, ROWS)
        store._open()._db.flush()
        store.close()
        files = sorted(file for file in path.iterdir() if file.is_file() and file.stat().st_size)
        victim = files[number % len(files)]
        content = bytearray(victim.read_bytes())
        content[len(content) // 2 :] = b"\x00" * (len(content) - len(content) // 2)
        victim.write_bytes(bytes(content))
        again = PartitionStore(path)
        try:
            found = again.open()
        except StoreUnusableError:
            continue
        assert found is None or dict(again.items()) == ROWS, victim.name
        again.close()


def test_another_version_is_unusable(tmp_path: Path) -> None:
    """A store of another version is rebuilt, not guessed at."""
    store = PartitionStore(tmp_path / "s")
    store.open()
    store.write(dict(ROWS), meta(ROWS, STATE_VERSION + 1))
    store.close()
    with pytest.raises(StoreUnusableError, match="version"):
        PartitionStore(tmp_path / "s").open()


def test_a_wiped_store_is_new(tmp_path: Path) -> None:
    """After a wipe nothing is left."""
    store = filled(tmp_path / "s", ROWS)
    store.wipe()
    assert store.open() is None
    assert dict(store.items()) == {}
    store.close()


def test_two_processes_cannot_open_the_same_store(tmp_path: Path) -> None:
    """RocksDB's lock is held until the close."""
    store = filled(tmp_path / "s", ROWS)
    with pytest.raises(StoreUnavailableError):
        PartitionStore(tmp_path / "s").open()
    store.close()


def test_a_table_counts_and_sums_as_its_rows_say(tmp_path: Path) -> None:
    """Count and checksum follow the rows through changes, seals and a reopen."""
    store = PartitionStore(tmp_path / "s")
    store.open()
    table: RowTable[ScopeState] = RowTable(
        store, sequence_codec.encode, sequence_codec.decode, 0, 0
    )
    expected: dict[bytes, bytes] = {}
    for turn in range(5):
        for number in range(turn, 20):
            key = f"X:{number}"
            table.get(key)
            state = ScopeState(dropped=turn * 100 + number)
            table.put(key, state)
            expected[key.encode()] = sequence_codec.encode(state)
        sealed = table.seal()
        made = position(expected).tables["table"]
        assert (sealed.count, sealed.checksum) == (made.rows, made.checksum)
        store.write(sealed.rows, meta(expected, offset=turn))
        table.written()
    assert dict(store.items()) == expected
    fresh: RowTable[ScopeState] = RowTable(
        store, sequence_codec.encode, sequence_codec.decode, made.rows, made.checksum
    )
    assert fresh.get("X:19") == ScopeState(dropped=419)
    assert fresh.get("X:404") is None
    store.close()


def test_the_cache_lets_go_only_of_what_the_store_has(tmp_path: Path) -> None:
    """Above its limit the cache drops clean rows; a changed one stays until it is written."""
    store = PartitionStore(tmp_path / "s")
    store.open()
    table: RowTable[ScopeState] = RowTable(
        store, sequence_codec.encode, sequence_codec.decode, 0, 0, cache_rows=3
    )
    for number in range(10):
        table.put(f"X:{number}", ScopeState(dropped=number))
    sealed = table.seal()
    table.put("X:0", ScopeState(dropped=1000))
    store.write(sealed.rows, StoreMeta(STATE_VERSION, "c", 1, 0, b"", {ROW_TABLE: sealed.sum}))
    table.written()
    assert len(table._cache) <= 4
    assert table.get("X:0") == ScopeState(dropped=1000)
    assert [table.get(f"X:{n}") for n in range(1, 10)] == [
        ScopeState(dropped=n) for n in range(1, 10)
    ]
    store.close()


def test_positions_are_versioned_bytes() -> None:
    """What is written is read; anything else is an error, not a position."""
    made = position(ROWS)
    assert decode_position(encode_position(made)) == made
    assert decode_entry(POSITION_KEY, encode_position(made)) == made
    for broken in (b"", b"\x03abc", encode_position(made)[:-1]):
        with pytest.raises(StateFormatError):
            decode_position(broken)


def test_a_row_that_is_deleted_leaves_the_sum(tmp_path: Path) -> None:
    """Also one that came and went within an epoch, and one that is put again."""
    store = PartitionStore(tmp_path / "s")
    store.open()
    store.write({b"k": b"old", b"l": b"other"}, meta({b"k": b"old", b"l": b"other"}))
    before = position({b"k": b"old", b"l": b"other"}).tables["table"]
    table: RowTable[bytes] = RowTable(store, bytes, bytes, before.rows, before.checksum)
    table.delete("k")
    table.put("came", b"1")
    table.delete("came")
    table.delete("never")
    sealed = table.seal()
    assert sealed.rows == {b"k": None}
    assert sealed.sum == position({b"l": b"other"}).tables["table"]
    assert dict(table.items()) == {"l": b"other"}, "deleted, and not written yet"
    store.write(sealed.rows, meta({b"l": b"other"}))
    table.written()
    assert table.get("k") is None
    table.put("k", b"again")
    assert list(table.items()) == [("k", b"again"), ("l", b"other")]
    assert table.seal().sum == position({b"k": b"again", b"l": b"other"}).tables["table"]
    store.close()


def test_a_row_that_is_put_without_being_read_replaces_what_the_store_has(tmp_path: Path) -> None:
    """It is no new row."""
    store = filled(tmp_path / "s", ROWS)
    before = position(ROWS).tables["table"]
    table: RowTable[bytes] = RowTable(store, bytes, bytes, before.rows, before.checksum)
    table.put("X:7", b"other")
    assert table.seal().sum == position({**ROWS, b"X:7": b"other"}).tables["table"]
    store.close()


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_store_of_version_1_is_believed_only_by_its_sum(
    tmp_path: Path, *, is_whole: bool
) -> None:
    """One sum of all tables, which add up."""
    rows = {**ROWS, b"\x01X:1": b"3"}
    sums = position(rows).tables["table"]
    old = PositionV1(
        source_id="raw", partitions=4, next_offset=17, epoch=3, events=7, accepted_time_us=5,
        rows=sums.rows, checksum=sums.checksum,
    )  # fmt: skip
    store = PartitionStore(tmp_path / "s")
    store.open()
    store._put(rows if is_whole else ROWS, StoreMetaV1(1, "changelog", 99, 0, old))
    store.close()
    again = PartitionStore(tmp_path / "s")
    if not is_whole:
        with pytest.raises(StoreUnusableError):
            again.open()
        return
    found = again.open()
    assert found is not None
    assert found.sums == {
        ROW_TABLE: position(ROWS).tables["table"],
        "deferral": position({b"\x01X:1": b"3"}).tables["table"],
    }
    assert decode_position(found.position).checkpoint == 3
    again.close()


def test_a_full_disk_says_nothing_of_the_files(tmp_path: Path) -> None:
    """Wiped, they could not be rebuilt either, and the partition would count as lost."""
    filled(tmp_path / "s", ROWS).close()
    with pytest.raises(StoreUnavailableError, match="No space left"):
        PartitionStore(tmp_path / "s", FullDisk()).open()
    store = PartitionStore(tmp_path / "s")
    assert store.open() == meta(ROWS)
    store.close()


def test_a_store_that_could_not_be_written_can_be_closed(tmp_path: Path) -> None:
    """RocksDB raises at the close after a failed write; the task that ends must go on ending."""

    class Failed:
        def close(self) -> None:
            raise Exception("IO error: Writer has previous error.")  # noqa: TRY002 - as above

    database = RocksDisk().open(tmp_path / "s")
    database._db.close()
    database._db = Failed()
    database.close()


def test_however_many_stores_there_are_they_share_one_budget(tmp_path: Path) -> None:
    """Four stores of 5 MiB each, all below what makes one of them flush by itself."""
    mib, stores, rounds = 1 << 20, 4, 20
    disk = RocksDisk(cache_bytes=mib, buffers_bytes=4 * mib)
    databases = [disk.open(tmp_path / str(number)) for number in range(stores)]
    value = bytes(range(256)) * 1_024
    assert rounds * len(value) < WRITE_BUFFER_BYTES
    for key in range(rounds):
        for database in databases:
            database.write({key.to_bytes(4): value})
        given_up_s = time.monotonic() + 60
        while disk.memory().buffers_bytes > 4 * mib:  # being written to a file, beside us
            assert time.monotonic() < given_up_s, disk.memory()
            time.sleep(0.01)
    for database in databases:
        assert [key for key, found in database.items() if found == value] == [
            key.to_bytes(4) for key in range(rounds)
        ]
    assert 0 < disk.memory().cache_bytes < 2 * mib
    for database in databases:
        database.close()


def test_long_keys_are_part_of_what_a_cache_holds(tmp_path: Path) -> None:
    """A key may have 16 KiB, and one that is asked for and not there is remembered, too."""
    store = PartitionStore(tmp_path / "s")
    store.open()
    table = BytesTable(store, bytes, bytes, 0, 0, cache_bytes=100)
    for number in range(8):
        assert table.get(f"{number}" * 30) is None
    table.seal()
    table.written()
    assert sum(map(len, table._cache)) <= 100
    store.close()


def test_the_cache_of_large_values_is_bounded_by_their_size(tmp_path: Path) -> None:
    """A row of an agent's table may have 256 KiB: of a hundred thousand no machine has room."""
    store = PartitionStore(tmp_path / "s")
    store.open()
    table = BytesTable(store, bytes, bytes, 0, 0, cache_bytes=100)
    values = {f"{number}": bytes([number]) * 30 for number in range(8)}
    for key, value in values.items():
        table.put(key, value)
    assert len(table._cache) == 8, "what is not written yet stays"
    sealed = table.seal()
    table.put("7", b"newer" * 12)
    store.write(sealed.rows, StoreMeta(STATE_VERSION, "c", 1, 0, b"", {ROW_TABLE: sealed.sum}))
    table.written()
    assert "7" in table._cache
    assert sum(len(one) for one in table._cache.values() if one) <= 100
    assert {key: table.get(key) for key in values} == {**values, "7": b"newer" * 12}
    store.close()
