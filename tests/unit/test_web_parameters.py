"""Parameters of endpoints: what is taken, what is refused, and that the refusal names its field."""

import asyncio
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from web_support import CannedQueries, services

from k2_streams.core.records.stream import QUOTES, TRADES
from k2_streams.query.errors import InvalidParameter
from k2_streams.query.request import RowsRequest
from k2_streams.query.token import Cursor, Key, Token
from k2_streams.web.declaration.endpoint import Site
from k2_streams.web.declaration.parameters import SHOWN_CHARS, ParameterSet
from k2_streams.web.declaration.shared_parameters import MAX_LIMIT
from k2_streams.web.declaration.times import FIRST_INTEGER_NS
from k2_streams.web.endpoints import declared

ENDPOINTS = {endpoint.path: endpoint for endpoint in declared((TRADES,))}


def asked(path, parameters):
    """The query that a handler asks for these parameters."""
    queries = CannedQueries()
    query = {
        name: [value] if isinstance(value, str) else list(value)
        for name, value in parameters.items()
    }
    call = ENDPOINTS[path].call(query, Site(services(queries), (), b""))
    asyncio.run(call.endpoint.handler(call))
    (request,) = queries.asked
    return request


def parse_rows(parameters):
    return asked("/v1/trades", parameters)


def parse_gaps(parameters):
    return asked("/v1/gaps", parameters)


def parse_symbols(parameters):
    return asked("/v1/symbols", parameters)


def parse_snapshots(parameters):
    return asked("/v1/snapshots", parameters)


TOKEN = Token("t", {0: 5, 1: 7}, 1_000, 0)


def cursor_of(request: RowsRequest, **changes: object) -> str:
    fields = {
        "token": TOKEN,
        "after": Key(1, 0, 2, 3),
        "symbols": request.symbols,
        "exchanges": request.exchanges,
        "start_ns": 10,
        "end_ns": 20,
        "descending": request.descending,
        "limit": 50,
        "asked": request.asked(),
    }
    return Cursor(**{**fields, **changes}).encode()


def test_defaults():
    assert parse_rows({}) == RowsRequest(limit=1_000)


def test_everything_at_once():
    request = parse_rows(
        {
            "symbol": ["B", "A:C", "B"],
            "exchange": "X",
            "end": "last",
            "window": "15m",
            "limit": "7",
            "order": "desc",
            "min_offsets": "0:5,1:7",
            "wait_ms": "10",
        }
    )
    assert request == RowsRequest(
        symbols=("A:C", "B"),
        exchanges=("X",),
        end_ns="last",
        window_ns=900_000_000_000,
        limit=7,
        descending=True,
        min_offsets={0: 5, 1: 7},
        wait_ms=10,
    )


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0", 0),
        ("9223372036854775807", 2**63 - 1),
        ("2024-01-02T03:04:05Z", 1_704_164_645_000_000_000),
        ("2024-01-02T03:04:05.123456789Z", 1_704_164_645_123_456_789),
        ("2024-01-02T03:04:05.1+01:00", 1_704_161_045_100_000_000),
        ("2024-01-02t03:04:05-00:30", 1_704_166_445_000_000_000),
        ("2024-01-02T03:04Z", 1_704_164_640_000_000_000),
        ("631152000000000000", 631_152_000_000_000_000),
        ("1970-01-01T00:00:01Z", 1_000_000_000),
    ],
)
def test_times(text, ns):
    assert parse_rows({"start": text}).start_ns == ns


@pytest.mark.parametrize(
    ("text", "zone", "ns"),
    [
        ("2024-01-02T03:04:05", "UTC", 1_704_164_645_000_000_000),
        ("2014-03-10", "Australia/Sydney", 1_394_370_000_000_000_000),
        ("2014-03-10T10:00:00Z", "Australia/Sydney", 1_394_445_600_000_000_000),
    ],
)
def test_local_times(text, zone, ns):
    assert parse_rows({"start": text, "tz": zone}).start_ns == ns


