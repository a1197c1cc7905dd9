"""The quick decoder of batches gives what one record at a time gives, whatever the neighbours are.

Three decoders meet: the batch's, `read`, and one made of the standard library's json and decimal.
"""

import json
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation, localcontext
from unicodedata import normalize
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from k2_streams.core.enrich.instruments import PriceDomain, positive_prices
from k2_streams.feeds.canonical import batch as canonical_batch
from k2_streams.feeds.canonical.feed import Canonical
from k2_streams.feeds.canonical.record import outcome as outcome_of
from k2_streams.feeds.canonical.record import read
from k2_streams.feeds.canonical.trade import TRADE, CanonicalTrade
from k2_streams.feeds.decoding.decoded import Decoded, Kind, RawBatch, Refusal

APPEND_MS = 1_723_161_255_342
TIME_NS = APPEND_MS * 1_000_000
KEY = b"SIM:ABC"

GOOD = {
    "exchange": ['"SIM"', '"S\\u0049M"'],
    "symbol": ['"ABC"', '"A\\u0042C"', '"币安"', '"\\u5e01\\u5b89"'],
    "price": ['"12.50"', "12.5", '"0.000000000000000001"', "1e3", '"99999999999999999999"'],
    "quantity": ['"7"', "7", "7.0", '".5"', '"5."', '"+1"', '"1E-18"', '"1.' + "0" * 40 + '"'],
    "exchange_time_ns": [str(TIME_NS), str(TIME_NS + 86_400_000_000_000), "631152000000000000"],
    "sequence": ["0", "17", str(2**63 - 1), "null"],
    "trade_id": ['"T1"', '"\\n"', "null", '"' + "x" * 128 + '"', '"🙂"'],
    "session": ['"2024-08-08"', "null", '"a b"'],
    "side": ['"buy"', '"sell"', '"unknown"', "null", '"BUY"', '"b\\u00fcy"'],
    "conditions": ["[]", '["A","B"]', "null"],
    "vendor": ["{}", '{"v":"1"}', '{"v":"a\\"b","w":"é"}', "null"],
    "receive_time_ns": ["5", "null"],
}
REQUIRED = ("exchange", "symbol", "price", "quantity", "exchange_time_ns")
HOSTILE = [
    *("null", "true", "1", "-1", "0", "1.5", "[]", "{}", '""', '"x"', '"\\ud800"', '"é"', "1e30"),
    *("NaN", "Infinity", '"NaN"', '"-inf"', '"1e30"', '"0"', '"-1"', '"1 "', '"1_0"', '"0x1"'),
    *('"0.0000000000000000001"', '"123456789012345678901"', "9223372036854775808", "-0", "1.0"),
    *('"340282366920938463463374607431768211457"', '"1e-99999"', '"1e99999999999999999999"'),
    *("[1]", '["a",null]', '{"v":1}', '{"v":null}', "[" * 70 + "]" * 70, '"' + "y" * 200 + '"'),
    *("01", "1.", '"\\q"', '"a\tb"', "1" * 30, "1" * 5_000, '"\uff11"', "631151999999999999"),
    *(str(TIME_NS + 86_400_000_000_001), '"S:M"', '"A\\u0000"', '"ABC "', "[[[1", '"', "}", "{"),
]
UNKNOWN = ["x", "v", "$.v", "é", "Price", ""]
BYTES = [
    *(None, b"", b" ", b"\n", b"null", b"[]", b"3}", b'{"a":', b"{}", b"{", b"}", b"\xff"),
    *(b'{"a":1} {"a":2}', b'\xef\xbb\xbf{"a":1}', b"{}{}", b"{}\n{}", b"[" * 2_000),
    *(b'{"price":' + b"[" * 2_000, b'{"zz":"\xff"}', b" " * 300_000, b"x" * 300_000),
]


