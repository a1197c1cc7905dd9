"""Tables whose position lies in another changelog: what they must hold is compared all the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from k2_streams.kafka.topics import TopicInfo
from k2_streams.state.checked_store import StoreUnusableError
from k2_streams.state.codec import row_hash
from k2_streams.state.position import Position, RowSum, encode_position
from k2_streams.state.row_tables import RowCodec, RowTables
from k2_streams.state.store import PartitionStore

BYTES = RowCodec(lambda value: value, lambda value: value)
ROW = (b"a", b"one")
HELD = RowSum(1, row_hash(*ROW))


def table(path: Path) -> RowTables:
    changelog = TopicInfo("app-mine-changelog", "id", 1)
    return RowTables("mine", PartitionStore(path), changelog, 0, has_position=False)


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


class _Record:
    def __init__(self, offset: int, key: bytes, value: bytes) -> None:
        self.offset, self.key, self.value = offset, key, value
        self.timestamp, self.headers = 0, ()


def _record(offset: int, key: bytes, value: bytes) -> _Record:
    return _Record(offset, key, value)