@pytest.mark.parametrize(
    ("field", "parameters"),
    [
        ("nonsense", {"nonsense": "1"}),
        ("symbol", {"symbol": ""}),
        ("symbol", {"symbol": "x" * 65}),
        ("symbol", {"symbol": "e\u0301"}),
        ("symbol", {"symbol": "a\u200b"}),
        ("exchange", {"exchange": "é"}),
        ("symbol", {"symbol": "a\nb"}),
        ("symbol", {"symbol": [f"s{n}" for n in range(51)]}),
        ("exchange", {"exchange": "A:B"}),
        ("exchange", {"exchange": "x" * 33}),
        ("start", {"start": "2024-01-02T03:04:05"}),
        ("start", {"start": "2024-13-02T03:04:05Z"}),
        ("start", {"start": "2024-01-02T03:04:05 01:00"}),
        ("start", {"start": "yesterday"}),
        ("start", {"start": "9223372036854775808"}),
        ("start", {"start": "-1"}),
        ("start", {"start": "1.5"}),
        ("start", {"start": "٣"}),
        ("start", {"start": "1969-12-31T23:59:59Z"}),
        ("start", {"start": "2300-01-01T00:00:00Z"}),
        ("start", {"start": ["1", "2"]}),
        ("start", {"start": "last"}),
        ("start", {"start": "631152000000000001", "end": "631152000000000000"}),
        ("start", {"start": "2024-03-31T02:30:00", "tz": "Europe/Berlin"}),
        ("start", {"start": "2024-10-27T02:30:00", "tz": "Europe/Berlin"}),
        ("start", {"start": "9999-12-31T23:59:59-23:59"}),
        ("end", {"end": "LAST"}),
        ("tz", {"tz": "Mars/Olympus"}),
        ("tz", {"tz": "../../etc/passwd"}),
        ("window", {"window": "15"}),
        ("window", {"window": "0s"}),
        ("window", {"window": "-5m"}),
        ("window", {"window": "999999999999d"}),
        ("window", {"window": "5m", "start": "0"}),
        ("limit", {"limit": "0"}),
        ("limit", {"limit": str(MAX_LIMIT + 1)}),
        ("limit", {"limit": "1e3"}),
        ("limit", {"limit": "²"}),
        ("order", {"order": "up"}),
        ("format", {"format": "xml"}),
        ("wait_ms", {"wait_ms": "5001"}),
        ("wait_ms", {"wait_ms": "-1"}),
        ("limit", {"limit": "-0"}),
        ("exchange", {"exchange": "A\n"}),
        ("view", {"view": "as it was"}),
        ("min_offsets", {"min_offsets": ""}),
        ("min_offsets", {"min_offsets": "0"}),
        ("min_offsets", {"min_offsets": "0:-1"}),
        ("min_offsets", {"min_offsets": "0:9223372036854775808"}),
        ("min_offsets", {"min_offsets": "0:1", "as_of": TOKEN.encode()}),
        ("as_of", {"as_of": ""}),
        ("as_of", {"as_of": "!!!"}),
        ("as_of", {"as_of": TOKEN.encode()[:-3]}),
        ("as_of", {"as_of": cursor_of(RowsRequest())}),
        ("as_of", {"as_of": Token("t", {-1: 5}, 0, 0).encode()}),
        ("as_of", {"as_of": "A" * 20_000}),
        ("cursor", {"cursor": TOKEN.encode()}),
        ("cursor", {"cursor": cursor_of(RowsRequest(), limit=0)}),
        ("cursor", {"cursor": cursor_of(RowsRequest()), "symbol": "A"}),
        ("as_of", {"cursor": cursor_of(RowsRequest()), "as_of": Token("t", {}, 0, 0).encode()}),
    ],
)
def test_a_refusal_names_its_field(field, parameters):
    with pytest.raises(InvalidParameter) as caught:
        parse_rows(parameters)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23 10:00",
        "2026-11-23 10:00:00",
        "2026-11-23T10:00:00 10:00",
        "2026-11-23T10:00:00.5 10:00",
        " 2026-11-23T10:00:00Z",
        "2026-11-23T10:00:00Z ",
    ],
)
@pytest.mark.parametrize("zone", [{}, {"tz": "Australia/Sydney"}])
@pytest.mark.parametrize(("parse", "field"), [(parse_rows, "start"), (parse_gaps, "end")])
def test_a_blank_that_may_have_been_a_plus_is_refused(parse, field, text, zone):
    """An unescaped plus arrives as a blank: an offset must never become a time of day."""
    with pytest.raises(InvalidParameter, match="%2B") as caught:
        parse({field: text, **zone})
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        ("1796004000", "1796004000000000000 if these are seconds"),
        ("1796004000000", "1796004000000000000 if these are milliseconds"),
        ("1796004000000000", "1796004000000000000 if these are microseconds"),
        ("631152000", "if these are seconds"),
        ("9223372036854775", "if these are microseconds"),
    ],
)
def test_an_integer_in_another_unit_is_refused_with_the_unit(value, unit):
    for parse, field in ((parse_rows, "start"), (parse_rows, "end"), (parse_gaps, "start")):
        with pytest.raises(InvalidParameter, match=unit) as caught:
            parse({field: value})
        assert caught.value.field == field