BASE = {
    "strings": '"exchange":"SIM","symbol":"ABC","price":"12.5","quantity":"7"',
    "numbers": '"exchange":"SIM","symbol":"ABC","price":12.5,"quantity":7e0',
    "escapes": '"exchange":"S\\u0049M","symbol":"ABC","price":"12.\\u0035","quantity":7',
    "unknown": '"v":"1","exchange":"SIM","symbol":"ABC","price":"12.5","quantity":7,"$.v":[1, 2]',
}
REST = f'"exchange_time_ns":{TIME_NS},"sequence":5,"vendor":{{"v":"2"}}'
WHOLE = ("{" + BASE["numbers"] + "," + REST + "}").encode()
BYTES += [
    WHOLE[:-1] + b" " * 300_000 + b"}",
    WHOLE[:-1] + b',"zz":"\xff"}',
    WHOLE[:-1] + b',"zz":"\xff","zz":1}',
    b'{"price":"\xff",' + WHOLE[1:],
    WHOLE[:-1] + b',"z\xff":1}',
    WHOLE[:-1] + b',"zz":"\xc3\xa9"}',
]


@st.composite
def objects(draw):
    """A record's JSON text, mostly good, its fields in any order."""
    optional = sorted(GOOD.keys() - set(REQUIRED))
    names = [*REQUIRED, *draw(st.lists(st.sampled_from(optional), max_size=4, unique=True))]
    pairs = [(name, draw(st.sampled_from(GOOD[name]))) for name in names]
    if draw(st.integers(0, 3)) == 0:
        pairs.append((draw(st.sampled_from(UNKNOWN)), draw(st.sampled_from(HOSTILE))))
    if draw(st.integers(0, 3)) == 0:
        spoilt = draw(st.integers(0, len(pairs) - 1))
        pairs[spoilt] = (pairs[spoilt][0], draw(st.sampled_from(HOSTILE)))
    if draw(st.integers(0, 9)) == 0:
        pairs.pop(draw(st.integers(0, len(pairs) - 1)))
    if draw(st.integers(0, 9)) == 0:
        pairs.append(draw(st.sampled_from(pairs)))  # a name twice: the last one counts
    gap = draw(st.sampled_from(["", "", "", " ", "\n", "\t"]))
    text = f",{gap}".join(f'"{name}"{gap}:{gap}{value}{gap}' for name, value in pairs)
    return (draw(st.sampled_from(["", "", "", " ", "\n"])) + "{" + text + "}").encode()


@st.composite
def plain(draw):
    """A record that the quickest way takes."""
    number = draw(st.integers(0, 10**6))
    return (
        f'{{"exchange":"SIM","symbol":"ABC","price":"{number + 1}.25","quantity":"1",'
        f'"exchange_time_ns":{TIME_NS + number},"sequence":{number}}}'
    ).encode()


@st.composite
def compensating(draw):
    """Values that are wrong one by one and, joined, are as many objects as values."""
    first, second = draw(plain()), draw(plain())
    cut = draw(st.integers(1, len(first) - 1))
    glue = draw(st.sampled_from([b"\n", b" ", b"", b"\n\n"]))
    group = [first[:cut], first[cut:], second + glue + draw(plain())]
    if draw(st.booleans()):
        group = [second + glue + first, draw(st.sampled_from([b"", b" ", b"\n", None]))]
    return draw(st.permutations(group)) if draw(st.booleans()) else group


@st.composite
def flipped(draw):
    """A record with one byte changed."""
    value = bytearray(draw(objects()))
    value[draw(st.integers(0, len(value) - 1))] = draw(st.integers(0, 255))
    return bytes(value)


values = st.lists(
    st.one_of(
        st.lists(plain(), min_size=1, max_size=6),
        objects().map(lambda value: [value]),
        flipped().map(lambda value: [value]),
        st.sampled_from(BYTES).map(lambda value: [value]),
        compensating(),
    ),
    max_size=6,
).map(lambda groups: [value for group in groups for value in group])
OTHER_KEYS = [None, b"", b"SIM:ABD", b"SIMABC", b"\xff:A", b"SIM:A:B", b":"]
keys = st.sampled_from([*[KEY] * 12, *["SIM:币安".encode()] * 4, *OTHER_KEYS])


@st.composite
def batches(draw):
    chosen = draw(values)
    if draw(st.booleans()):
        return chosen, [KEY] * len(chosen)
    return chosen, [draw(keys) for _ in chosen]


