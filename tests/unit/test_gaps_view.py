"""A node's view of the events: which scopes a question is about, and how far the view reaches."""

import pytest

from k2_streams.core.events import Duplicates, GapOpened
from k2_streams.query.gaps import GapsView


def opened(scope: str, first: int, time_ns: int) -> GapOpened:
    return GapOpened(
        scope=scope, session="0", first=first, last=first, size="small", exchange_time_ns=time_ns
    )


@pytest.fixture
def view() -> GapsView:
    view = GapsView()
    scopes = ["X:A", "X:B", "Y:A", "X:SPOT:A", "X:@feed", "Y:@feed", "X:A:C"]
    for number, scope in enumerate(scopes):
        view.apply(opened(scope, 1, 10 * number), 0, number + 1)
    return view


@pytest.mark.parametrize(
    ("symbols", "exchanges", "scopes"),
    [
        ((), (), {"X:A", "X:B", "Y:A", "X:SPOT:A", "X:@feed", "Y:@feed", "X:A:C"}),
        (("A",), (), {"X:A", "Y:A", "X:SPOT:A", "X:@feed", "Y:@feed"}),
        (("A",), ("X",), {"X:A", "X:SPOT:A", "X:@feed"}),
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


def test_counts_are_of_the_own_scope_or_else_of_its_markets(view):
    assert view.counts("X", "A").gaps_opened == 1
    view.apply(opened("X:SPOT:D", 1, 0), 0, 100)
    view.apply(opened("X:PERP:D", 1, 0), 0, 101)
    assert view.counts("X", "D").gaps_opened == 2
    assert view.counts("Y", "D").gaps_opened == 0
    assert view.totals().gaps_opened == 9


def test_an_event_read_again_is_taken_once():
    view = GapsView()
    event = Duplicates(scope="X:A", session="0", count=3, ranges=[(1, 3)])
    view.apply(event, 0, 5)
    view.apply(event, 0, 5)
    view.apply(event, 1, 1)
    assert view.counts("X", "A").duplicates == 6
    view.advance(0, 3)
    assert view.positions == {0: 5, 1: 1}


def test_coverage_never_goes_back():
    view = GapsView()
    assert view.covers({})
    assert view.covers({0: 0})
    assert not view.covers({0: 1})
    view.cover({0: 5, 1: 2})
    view.cover({0: 3})
    assert view.covers({0: 5, 1: 2})
    assert not view.covers({0: 5, 1: 3})