@given(st.integers(1, FIRST_INTEGER_NS - 1))
def test_no_integer_before_1990_is_taken_for_nanoseconds(value):
    with pytest.raises(InvalidParameter, match="expected nanoseconds"):
        parse_rows({"start": str(value)})


def test_a_min_offset_waits_unless_told_otherwise():
    assert parse_rows({"min_offsets": "0:1"}).wait_ms == 5_000
    assert parse_rows({"min_offsets": "0:1", "wait_ms": "0"}).wait_ms == 0


def test_a_cursor_alone_is_the_whole_question():
    asked = RowsRequest(symbols=("A",), window_ns=5, descending=True)
    request = parse_rows({"cursor": cursor_of(asked)})
    assert (request.symbols, request.start_ns, request.end_ns) == (("A",), 10, 20)
    assert (request.window_ns, request.descending, request.limit) == (None, True, 50)
    assert request.as_of == TOKEN
    assert request.pinned


def test_a_cursor_beside_its_own_question_is_taken_with_another_limit():
    parameters = {"symbol": "A", "window": "5ns", "order": "desc"}
    cursor = cursor_of(parse_rows(parameters))
    assert parse_rows({**parameters, "cursor": cursor, "limit": "3"}).limit == 3


def test_other_paths():
    assert parse_gaps({"state": "open,filled", "symbol": "A"}).states == ("filled", "open")
    assert parse_symbols({"as_of": TOKEN.encode()}).as_of == TOKEN
    assert parse_snapshots({"limit": "2"}).limit == 2
    for parse, parameters in (
        (parse_gaps, {"state": "shut"}),
        (parse_symbols, {"state": "open"}),
        (parse_snapshots, {"limit": "0"}),
    ):
        with pytest.raises(InvalidParameter):
            parse(parameters)


@pytest.mark.parametrize(
    ("path", "parameters", "message"),
    [
        ("/v1/trades", {"limit": "0"}, "expected an integer, 1 to 250000, found '0'"),
        ("/v1/trades", {"order": "up"}, "expected one of asc, desc, found 'up'"),
        (
            "/v1/trades",
            {"symbol": "a\nb"},
            "expected 1 to 64 printable Unicode characters in NFC, found 'a\\nb'",
        ),
        ("/v1/trades", {"limit": ["1", "2"]}, "expected once, found 2 times"),
        (
            "/v1/gaps",
            {"state": "open,shut"},
            "expected one of open, filled, abandoned, found 'shut'",
        ),
        ("/v1/status", {"a": "b"}, "unknown parameter; expected no parameter"),
        ("/v1/snapshots", {"a": "b"}, "unknown parameter; expected one of format, limit, stream"),
        (
            "/v1/trades",
            {"as_of": TOKEN.encode(), "min_offsets": "0:1"},
            "min_offsets cannot be combined with as_of, cursor or known_at",
        ),
        (
            "/v1/trades",
            {"cursor": cursor_of(RowsRequest()), "order": "desc"},
            "the cursor was issued for a different query",
        ),
        ("/v1/trades", {"window": "5m", "start": "0"}, "window cannot be combined with start"),
    ],
)
def test_a_refusal_names_what_is_expected_and_what_was_found(path, parameters, message):
    with pytest.raises(InvalidParameter) as caught:
        asked(path, parameters)
    assert caught.value.message == message


