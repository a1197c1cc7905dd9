"""The table of scopes' sequence states, which messages in order move all together in columns."""

from collections.abc import Iterator, Mapping
from typing import Any

from k2_streams.core.sequence.columns import Moves, ScopeColumns
from k2_streams.core.sequence.step import ScopeState
from k2_streams.state.table import RowTable, SealedRows


class ScopeTable(RowTable[ScopeState]):
    """A `RowTable` of states, the newest of which may still lie in its `columns`.

    Whoever reads a state gets the newest one; a checkpoint makes states of all that have moved.
    What has moved has changed in the current epoch.
    """

    def __init__(self, *of_table: Any, **more: Any) -> None:
        super().__init__(*of_table, **more)
        self.columns = ScopeColumns()

    def get(self, key: str) -> ScopeState | None:
        """The newest state."""
        moved = self.columns.take(key)
        if moved is None:
            return super().get(key)
        self._change(key, moved)
        return moved

    def items(self, prefix: str = "") -> Iterator[tuple[str, ScopeState]]:
        """As `RowTable.items`."""
        self._take_moved()
        return super().items(prefix)

    def put(self, key: str, value: ScopeState) -> None:
        """Change a state in the current epoch."""
        self.take({key: value}, None)

    def delete(self, key: str) -> None:
        """Delete a state in the current epoch, if there is one."""
        super().delete(key)
        self.columns.drop(key)

    def take(self, states: Mapping[str, ScopeState], moves: Moves | None) -> None:
        """Change the states of a batch in the current epoch: each either made or moved."""
        if moves is not None:
            self.columns.move(moves)
        for key, state in states.items():
            super().put(key, state)
        if self.columns.is_full:
            self._take_moved()
            self.columns.clear()
        self.columns.load(states)

    def seal(self) -> SealedRows:
        """As `RowTable.seal`."""
        self._take_moved()
        return super().seal()

    def written(self) -> None:
        """As `RowTable.written`."""
        if self._is_cache_full():
            self._take_moved()  # what has moved must not leave the cache
        super().written()

    def _take_moved(self) -> None:
        moved = self.columns.take_moved()
        self._cache.update(moved)
        self._dirty.update(dict.fromkeys(moved))

    def _forget(self, key: str) -> None:
        super()._forget(key)
        self.columns.drop(key)
