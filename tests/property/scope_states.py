"""The states of scopes as a table has them: what has moved lies in columns until it is read."""

from k2_streams.core.sequence import codec
from k2_streams.core.sequence.batch import BatchStep
from k2_streams.core.sequence.columns import ScopeColumns
from k2_streams.core.sequence.step import ScopeState


class ScopeStates:
    """States by scope; without columns each scope is stepped by itself."""

    def __init__(self, *, in_columns: bool) -> None:
        self.columns = ScopeColumns() if in_columns else None
        self.made: dict[str, ScopeState] = {}

    def get(self, scope: str) -> ScopeState | None:
        """The newest state."""
        moved = None if self.columns is None else self.columns.take(scope)
        if moved is not None:
            self.made[scope] = moved
        return self.made.get(scope)

    def take(self, after: BatchStep) -> set[str]:
        """Take what a batch brought about; the scopes that it changed."""
        changed = set(after.states)
        self.made |= after.states
        if self.columns is not None:
            if after.moves is not None:
                self.columns.move(after.moves)
                slots = after.moves.slots.tolist()
                changed |= {scope for scope in self.made if self.columns.slots([scope])[0] in slots}
            self.columns.load(after.states)
        return changed

    def change(self, scope: str, state: ScopeState) -> None:
        """A state that no batch has made."""
        self.made[scope] = state
        if self.columns is not None:
            self.columns.load({scope: state})

    def all(self) -> dict[str, ScopeState]:
        """The newest states."""
        if self.columns is not None:
            self.made |= self.columns.take_moved()
        return dict(self.made)

    def restart(self) -> None:
        """What a successor has: the bytes of a checkpoint."""
        self.made = {scope: codec.decode(codec.encode(one)) for scope, one in self.all().items()}
        if self.columns is not None:
            self.columns = ScopeColumns()
