"""States that messages in order move in columns are read, sealed and evicted like any others."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from k2_streams.core.lines.state import Held, LineAt, Lines
from k2_streams.core.sequence import codec
from k2_streams.core.sequence.batch import step_batch
from k2_streams.core.sequence.columns import MAX_NAMES, Moves, ScopeColumns
from k2_streams.core.sequence.messages import Batch
from k2_streams.core.sequence.sessions import Missing, Session, SessionRule
from k2_streams.core.sequence.step import MAX_SEQUENCE, Counters, ScopeState
from k2_streams.state.scope_table import ScopeTable
from k2_streams.state.store import STATE_VERSION, PartitionStore, StoreMeta
from k2_streams.state.table import SealedRows

T0_NS = 1_700_000_000_000_000_000
SCOPES = [f"X:{number}" for number in range(40)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PartitionStore]:
    """An open one."""
    opened = PartitionStore(tmp_path / "s")
    opened.open()
    yield opened
    opened.close()


def table_on(store: PartitionStore, cache_rows: int = 1_000) -> ScopeTable:
    """A table without rows."""
    return ScopeTable(store, codec.encode, codec.decode, 0, 0, cache_rows=cache_rows)


def send(table: ScopeTable, number: int, scopes: list[str] = SCOPES) -> Moves | None:
    """One message per scope, all with the same number."""
    count = len(scopes)
    batch = Batch(
        scopes=scopes,
        scope=np.arange(count, dtype=np.int32),
        sequence=np.full(count, number, np.int64),
        sessions=[],
        session=np.full(count, -1, np.int32),
        event_time_ns=np.full(count, T0_NS + number, np.int64),
        offset=np.arange(count, dtype=np.int64),
        append_ms=np.full(count, T0_NS // 10**6, np.int64),
        partition=0,
    )
    after = step_batch(table.get, batch, SessionRule.NEVER, columns=table.columns)
    table.take(after.states, after.moves)
    return after.moves


def write(table: ScopeTable, store: PartitionStore, sealed: SealedRows) -> None:
    """As a checkpoint does once its transaction is committed."""
    store.write(sealed.rows, StoreMeta(STATE_VERSION, "c", 1, 0, b"", {"": sealed.sum}))
    table.written()


def expected_of(state: ScopeState | None) -> int:
    """The next number of a scope."""
    assert state is not None
    return state.sessions[-1].expected


def test_scopes_in_order_move_without_a_state_of_each(store: PartitionStore) -> None:
    """From the second message on; whoever reads one gets the newest state."""
    table = table_on(store)
    assert send(table, 1) is None
    for number in (2, 3):
        moves = send(table, number)
        assert moves is not None
        assert len(moves.slots) == len(SCOPES)
    assert expected_of(table.get(SCOPES[7])) == 4
    assert {expected_of(state) for _, state in table.items()} == {4}


def test_a_checkpoint_seals_what_has_moved_in_its_epoch(store: PartitionStore) -> None:
    """Those scopes and no others, with the bytes that their states have."""
    table = table_on(store)
    send(table, 1)
    write(table, store, table.seal())
    send(table, 2, SCOPES[:3])
    sealed = table.seal()
    assert sealed.rows == {
        scope.encode(): codec.encode(state)
        for scope in SCOPES[:3]
        if (state := table.get(scope)) is not None
    }
    write(table, store, sealed)
    assert table.seal().rows == {}
    again = ScopeTable(store, codec.encode, codec.decode, sealed.count, sealed.checksum)
    assert [expected_of(again.get(scope)) for scope in SCOPES[:4]] == [3, 3, 3, 2]


def test_what_moves_while_a_checkpoint_is_written_does_not_leave_the_cache(
    store: PartitionStore,
) -> None:
    """Above its limit rows leave, with their place in the columns, and come back as they were."""
    table = table_on(store, cache_rows=2)
    send(table, 1)
    sealed = table.seal()
    send(table, 2, SCOPES[:10])
    write(table, store, sealed)
    assert [expected_of(table.get(scope)) for scope in SCOPES] == [3] * 10 + [2] * 30
    send(table, 3, SCOPES[:10])
    write(table, store, table.seal())
    assert (table.columns.slots(SCOPES) >= 0).sum() <= 2
    assert [expected_of(table.get(scope)) for scope in SCOPES] == [4] * 10 + [2] * 30


def test_a_state_that_is_put_or_deleted_takes_the_place_of_what_moved(
    store: PartitionStore,
) -> None:
    """The newest change counts, however it came about."""
    table = table_on(store)
    send(table, 1)
    send(table, 2)
    table.put(SCOPES[0], ScopeState(dropped=9))
    table.delete(SCOPES[1])
    assert table.get(SCOPES[0]) == ScopeState(dropped=9)
    assert table.get(SCOPES[1]) is None
    assert expected_of(table.get(SCOPES[2])) == 3
    assert table.seal().count == len(SCOPES) - 1


def test_columns_with_too_many_names_begin_again_and_lose_nothing(store: PartitionStore) -> None:
    """A venue may name each connection's session."""
    table = table_on(store)
    send(table, 1)
    send(table, 2)
    table.columns.names += ["x"] * MAX_NAMES
    send(table, 1, ["X:new"])
    assert len(table.columns.names) == 1
    assert [expected_of(table.get(scope)) for scope in SCOPES] == [3] * len(SCOPES)
    send(table, 3)
    assert send(table, 4) is not None


def current(**changes: int | tuple[Missing, ...]) -> Session:
    """A session that moves."""
    values = {
        "id": "0", "first": 1, "expected": 9, "missing": (), "floor": 0,
        "first_time_ns": T0_NS, "last_time_ns": T0_NS,
    }  # fmt: skip
    return Session(**values | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "moves"),
    [
        (ScopeState((current(),)), True),
        (ScopeState((current(missing=(Missing(3, 4, 3, 3),)),)), True),
        (ScopeState((current(), current())), True),
        (ScopeState((current(),), lines=Lines((LineAt("A", "0", 9, 1),))), True),
        (ScopeState((current(),), lines=Lines()), False),
        (ScopeState(()), False),
        (ScopeState((current(first_time_ns=0),)), False),
        (ScopeState((current(expected=MAX_SEQUENCE + 1),)), False),
        (ScopeState((current(),), lines=Lines((), (Held("0", 3, 4, 0, 0, 0, ()),))), False),
    ],
)
def test_a_scope_has_a_row_if_messages_in_order_move_nothing_else(
    state: ScopeState, moves: bool
) -> None:
    """Not while a session waits for a time, or a gap for a line."""
    columns = ScopeColumns()
    columns.load({"X:A": state})
    assert (columns.slots(["X:A"]).tolist() == [0]) is moves
    assert columns.take("X:A") is None


def test_a_row_that_moves_changes_its_numbers_and_nothing_else() -> None:
    """What a state says beside them stays, also of sessions that came before."""
    missing = (Missing(3, 5, 3, 4, 7, 1, 2),)
    before = ScopeState(
        (current(id="a", missing=missing), current(id="b", missing=missing, floor=2)),
        dropped=4,
        counters=Counters(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11),
    )
    columns = ScopeColumns()
    columns.load({"X:A": before})
    slots = columns.slots(["X:A"])
    columns.move(Moves(slots, columns.rows[slots], None))
    assert columns.take("X:A") == before
