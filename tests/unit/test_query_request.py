"""Queries are refused when they are made, whoever makes them."""

import pytest

from k2_streams.query.errors import InvalidParameter
from k2_streams.query.request import LAST, GapsRequest, RowsRequest, SymbolsRequest
from k2_streams.query.token import Cursor, Key, Token

TOKEN = Token("t", {0: 5}, 1_000, 0)


def cursor_of(request):
    """The cursor of a request's second page."""
    return Cursor(
        TOKEN,
        Key(1, 0, 2, 3),
        request.symbols,
        request.exchanges,
        10,
        20,
        request.descending,
        50,
        request.asked(),
        request.view,
    )


@pytest.mark.parametrize(
    ("make", "fields", "field"),
    [
        (RowsRequest, {"start_ns": 5, "end_ns": 4}, "start"),
        (RowsRequest, {"start_ns": 5, "window_ns": 4}, "window"),
        (RowsRequest, {"as_of": TOKEN, "min_offsets": {0: 1}}, "min_offsets"),
        (RowsRequest, {"cursor": cursor_of(RowsRequest()), "min_offsets": {0: 1}}, "min_offsets"),
        (GapsRequest, {"start_ns": 5, "end_ns": 4}, "start"),
        (GapsRequest, {"start_ns": 5, "window_ns": 4}, "window"),
        (SymbolsRequest, {"as_of": TOKEN, "min_offsets": {0: 1}}, "min_offsets"),
    ],
)
def test_a_query_that_contradicts_itself_is_refused(make, fields, field):
    with pytest.raises(InvalidParameter) as caught:
        make(**fields)
    assert caught.value.field == field


def test_a_range_may_be_empty_and_may_end_at_the_newest_row():
    assert RowsRequest(start_ns=5, end_ns=5).end_ns == 5
    assert RowsRequest(start_ns=5, end_ns=LAST).end_ns == LAST


def test_a_page_is_of_its_cursors_query_and_keeps_its_own_limit():
    first = RowsRequest(symbols=("A",), descending=True, view="corrected", limit=7)
    page = first.continued(cursor_of(first), is_repeated=True)
    assert (page.symbols, page.start_ns, page.end_ns) == (("A",), 10, 20)
    assert (page.descending, page.view, page.limit, page.as_of) == (True, "corrected", 7, TOKEN)
    assert page.pinned


@pytest.mark.parametrize(
    "other",
    [
        RowsRequest(symbols=("B",)),
        RowsRequest(descending=True),
        RowsRequest(view="corrected"),
        RowsRequest(window_ns=1),
    ],
)
def test_a_cursor_of_another_query_is_refused(other):
    cursor = cursor_of(RowsRequest(symbols=("A",)))
    with pytest.raises(InvalidParameter, match="issued for a different query"):
        other.continued(cursor, is_repeated=True)
    assert other.continued(cursor, is_repeated=False).symbols == ("A",)