def decode(values, keys, chunk=canonical_batch.CHUNK, price_domains=positive_prices) -> Decoded:
    count = len(values)
    batch = RawBatch(
        0,
        np.arange(count, dtype=np.int64),
        np.full(count, APPEND_MS, dtype=np.int64),
        list(keys),
        list(values),
        price_domains,
    )
    with mock.patch.object(canonical_batch, "CHUNK", chunk):
        return Canonical().decode(batch)


def check(values, keys, decoded: Decoded, price_domains=positive_prices):
    rows = {row["message"]: row for row in decoded.rows.to_pylist()}
    bad = {entry.message: entry for entry in decoded.bad}
    assert [row["message"] for row in decoded.rows.to_pylist()] == sorted(rows)
    assert [entry.message for entry in decoded.bad] == sorted(bad)
    decoded.rows.validate(full=True)
    for column, field in zip(decoded.rows.columns, decoded.rows.schema, strict=True):
        assert field.nullable or column.null_count == 0, field.name
    for message, (value, key) in enumerate(zip(values, keys, strict=True)):
        outcome = read(TRADE, value, key, APPEND_MS, price_domains)
        scope = decoded.scopes[decoded.scope[message]] if decoded.scope[message] >= 0 else None
        session = (
            decoded.sessions[decoded.session[message]] if decoded.session[message] >= 0 else None
        )
        sequence, time_ns = decoded.sequence[message], decoded.event_time_ns[message]
        if isinstance(outcome, Refusal):
            assert decoded.kind[message] == Kind.BAD
            assert message not in rows
            entry = bad[message]
            assert (entry.reason, entry.field, entry.detail) == outcome[:3]
            assert (sequence, session, time_ns) == outcome[3:]
            assert scope == (key.decode() if outcome.sequence >= 0 else None)
        else:
            assert decoded.kind[message] == Kind.TRADE
            assert message not in bad
            assert scope == key.decode()
            assert sequence == (-1 if outcome.sequence is None else outcome.sequence)
            assert (session, time_ns) == (outcome.session, outcome.exchange_time_ns)
            check_row(rows[message], outcome)


