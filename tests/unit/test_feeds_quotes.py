"""Quotes: two sides, each of which may be absent; what they say of the market is flagged."""

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_streams.core.records.schema import QUOTE_ROWS
from k2_streams.feeds.canonical.quotes import QUOTE
from k2_streams.feeds.canonical.record import read
from k2_streams.feeds.decoding.decoded import Decoded, Kind, RawBatch, Refusal
from k2_streams.feeds.feed import feed
from k2_streams.feeds.quote_feeds import QUOTE_FEEDS
from k2_streams.feeds.recordings.readers import read as read_recording

T0 = 1_700_000_000_000_000_000
APPEND_MS = T0 // 1_000_000
KEY = b"SIM:ABC"


def decode(values: list[bytes | None], name: str = "canonical", key: bytes = KEY) -> Decoded:
    count = len(values)
    return feed(name, QUOTE_FEEDS).decode(
        RawBatch(
            partition=0,
            offsets=np.arange(count, dtype=np.int64),
            append_time_ms=np.full(count, APPEND_MS, dtype=np.int64),
            keys=[key] * count,
            values=values,
        )
    )


def quote(**changes: object) -> bytes:
    fields = {
        "exchange": "SIM", "symbol": "ABC", "bid_price": "10.1", "bid_quantity": "5",
        "ask_price": "10.2", "ask_quantity": 7, "exchange_time_ns": T0, "sequence": 1,
    } | changes  # fmt: skip
    return json.dumps({k: v for k, v in fields.items() if v != "absent"}).encode()


def test_a_quote_has_the_columns_of_quotes():
    decoded = decode([quote()])
    assert decoded.rows.schema == QUOTE_ROWS
    (row,) = decoded.rows.to_pylist()
    assert (row["bid_price"], row["ask_quantity"]) == (Decimal("10.1"), Decimal(7))
    assert (row["crossed"], row["locked"], row["one_sided"]) == (False, False, False)


@pytest.mark.parametrize(
    ("bid", "ask", "flags"),
    [
        ("10.3", "10.2", (True, False, False)),
        ("10.2", "10.20", (False, True, False)),
        ("10.2", 0, (False, False, True)),
        ("10.2", "0.00", (False, False, True)),
        (None, 10.2, (False, False, True)),
        (None, 0, (False, False, False)),
    ],
)
def test_crossed_locked_and_one_sided_are_flagged_not_dropped(bid, ask, flags):
    decoded = decode([quote(), quote(bid_price=bid, ask_price=ask)])
    assert decoded.bad == []
    row = decoded.rows.to_pylist()[1]
    assert (row["crossed"], row["locked"], row["one_sided"]) == flags


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"bid_price": "absent"}, "missing-field", "bid_price"),
        ({"ask_price": "absent"}, "missing-field", "ask_price"),
        ({"bid_price": "-1"}, "not-positive", "bid_price"),
        ({"ask_quantity": "1e-19"}, "too-precise", "ask_quantity"),
        ({"ask_price": "x"}, "not-a-number", "ask_price"),
        ({"ask_price": True}, "wrong-type", "ask_price"),
        ({"symbol": "XYZ"}, "key-mismatch", "key"),
        ({"exchange_time_ns": 1}, "bad-time", "exchange_time_ns"),
    ],
)
def test_what_is_no_quote_is_refused_with_its_field(changes, reason, field):
    decoded = decode([quote(), quote(**changes), quote(sequence=2)])
    assert [(bad.message, bad.reason, bad.field) for bad in decoded.bad] == [(1, reason, field)]
    assert decoded.kind.tolist() == [Kind.TRADE, Kind.BAD, Kind.TRADE]
    assert decoded.rows.column("message").to_pylist() == [0, 2]


def test_a_trade_is_no_quote():
    trade = {
        "exchange": "SIM", "symbol": "ABC", "price": "1", "quantity": "1", "exchange_time_ns": T0,
    }  # fmt: skip
    assert decode([json.dumps(trade).encode()]).bad[0].reason == "missing-field"


