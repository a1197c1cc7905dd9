"""Tables whose position lies in another changelog: what they must hold is compared all the same."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from k2_streams.kafka.topics import TopicInfo
from k2_streams.state.checked_store import StoreUnusableError
from k2_streams.state.codec import POSITION_KEY, add_hash, row_hash
from k2_streams.state.position import Position, RowSum, encode_position
from k2_streams.state.row_tables import REBUILD_BATCH_BYTES, RowCodec, RowTables
from k2_streams.state.store import PartitionStore

BYTES = RowCodec(lambda value: value, lambda value: value)
ROW = (b"a", b"one")
HELD = RowSum(1, row_hash(*ROW))


def table(path: Path, **more: Any) -> RowTables:
    changelog = TopicInfo("app-mine-changelog", "id", 1)
    given = {"has_position": False, **more}
    return RowTables("mine", PartitionStore(path), changelog, 0, **given)


def position(**tables: RowSum) -> Position:
    return Position(source_id="s", partitions=1, next_offset=3, tables=tables)


@pytest.fixture
def written(tmp_path: Path) -> Iterator[RowTables]:
    """A table of one row, restored again."""
    first = table(tmp_path)
    first.open(0)
    first.expect(position(), 0)
    first.finish(0)
    first.table(BYTES).put("a", b"one")
    sealed = first.seal()
    assert sealed.sums == {"mine": HELD}
    first.written(sealed, 1, encode_position(position(mine=HELD)))
    first.close()
    again = table(tmp_path)
    assert again.open(0) == 1
    yield again
    again.close()


def test_a_table_that_holds_what_the_position_says_is_used(written: RowTables) -> None:
    written.expect(position(mine=HELD), 0)
    written.finish(1)
    assert dict(written.table(BYTES).items()) == {"a": b"one"}


@pytest.mark.parametrize(
    "said", [{}, {"mine": RowSum(2, 5)}, {"other": HELD}], ids=["none", "more", "another's"]
)
def test_a_table_that_does_not_is_unusable(written: RowTables, said: dict[str, RowSum]) -> None:
    """Its store is consistent in itself: only the position can tell."""
    written.expect(position(**said), 0)
    with pytest.raises(StoreUnusableError, match="expected"):
        written.finish(1)


def test_a_table_with_rows_and_no_position_is_unusable(tmp_path: Path) -> None:
    """Somebody else's changelog, or one of which the position was lost."""
    found = table(tmp_path)
    found.open(0)
    found.expect(None, 0)
    found.replay([_record(0, *ROW)])
    with pytest.raises(StoreUnusableError, match="1 changelog records and no position"):
        found.finish(1)
    found.close()


@pytest.mark.parametrize("has_position", [True, False])
def test_a_replay_that_is_cut_off_is_gone_on_with(tmp_path: Path, has_position: bool) -> None:
    """Its rows are written while it goes on: memory does not follow the size of the table."""
    rows = {b"a": b"new", b"b": b"2", b"d": b"4", b"e": b"5"}
    records = [
        _record(0, b"a", b"old"), _record(1, b"b", b"2"), _record(2, b"c", b"3"),
        _record(3, b"a", b"new"), _record(4, b"c", None), _record(5, b"d", b"4"),
        _record(6, b"e", b"5"),
    ]  # fmt: skip
    checksum = 0
    for row in rows.items():
        checksum = add_hash(checksum, new=row_hash(*row))
    newest = position(mine=RowSum(len(rows), checksum))
    if has_position:
        records.append(_record(7, POSITION_KEY, encode_position(newest)))
    expected = None if has_position else newest
    more = {"has_position": has_position, "rebuild_batch_rows": 2}
    cut_off = table(tmp_path, **more)
    assert cut_off.open(0) == 0
    cut_off.expect(expected, 0)
    cut_off.replay(records[:5])
    cut_off.close()
    again = table(tmp_path, **more)
    start = again.open(0)
    assert start == 4, "two batches of two rows; of the third one was there"
    again.expect(expected, 0)
    again.replay(records[start:])
    again.finish(8)
    assert again.position == newest
    assert dict(again.table(BYTES).items()) == {key.decode(): rows[key] for key in rows}
    again.close()


def test_a_replay_writes_large_rows_while_it_goes_on(tmp_path: Path) -> None:
    """Ten thousand of them would be gigabytes."""
    found = table(tmp_path)
    found.open(0)
    large = bytes(REBUILD_BATCH_BYTES // 4)
    found.replay([_record(number, b"%d" % number, large) for number in range(5)])
    found.close()
    again = table(tmp_path)
    assert again.open(0) == 4
    again.close()


class _Record:
    def __init__(self, offset: int, key: bytes, value: bytes | None) -> None:
        self.offset, self.key, self.value = offset, key, value
        self.timestamp, self.headers = 0, ()


def _record(offset: int, key: bytes, value: bytes | None) -> _Record:
    return _Record(offset, key, value)
