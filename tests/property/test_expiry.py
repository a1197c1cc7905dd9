"""Gaps of silent scopes are abandoned early, and nothing else changes by it."""

from pathlib import Path
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from k2_streams.core.records.events import Event, GapAbandoned
from k2_streams.core.sequence import codec as sequence_codec
from k2_streams.core.sequence.expiry import NEVER_MS, expired, margin_ms, oldest_gap_ms
from k2_streams.core.sequence.sessions import SessionRule
from k2_streams.core.sequence.step import ScopeMessage, ScopeState, Verdict, step
from k2_streams.runtime.task.gap_keeper import MAX_EXPIRED, GapKeeper
from k2_streams.state.store import PartitionStore
from k2_streams.state.table import RowTable

HORIZON_MS = 100
START_MS = 1_000_000
MESSAGES = st.lists(
    st.tuples(
        st.integers(0, 14),  # number
        st.sampled_from([0, 1, 5, 40, 60, 110, 500]),  # time since the one before
        st.sampled_from([None, None, None, "b", "c"]),  # session
    ),
    max_size=25,
)


def placeless(events: list[Event]) -> list[Event]:
    """Without what gave a gap up: that is all that may differ."""
    return [
        msgspec.structs.replace(event, source_offset=-1, exchange_time_ns=0)
        if isinstance(event, GapAbandoned) and event.reason == "horizon"
        else event
        for event in events
    ]


def folded(
    messages: list[tuple[int, int, str | None]], looks: list[list[int]]
) -> tuple[list[Verdict], list[Event], ScopeState | None]:
    """Every message, and before each one looks at these times without one; then the end."""
    state: ScopeState | None = None
    verdicts, events, now_ms = [], [], START_MS
    for offset, ((number, passed, session), times) in enumerate(zip(messages, looks, strict=True)):
        for time_ms in times:
            if state is not None:
                state, found = expired(state, "X:A", 0, now_ms + time_ms, HORIZON_MS)
                events += found
        now_ms += passed
        message = ScopeMessage(number, session, now_ms * 10**6, "X:A", 0, offset, now_ms)
        state, verdict, _, found = step(state, message, SessionRule.DECLARED, HORIZON_MS)
        verdicts.append(verdict)
        events += found
    if state is not None:
        state, found = expired(state, "X:A", 0, now_ms + HORIZON_MS, HORIZON_MS)
        events += found
        assert oldest_gap_ms(state) == NEVER_MS
    return verdicts, placeless(events), state


@st.composite
def looked_at(draw: st.DrawFn) -> tuple[list[tuple[int, int, str | None]], list[list[int]]]:
    """Messages, and the times without one before each: up to the time of the next message."""
    messages = draw(MESSAGES)
    times = [draw(st.lists(st.integers(0, passed), max_size=2)) for _, passed, _ in messages]
    return messages, [sorted(of) for of in times]


#: The gap of the session that was there first is the younger one, and both are abandoned.
YOUNGER_FIRST = (
    [(4, 110, "b"), (1, 0, "a"), (3, 60, "a"), (1, 40, "b"), (2, 110, "a")],
    [[59, 76], [0], [], [7, 33], [7, 69]],
)

#: Of two gaps of a session one alone is beyond the horizon when it is looked at.
ONE_OF_TWO = (
    [(0, 1, "b"), (0, 5, "b"), (2, 0, "b"), (4, 60, "b"), (3, 60, "a")],
    [[], [3, 4], [0], [33, 52], [3, 53]],
)


@settings(max_examples=500, deadline=None)
@given(looked_at())
@example(YOUNGER_FIRST)
@example(ONE_OF_TWO)
def test_verdicts_state_and_events_are_those_of_never_looking(looked: Any) -> None:
    """However often, and whenever, the gaps of a silent scope are looked at."""
    messages, looks = looked
    assert folded(messages, looks) == folded(messages, [[] for _ in messages])


def table_of(folder: Path, count: int) -> tuple[RowTable[ScopeState], PartitionStore]:
    """Scopes that each miss number 1, the n-th since n ms behind the start."""
    store = PartitionStore(folder)
    store.open()
    table: RowTable[ScopeState] = RowTable(
        store, sequence_codec.encode, sequence_codec.decode, 0, 0
    )
    for n in range(count):
        state: ScopeState | None = None
        for number in (0, 2):
            message = ScopeMessage(number, None, 1, f"X:{n}", 0, number, START_MS + n)
            state = step(state, message, SessionRule.NEVER, HORIZON_MS).state
        assert table.get(f"X:{n}") is None
        table.put(f"X:{n}", state)
    return table, store


def test_silent_scopes_are_looked_at_a_few_at_a_time_also_by_a_successor(tmp_path: Path) -> None:
    """None is forgotten, and none is abandoned before the horizon and its margin."""
    count = MAX_EXPIRED + 10
    table, store = table_of(tmp_path, count)
    keeper = GapKeeper(table, 0, HORIZON_MS, NEVER_MS)
    assert keeper.expired(2**62) == []
    keeper.took({f"X:{n}": table.get(f"X:{n}") for n in range(count)})
    waits_ms = HORIZON_MS + margin_ms(HORIZON_MS)
    assert keeper.next_deadline_ms == START_MS + waits_ms
    assert keeper.expired(START_MS + waits_ms - 1) == []
    assert [event.scope for event in keeper.expired(START_MS + waits_ms)] == ["X:0"]
    assert keeper.oldest_ms == START_MS + 1
    assert len(keeper.expired(2**62)) == MAX_EXPIRED
    assert len(keeper.expired(2**62)) == 9
    assert (keeper.oldest_ms, keeper.expired(2**62)) == (NEVER_MS, [])
    store.close()