def test_a_refusal_shows_the_beginning_of_a_long_value():
    with pytest.raises(InvalidParameter) as caught:
        parse_rows({"order": "x" * 10_000})
    assert len(caught.value.message) < SHOWN_CHARS + 100


def test_an_order_beside_a_cursor_is_a_repeated_query_even_if_it_is_the_default():
    cursor = cursor_of(RowsRequest(descending=True))
    with pytest.raises(InvalidParameter, match="different query"):
        parse_rows({"cursor": cursor, "order": "asc"})


def test_a_stream_without_corrections_has_no_view():
    endpoints = {endpoint.path: endpoint for endpoint in declared((TRADES, QUOTES))}
    with pytest.raises(InvalidParameter, match="unknown") as caught:
        endpoints["/v1/quotes"].parameter_set.read({"view": ["reported"]})
    assert caught.value.field == "view"


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """Of a user's view."""

    name: Annotated[str, msgspec.Meta(min_length=2, max_length=3, description="A name.")]
    count: Annotated[int, msgspec.Meta(ge=-5, description="A count.")] = 0
    deep: Annotated[bool, msgspec.Meta(description="How.")] = False
    kinds: Annotated[
        tuple[Literal["b", "a"], ...], msgspec.Meta(max_length=1, description="Which.")
    ] = ()


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ({"name": ["ab"]}, {"name": "ab"}),
        ({"name": ["abc"], "count": ["-5"]}, {"name": "abc", "count": -5}),
        ({"name": ["ab"], "deep": ["true"]}, {"name": "ab", "deep": True}),
        ({"name": ["ab"], "kinds": ["a"]}, {"name": "ab", "kinds": ("a",)}),
    ],
)
def test_values_follow_the_type_of_their_field(query, values):
    assert ParameterSet([Declared]).read(query) == values


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({}, "name: required; expected a text of 2 to 3 characters"),
        ({"name": ["a"]}, "name: expected a text of 2 to 3 characters, found 'a'"),
        ({"name": ["ab"], "count": ["-6"]}, "count: expected an integer, at least -5, found '-6'"),
        ({"name": ["ab"], "deep": ["1"]}, "deep: expected true or false, found '1'"),
        (
            {"name": ["ab"], "kinds": ["a", "a"]},
            "kinds: expected at most 1 of them, found 2",
        ),
        ({"name": ["ab"], "kinds": ["c"]}, "kinds: expected one of b, a, found 'c'"),
    ],
)
def test_bounds_are_those_of_the_declaration(query, message):
    with pytest.raises(InvalidParameter) as caught:
        ParameterSet([Declared]).read(query)
    assert str(caught.value) == message


def test_schemas_are_those_of_the_declaration():
    name, count, deep, kinds = ParameterSet([Declared]).parameters
    assert name.schema == {"type": "string", "minLength": 2, "maxLength": 3}
    assert (name.is_required, count.is_required) == (True, False)
    assert count.schema == {"type": "integer", "minimum": -5, "default": 0}
    assert deep.schema == {"type": "boolean", "default": False}
    assert kinds.schema == {
        "type": "array",
        "maxItems": 1,
        "items": {"type": "string", "enum": ["b", "a"]},
    }
    assert [one.description for one in (name, kinds)] == ["A name.", "Which."]
