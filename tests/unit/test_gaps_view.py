"""A node's view of the events: which scopes a question is about, and how far the view reaches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2_streams.core.records.events import Duplicates, GapOpened
from k2_streams.query.gaps import GapsView


def opened(scope: str, first: int, time_ns: int) -> GapOpened:
    return GapOpened(
        scope=scope,
        session="0",
        first=first,
        last=first,
        size="small",
        exchange_time_ns=time_ns,
        previous_time_ns=time_ns,
        next_time_ns=time_ns,
    )


@pytest.fixture
def view() -> GapsView:
    view = GapsView()
    scopes = ["X:A", "X:B", "Y:A", "X:SPOT:A", "X:@feed", "Y:@feed", "X:A:C"]
    for number, scope in enumerate(scopes):
        view.apply(opened(scope, 1, 10 * number + 1), 0, number + 1)
    return view


@pytest.mark.parametrize(
    ("symbols", "exchanges", "scopes"),
    [
        ((), (), {"X:A", "X:B", "Y:A", "X:SPOT:A", "X:@feed", "Y:@feed", "X:A:C"}),
        (("A",), (), {"X:A", "Y:A", "X:@feed", "Y:@feed"}),
        (("A",), ("X",), {"X:A", "X:@feed"}),
        (("SPOT:A",), (), {"X:SPOT:A", "X:@feed", "Y:@feed"}),
        (("C",), ("X",), {"X:@feed"}),
        (("A:C",), ("X",), {"X:A:C", "X:@feed"}),
        (("Z",), ("X",), {"X:@feed"}),
        ((), ("Y",), {"Y:A", "Y:@feed"}),
    ],
)
def test_scopes_whose_numbers_cover_the_selection(view, symbols, exchanges, scopes):
    gaps, omitted = view.find(symbols=symbols, exchanges=exchanges, limit=100)
    assert {gap.scope for gap in gaps} == scopes
    assert omitted == 0


def test_range_state_and_limit(view):
    gaps, omitted = view.find(start_ns=10, end_ns=40, limit=2)
    assert ([gap.scope for gap in gaps], omitted) == (["X:B", "X:SPOT:A"], 1)
    assert view.find(states=("filled",), limit=9) == ((), 0)


def test_counts_are_of_the_scope_of_that_very_name(view):
    assert view.counts("X", "A").gaps_opened == 1
    view.apply(opened("X:SPOT:D", 1, 0), 0, 100)
    view.apply(opened("X:PERP:D", 1, 0), 0, 101)
    assert view.counts("X", "D").gaps_opened == 0
    assert view.counts("X", "SPOT:D").gaps_opened == 1
    assert view.counts("Y", "D").gaps_opened == 0
    assert view.totals().gaps_opened == 9


NAMES = st.sampled_from(["A", "B", "A:B", "B:A", "A@x", "A:B@x", "@A", "@A:B", ":A", "A:", "::"])


@given(
    rows=st.sets(st.tuples(st.sampled_from("XY"), NAMES), min_size=1),
    symbols=st.sets(NAMES, max_size=2),
    exchanges=st.sets(st.sampled_from("XY"), max_size=1),
)
def test_a_selection_has_the_gaps_of_the_names_that_its_rows_have(rows, symbols, exchanges):
    """Gaps are selected as rows are: by the whole name; a connection may hide any of them."""
    view = GapsView()
    for number, (exchange, symbol) in enumerate(sorted(rows)):
        view.apply(opened(f"{exchange}:{symbol}", 1, number), 0, number + 1)
    gaps, _ = view.find(symbols=tuple(symbols), exchanges=tuple(exchanges), limit=100)
    assert {(gap.exchange, gap.symbol) for gap in gaps} == {
        (exchange, symbol)
        for exchange, symbol in rows
        if (not exchanges or exchange in exchanges)
        and (not symbols or symbol in symbols or symbol.startswith("@"))
    }
    for exchange, symbol in rows:
        assert view.counts(exchange, symbol).gaps_opened == 1


def test_an_event_read_again_is_taken_once():
    view = GapsView()
    event = Duplicates(scope="X:A", session="0", count=3, ranges=[(1, 3)])
    view.apply(event, 0, 5)
    view.apply(event, 0, 5)
    view.apply(event, 1, 1)
    assert view.counts("X", "A").duplicates == 6
    view.advance(0, 3)
    assert view.positions == {0: 5, 1: 1}


def test_a_view_is_complete_once_all_is_read_that_was_there_when_reading_began():
    view = GapsView()
    assert not view.is_complete, "nobody reads"
    view.expect({0: 2, 3: 1})
    view.advance(0, 2)
    assert not view.is_complete
    view.advance(3, 1)
    assert view.is_complete


def test_coverage_never_goes_back():
    view = GapsView()
    assert not view.covers({}), "nobody reads the events"
    view.expect({0: 3})
    assert not view.covers({}), "not all that were there at the start are read"
    view.advance(0, 3)
    assert view.covers({})
    assert view.covers({0: 0})
    assert not view.covers({0: 1})
    view.cover({0: 5, 1: 2})
    view.cover({0: 3})
    assert view.covers({0: 5, 1: 2})
    assert not view.covers({0: 5, 1: 3})
