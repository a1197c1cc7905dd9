"""Fuzzing of every decoder: recorded and hand-made messages, spoiled in many ways.

No decoder raises; a record's outcome is its own, whatever stands beside it; and what is accepted is
in the message: an independent reader finds every price, quantity and id in its text.

`K2_FUZZ_DURATION_S` is how much CPU time each decoder gets (`make check-long`); else few examples.
"""

import json
import logging
import re
import time
from decimal import Decimal, InvalidOperation

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from venue_records import TRADES, decode, seeds

from k2_streams.core.records.symbols import is_symbol
from k2_streams.feeds.decoding.decoded import MAX_INT64, MIN_EVENT_TIME_NS, Decoded, Kind
from k2_streams.feeds.feed import FEEDS
from k2_streams.feeds.venues import kraken
from k2_streams.runtime.settings.tools import development_settings

log = logging.getLogger(__name__)
SECONDS = development_settings().fuzz_duration_s
EXAMPLES = 200 if SECONDS else 40

HOSTILE = [
    b"NaN", b"null", b"true", b"-1", b"0", b"1e400", b"1.5", b"[]", b"{}", b'""', b'"NaN"',
    b'"-0"', b'"1e-19"', b'"' + b"9" * 40 + b'"', b"9" * 30, b"9223372036854775808",
    b'"\\u0000"', b'"\\ud800"', b'"0x10"', b'" 1"', b'"1_000"', b'"\xef\xbc\x91"', b"[[[[",
    b"1786310000000", b'"2026-02-30T00:00:00Z"', b'"9999-12-31T23:59:59.999999999Z"', b"\x00",
    b"\xff", b",", b":", b"}", b'"', b"\\", b"[" * 80 + b"]" * 80,
]  # fmt: skip
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?|true|false|null|[^,]+')


def _hostile_token(draw: st.DrawFn, value: bytes, _: str) -> bytes:
    tokens = list(_TOKEN.finditer(value))
    if not tokens:
        return value
    token = draw(st.sampled_from(tokens))
    return value[: token.start()] + draw(st.sampled_from(HOSTILE)) + value[token.end() :]


def _swapped_tokens(draw: st.DrawFn, value: bytes, _: str) -> bytes:
    tokens = list(_TOKEN.finditer(value))
    if len(tokens) < 2:
        return value
    first = draw(st.integers(0, len(tokens) - 2))
    a, b = tokens[first], tokens[draw(st.integers(first + 1, len(tokens) - 1))]
    return value[: a.start()] + b[0] + value[a.end() : b.start()] + a[0] + value[b.end() :]


def _inserted(draw: st.DrawFn, value: bytes, _: str) -> bytes:
    at = draw(st.integers(0, len(value)))
    return value[:at] + draw(st.sampled_from(HOSTILE)) + value[at:]


def _cut(draw: st.DrawFn, value: bytes, _: str) -> bytes:
    at = draw(st.integers(0, len(value)))
    return value[:at] + value[at + draw(st.integers(1, 40)) :]


def _flipped(draw: st.DrawFn, value: bytes, _: str) -> bytes:
    at = draw(st.integers(0, len(value)))
    return value[:at] + draw(st.binary(min_size=1, max_size=8)) + value[at + 1 :]


def _spliced(draw: st.DrawFn, value: bytes, name: str) -> bytes:
    _, other = draw(st.sampled_from(seeds(name)))
    at = draw(st.integers(0, len(value)))
    return value[:at] + other[draw(st.integers(0, len(other))) :]


def _repeated(draw: st.DrawFn, value: bytes, _: str) -> bytes:
    at = draw(st.integers(0, len(value)))
    return value[:at] + value[max(0, at - draw(st.integers(1, 60))) :]


WAYS = [_hostile_token, _swapped_tokens, _inserted, _cut, _flipped, _spliced, _repeated]


@st.composite
def spoiled(draw: st.DrawFn, name: str) -> tuple[bytes | None, bytes | None]:
    """A seed, with none or some of it changed."""
    key, value = draw(st.sampled_from(seeds(name)))
    for way in draw(st.lists(st.sampled_from(WAYS), max_size=3)):
        value = way(draw, value, name)
    if draw(st.integers(0, 9)) == 0:
        other, _ = draw(st.sampled_from(seeds(name)))
        key = draw(st.sampled_from([None, b"", other, key + b"X", key[:-1], b"X" + key]))
    return key, None if draw(st.integers(0, 99)) == 0 else value


def outcome(decoded: Decoded, at: int) -> tuple:
    """All that was decoded of one record, without its place."""
    scope, session = int(decoded.scope[at]), int(decoded.session[at])
    rows = [row for row in decoded.rows.to_pylist() if row.pop("message") == at]
    bad = [(bad.reason, bad.field, bad.detail) for bad in decoded.bad if bad.message == at]
    return (
        int(decoded.kind[at]),
        decoded.scopes[scope] if scope >= 0 else None,
        int(decoded.sequence[at]),
        decoded.sessions[session] if session >= 0 else None,
        int(decoded.event_time_ns[at]),
        rows,
        bad,
    )


def leaves(found: object) -> list[object]:
    """Every text and number of a JSON value."""
    if isinstance(found, dict):
        return [leaf for part in found.values() for leaf in leaves(part)]
    if isinstance(found, list):
        return [leaf for part in found for leaf in leaves(part)]
    return [found]