def check_row(row, line: CanonicalTrade):
    for name in ("exchange", "symbol", "trade_id", "side", "conditions", "receive_time_ns"):
        assert row[name] == getattr(line, name), name
    assert row["price"] == Decimal(line.price)
    assert row["quantity"] == Decimal(line.quantity)
    assert row["exchange_time_ns"] == line.exchange_time_ns
    assert row["source_index"] == 0
    day = datetime.fromtimestamp(line.exchange_time_ns // 10**9, UTC).date()
    assert row["trading_date"] == day
    vendor = row["vendor"]
    assert (vendor if vendor is None else dict(vendor)) == line.vendor


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(batches(), st.sampled_from([1, 2, 3, 128]))
@example(([b'{"a":1} {"a":2}', b'{"a":', b"3}"], [KEY] * 3), 128)
@example(([b'{"a":1}\n{"a":2}', b""], [KEY] * 2), 128)
@example(([b'{"a":"x', b'y"}'], [KEY] * 2), 128)
@example(([], []), 128)
def test_batch_equals_record_by_record(batch, chunk):
    """Outcome by outcome, value by value, for any mixture and any size of chunk."""
    decoded = decode(*batch, chunk=chunk)
    check(*batch, decoded)
    by_record = Counter(
        name
        for value, key in zip(*batch, strict=True)
        for found in [outcome_of(TRADE, value, key, APPEND_MS, positive_prices)]
        for name in found.unknown
    )
    assert decoded.unknown == by_record


@pytest.mark.parametrize("base", BASE)
@pytest.mark.parametrize("field", [*GOOD, "zz", "v"])
@pytest.mark.slow
def test_every_hostile_value_in_every_field(field, base):
    """One at a time between good neighbours, in records of each kind."""
    good = ("{" + BASE[base] + "," + REST + "}").encode()
    for hostile in [*HOSTILE, *GOOD.get(field, ())]:
        before = f'{{"{field}":{hostile},{BASE[base]},{REST}}}'.encode()  # the good one counts
        after = f'{{{BASE[base]},{REST},"{field}":{hostile}}}'.encode()
        batch = [good, before, after, good]
        for chunk in (1, 128):
            check(batch, [KEY] * 4, decode(batch, [KEY] * 4, chunk=chunk))


@pytest.mark.parametrize("domain", PriceDomain)
@pytest.mark.parametrize("otherwise", PriceDomain)
def test_a_number_is_refused_alike_whatever_else_is_wrong(domain, otherwise):
    """Also where a price's domain hangs on a time that cannot be, which no record may ask for."""
    after = TIME_NS + 86_400_000_000_001
    batch = [
        f'{{"exchange":"SIM","symbol":"ABC","price":{price},"quantity":{quantity},'
        f'"exchange_time_ns":{time_ns}{rest}}}'.encode()
        for price in ('"1"', "-1", '"0"', '"1e-19"', "1e30", '"x"', '"-é"', "true")
        for quantity in ("1", '"-1"')
        for time_ns in (TIME_NS, after)
        for rest in ("", ',"sequence":5', ',"sequence":5,"session":"é"', ',"session":"s"')
    ]

    def domains(_exchange, _symbol, time_ns):
        return domain if time_ns == TIME_NS else otherwise

    for keys in ([KEY] * len(batch), [b"SIM:ABD"] * len(batch)):
        for text in (batch, [value.replace(b"true", b'"y"') for value in batch]):
            check(text, keys, decode(text, keys, price_domains=domains), domains)


@pytest.mark.parametrize("base", BASE)
def test_every_hostile_value_between_good_neighbours(base):
    """Bytes of every bad kind leave the records beside them alone."""
    good = ("{" + BASE[base] + "," + REST + "}").encode()
    for hostile in BYTES:
        batch = [good, hostile, good]
        for chunk in (1, 2, 128):
            decoded = decode(batch, [KEY] * 3, chunk=chunk)
            check(batch, [KEY] * 3, decoded)
            assert decoded.kind.tolist()[::2] == [Kind.TRADE] * 2
        alone = [hostile]
        check(alone, [KEY], decode(alone, [KEY]))


@pytest.mark.parametrize("base", BASE)
@pytest.mark.parametrize("glue", [b" ", b"", b"\n", b"\n\n"])
def test_compensating_values_harm_nobody(base, glue):
    """Two objects in one value beside one object in two: joined, their number would agree."""
    good = ("{" + BASE[base] + "," + REST + "}").encode()
    two = good + glue + good
    for cut in range(1, len(good)):
        batch = [two, good[:cut], good[cut:], good]
        decoded = decode(batch, [KEY] * 4)
        assert decoded.kind.tolist() == [Kind.BAD] * 3 + [Kind.TRADE]
        assert decoded.rows.column("message").to_pylist() == [3]
    for nothing in (b"", b" ", b"\n", None):
        decoded = decode([two, nothing, good], [KEY] * 3)
        assert decoded.kind.tolist() == [Kind.BAD] * 2 + [Kind.TRADE]


class _Number(str):
    """A JSON number's text."""

    __slots__ = ()


def _refuse(_text):
    raise ValueError


def by_the_book(value, key):
    """A trade's values, or None: the contract's table, written with the standard library alone."""
    try:
        if not value.strip() or len(value) > 262_144:
            return None
        fields = json.loads(
            value.decode(), parse_float=_Number, parse_int=_Number, parse_constant=_refuse
        )
        json.dumps(fields, ensure_ascii=False).encode()  # lone surrogates are no text
    except (AttributeError, ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or key is None:
        return None
    known = {name: fields.get(name) for name in GOOD}
    texts = ("exchange", "symbol", "trade_id", "session")
    if any(known[name] is not None and type(known[name]) is not str for name in texts):
        return None
    whole = ("exchange_time_ns", "sequence")
    try:
        numbers = {name: _integer(known[name]) for name in whole}
        price, quantity = (_decimal(known[name]) for name in ("price", "quantity"))
    except (ValueError, InvalidOperation):
        return None
    time_ns = numbers["exchange_time_ns"]
    first, last = 631_152_000_000_000_000, TIME_NS + 86_400_000_000_000
    fits = (
        key == f"{known['exchange']}:{known['symbol']}".encode()
        and known["exchange"].isascii()
        and 1 <= len(known["exchange"]) <= 32
        and all(char.isalnum() or char in "._-" for char in known["exchange"])
        and 1 <= len(known["symbol"]) <= 64
        and known["symbol"].isprintable()
        and normalize("NFC", known["symbol"]) == known["symbol"]
        and time_ns is not None
        and first <= time_ns <= last
        and all(number is None or 0 <= number < 2**63 for number in numbers.values())
        and 1 <= len(known["trade_id"] or "-") <= 128
        and known["trade_id"] != ""
        and known["session"] != ""
        and len(known["session"] or "-") <= 64
        and (known["session"] or "-").isascii()
        and (known["session"] or "-").isprintable()
    )
    return (price, quantity, time_ns, numbers["sequence"], fields) if fits else None


def lost(fields):
    """The optional attributes whose value is not one that the contract's table has."""
    conditions, vendor, side = (fields.get(name) for name in ("conditions", "vendor", "side"))
    names = []
    if not (side is None or (type(side) is str and side in {"buy", "sell", "unknown"})):
        names.append("side")
    if not (conditions is None or _all_text(conditions, list, conditions)):
        names.append("conditions")
    if not (
        vendor is None or (isinstance(vendor, dict) and _all_text(vendor.values(), dict, vendor))
    ):
        names.append("vendor")
    try:
        received = _integer(fields.get("receive_time_ns"))
    except ValueError:
        received = -1
    if received is not None and not 0 <= received < 2**63:
        names.append("receive_time_ns")
    return names


def _all_text(texts, kind, whole):
    return isinstance(whole, kind) and all(type(text) is str for text in texts)


def _integer(found):
    if found is None:
        return None
    if type(found) is not _Number or not found.removeprefix("-").isdigit() or len(found) > 25:
        raise ValueError
    return int(found)


def _decimal(found):
    if not isinstance(found, str) or "_" in found or not found.isascii() or found != found.strip():
        raise ValueError
    with localcontext(prec=10_000):
        number = Decimal(found)
        if not number.is_finite() or not 0 < number < 10**20 or number.adjusted() < -18:
            raise ValueError
        if number % Decimal("1e-18"):
            raise ValueError
        return number


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(batches())
def test_record_by_record_equals_the_standard_library(batch):
    """`read` takes what the contract's table takes, refuses what it refuses, and keeps the values.

    Nesting is left out: the contract says nothing of it.
    """
    for value, key in zip(*batch, strict=True):
        if value is not None and b"[" * 65 in value:
            continue
        outcome = read(TRADE, value, key, APPEND_MS)
        expected = by_the_book(value, key)
        assert isinstance(outcome, Refusal) == (expected is None), (value, outcome)
        if expected is not None:
            price, quantity, time_ns, sequence, fields = expected
            assert (Decimal(outcome.price), Decimal(outcome.quantity)) == (price, quantity)
            assert (outcome.exchange_time_ns, outcome.sequence) == (time_ns, sequence)
            check_nothing_lost(outcome, fields)


def check_nothing_lost(line: CanonicalTrade, fields):
    """Every field of a record is in its row: under its name, or in `vendor`."""
    vendor, gone = dict(line.vendor or {}), lost(fields)
    for name, text in (fields.get("vendor") or {}).items() if "vendor" not in gone else ():
        assert vendor.pop(name) == text
    kept = sorted(vendor.values())
    unknown = [value for name, value in fields.items() if name not in GOOD or name in gone]
    assert len(kept) == len(unknown)
    for value in unknown:
        if type(value) is str:
            assert value in kept
    for name in ("trade_id", "session", "side", "conditions"):
        if name not in gone:
            assert getattr(line, name) == fields.get(name)
        else:
            assert getattr(line, name) == ("unknown" if name == "side" else None)
    if "receive_time_ns" in gone:
        assert line.receive_time_ns is None


def test_trading_date_before_midnight_and_after():
    """The day is UTC's."""
    midnight = int(datetime(2024, 8, 8, tzinfo=UTC).timestamp()) * 10**9
    texts = [
        f'{{"exchange":"SIM","symbol":"ABC","price":1,"quantity":1,"exchange_time_ns":{time_ns}}}'
        for time_ns in (midnight - 1, midnight)
    ]
    decoded = decode([text.encode() for text in texts], [KEY] * 2)
    days = decoded.rows.column("trading_date").to_pylist()
    assert days == [date(2024, 8, 7), date(2024, 8, 8)]