NUMBERS = st.sampled_from(
    [
        "absent",
        None,
        0,
        1,
        2.5,
        "0",
        "0.0",
        "00.10",
        "1.5",
        "7",
        "-1",
        "1e3",
        "1e-20",
        "nan",
        "",
        [],
    ]
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "bid_price": NUMBERS, "bid_quantity": NUMBERS,
                "ask_price": NUMBERS, "ask_quantity": NUMBERS,
                "extra": st.sampled_from(["absent", "x", 1]),
            }
        ),
        max_size=6,
    )
)  # fmt: skip
def test_a_batch_says_of_each_record_what_the_record_alone_says(fields):
    values = [quote(sequence=place, **changes) for place, changes in enumerate(fields)]
    decoded = decode(values)
    rows = {row["message"]: row for row in decoded.rows.to_pylist()}
    bad = {entry.message: entry for entry in decoded.bad}
    for message, value in enumerate(values):
        outcome = read(QUOTE, value, KEY, APPEND_MS)
        if isinstance(outcome, Refusal):
            assert (bad[message].reason, bad[message].field) == (outcome.reason, outcome.field)
            continue
        row = rows[message]
        for name in ("bid_price", "bid_quantity", "ask_price", "ask_quantity"):
            text = getattr(outcome, name)
            assert row[name] == (None if text is None else Decimal(text))
        assert row["vendor"] == (list(outcome.vendor.items()) if outcome.vendor else None)


def test_an_asx_line_is_a_quote_of_its_day():
    line = b"3,BHP,03/10/2014,05:43:45.676,37.7,0.0,300,0"
    decoded = decode([line], "asx.quotes.csv", b"ASX:BHP")
    (row,) = decoded.rows.to_pylist()
    assert (row["bid_price"], row["bid_quantity"]) == (Decimal("37.7"), Decimal(300))
    assert (row["ask_price"], row["ask_quantity"], row["one_sided"]) == (None, None, True)
    assert (decoded.sequence.tolist(), decoded.sessions) == ([3], ["2014-03-10"])


@pytest.mark.parametrize(
    ("line", "reason", "field"),
    [
        (b"3,BHP,03/10/2014,05:43:45.676,37.7,0.0,300", "wrong-columns", None),
        (b"x,BHP,03/10/2014,05:43:45.676,37.7,0.0,300,0", "sequence-range", "sequence"),
        (b"3,RIO,03/10/2014,05:43:45.676,37.7,0.0,300,0", "key-mismatch", "key"),
        (b"3,BHP,03/10/2014,25:43:45.676,37.7,0.0,300,0", "bad-time", "time"),
        (b"3,BHP,03/10/2014,05:43:45.676,37.7,0.0,1e,0", "not-a-number", "bid volume"),
    ],
)
def test_an_asx_line_that_is_no_quote_is_refused(line, reason, field):
    (bad,) = decode([line], "asx.quotes.csv", b"ASX:BHP").bad
    assert (bad.reason, bad.field) == (reason, field)


@pytest.mark.recorded
def test_the_recorded_quotes_of_bhp_are_as_measured():
    """77,849 quotes, 323 crossed, 5 one-sided; each is kept."""
    file = Path(__file__).parents[3] / "shared" / "data" / "asx-2014-03" / "quotes" / "7078.csv"
    if not file.exists():
        pytest.skip("no recordings beside the checkout (../shared/data)")
    values = [one.value for one in read_recording("asx.quotes.csv", file)]
    decoded = decode(values, "asx.quotes.csv", b"ASX:BHP")
    rows = decoded.rows
    assert (rows.num_rows, decoded.bad) == (77_849, [])
    flags = {name: rows.column(name).true_count for name in ("crossed", "one_sided")}
    assert flags == {"crossed": 323, "one_sided": 5}