#: Where a venue has price and quantity of each trade, in the message's order.
WHERE = {
    "bybit.v5": lambda said: [(trade["p"], trade["v"]) for trade in said["data"]],
    "canonical": lambda said: [(said["price"], said["quantity"])],
    "coinbase.advanced": lambda said: [
        (trade["price"], trade["size"]) for event in said["events"] for trade in event["trades"]
    ],
    "coinbase.exchange": lambda said: [(said["price"], said["size"])],
    "hitbtc.v2": lambda said: [
        (trade["price"], trade["quantity"]) for trade in said["params"]["data"]
    ],
    "kraken.v1": lambda said: [(trade[0], trade[1]) for trade in said[1]],
}


def trades_in(name: str, text: str) -> list[tuple[str, str]]:
    """Price and quantity of each trade of a message, from their own places."""
    if name == "asx.csv":
        columns = text.split(",")
        return [(columns[4], columns[5])]
    said = json.loads(text, parse_float=str, parse_int=str)
    if name in WHERE:
        return WHERE[name](said)
    data = said.get("data") or said  # Binance's markets
    return [(data["p"], data["q"])]


def unstamped(name: str, value: bytes) -> str:
    """A message without the times of whoever recorded it."""
    text = value.decode()
    while name != "asx.csv" and text[:1].isdigit():
        text = text.partition(" ")[2]
    return text


def spoken(name: str, value: bytes) -> tuple[set[Decimal], set[str]]:
    """The numbers and the texts of a message, by another reader than K2's."""
    text = unstamped(name, value)
    if name == "asx.csv":
        said = text.split(",")
    else:
        said = leaves(json.loads(text, parse_float=str, parse_int=str))
    numbers = set()
    for one in said:
        try:
            numbers.add(Decimal(one) if isinstance(one, str) else Decimal(-1))
        except InvalidOperation:
            continue
    return numbers, {one for one in said if isinstance(one, str)}


def check(name: str, key: bytes | None, value: bytes | None, found: tuple) -> None:
    """What must hold of any outcome."""
    kind, scope, sequence, _, time_ns, rows, bad = found
    assert (kind == Kind.BAD) == (len(bad) == 1)
    assert (kind == Kind.TRADE) == bool(rows)
    assert -1 <= sequence <= MAX_INT64
    assert 0 <= time_ns <= MAX_INT64
    if kind == Kind.BAD:
        assert (scope is None) == (sequence < 0)
        return
    assert key is not None
    assert value is not None
    assert scope == key.decode()
    numbers, texts = spoken(name, value)
    if sequence >= 0:
        assert Decimal(sequence) in numbers
    assert [row["source_index"] for row in rows] == list(range(len(rows)))
    if rows:  # as many, in this order, each number from its own place
        assert [(row["price"], row["quantity"]) for row in rows] == [
            (Decimal(price), Decimal(quantity))
            for price, quantity in trades_in(name, unstamped(name, value))
        ]
    for row in rows:
        assert row["price"] > 0
        assert row["quantity"] > 0
        assert row["exchange_time_ns"] >= MIN_EVENT_TIME_NS
        assert row["side"] in {None, "buy", "sell", "unknown"}
        assert row["exchange"] == scope.partition(":")[0]
        assert is_symbol(row["symbol"])
        assert row["trade_id"] is None or row["trade_id"] in texts
        if row["receive_time_ns"] is not None:
            assert 0 <= row["receive_time_ns"] <= MAX_INT64


def fuzz(name: str, round_seed: str) -> None:
    """One round of examples; each round has its own, which the seed makes again."""

    @seed(round_seed)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(spoiled(name), min_size=1, max_size=6))
    def examples(messages: list[tuple[bytes | None, bytes | None]]) -> None:
        together = decode(name, messages)
        for at, (key, value) in enumerate(messages):
            found = outcome(together, at)
            check(name, key, value, found)
            assert found == outcome(decode(name, [(key, value)]), 0)

    examples()


@pytest.mark.parametrize("name", sorted(FEEDS))
def test_fuzz(name: str, pytestconfig: pytest.Config) -> None:
    """Nothing raises, nothing depends on a neighbour, nothing accepted is nonsense."""
    base = pytestconfig.getoption("hypothesis_seed")
    ends = time.process_time() + SECONDS
    rounds = 1
    fuzz(name, f"{base} {name} 1")
    while time.process_time() < ends:
        rounds += 1
        fuzz(name, f"{base} {name} {rounds}")
    log.info("%s: %d seeds, %d times %d examples", name, len(seeds(name)), rounds, EXAMPLES)


@pytest.mark.parametrize("name", sorted(FEEDS))
@pytest.mark.slow
def test_every_field_in_every_hostile_way(name: str) -> None:
    """Chance seldom meets one field with one value: here each does, one at a time."""
    key, value = TRADES[name]
    for token in _TOKEN.finditer(value):
        for hostile in HOSTILE:
            spoilt = value[: token.start()] + hostile + value[token.end() :]
            check(name, key, spoilt, outcome(decode(name, [(key, spoilt)]), 0))


def test_an_empty_price_read_as_a_number_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of every field can fail."""
    honest = kraken.typed
    monkeypatch.setattr(kraken, "typed", lambda *asked: honest(*asked) or "1")
    with pytest.raises((AssertionError, InvalidOperation)):
        test_every_field_in_every_hostile_way("kraken.v1")


def test_the_check_finds_nonsense() -> None:
    """A price that the message does not hold, and a number for a record without a scope."""
    key, value = TRADES["kraken.v1"]
    found = outcome(decode("kraken.v1", [(key, value)]), 0)
    check("kraken.v1", key, value, found)
    with pytest.raises(AssertionError):
        check("kraken.v1", key, value.replace(b"1.5", b"1.6", 1), found)
    with pytest.raises(AssertionError):
        check("kraken.v1", key, value, (Kind.BAD, None, 5, None, 0, [], [("x", None, "y")]))
