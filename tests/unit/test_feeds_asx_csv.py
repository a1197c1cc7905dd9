"""ASX lines: Sydney's time, the day as session, and what bad lines get."""

from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pytest

from k2_streams.feeds.decoding.decoded import RawBatch
from k2_streams.feeds.feed import Kind, feed
from k2_streams.feeds.venues.asx_csv import event_time_ns, trading_day

KEY = b"ASX:BHP"
LINE = b"1,BHP,03/10/2014,07:57:14.754,36.667,20000,3,X,9"
APPEND_MS = 1_723_161_255_343


def decode(values, keys=None):
    count = len(values)
    return feed("asx.csv").decode(
        RawBatch(
            0,
            np.arange(count, dtype=np.int64),
            np.full(count, APPEND_MS, dtype=np.int64),
            keys or [KEY] * count,
            values,
        )
    )


def utc(text: str) -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return round(moment.timestamp() * 1_000) * 1_000_000


def test_trade():
    """Every column; the trading day is Sydney's, where UTC has the day before."""
    decoded = decode([LINE])
    (row,) = decoded.rows.to_pylist()
    assert (row["exchange"], row["symbol"], row["trade_id"]) == ("ASX", "BHP", None)
    assert (row["price"], row["quantity"]) == (Decimal("36.667"), Decimal(20_000))
    assert (row["side"], row["conditions"]) == (None, ["3"])
    assert row["vendor"] == [("venue", "X"), ("buyer", "9")]
    assert row["exchange_time_ns"] == utc("2014-03-09T20:57:14.754")
    assert row["trading_date"] == date(2014, 3, 10)
    assert (decoded.sequence.tolist(), decoded.sessions) == ([1], ["2014-03-10"])


def test_nothing_said():
    """Empty columns are null, not empty text."""
    (row,) = decode([b"1,BHP,03/10/2014,10:00:00.000,1,1,,,"]).rows.to_pylist()
    assert (row["conditions"], row["vendor"]) == (None, None)


@pytest.mark.parametrize(
    ("day", "time", "expected"),
    [
        ("03/10/2014", "10:00:00.000", "2014-03-09T23:00:00"),  # summer time, 11 h
        ("07/10/2014", "10:00:00.001", "2014-07-10T00:00:00.001"),  # 10 h
        ("04/06/2014", "01:59:59.999", "2014-04-05T14:59:59.999"),  # summer time ends at 3:00
        ("04/06/2014", "02:30:00.000", "2014-04-05T15:30:00"),  # shown twice: the first
        ("04/06/2014", "03:00:00.000", "2014-04-05T17:00:00"),
        ("10/05/2014", "01:59:59.999", "2014-10-04T15:59:59.999"),  # summer time begins at 2:00
        ("10/05/2014", "03:00:00.000", "2014-10-04T16:00:00"),
        ("10/05/2014", "23:59:59.999", "2014-10-05T12:59:59.999"),
    ],
)
def test_sydney(day, time, expected):
    """Through both changes of the clock."""
    assert event_time_ns(trading_day(day), time) == utc(expected)


def test_hour_that_the_clock_skips():
    """There is no such time."""
    assert event_time_ns(trading_day("10/05/2014"), "02:30:00.000") is None


BAD = [
    ("null value", None, KEY, "empty", None, -1),
    ("invalid UTF-8", LINE + b"\xff", KEY, "not-utf8", None, -1),
    ("a column less", LINE[:-2], KEY, "wrong-columns", None, -1),
    ("a column more", LINE + b",", KEY, "wrong-columns", None, -1),
    ("two lines", LINE + b"\n" + LINE, KEY, "wrong-columns", None, -1),
    ("null key", LINE, None, "null-key", "key", -1),
    ("other symbol", LINE, b"ASX:DVN", "key-mismatch", "key", -1),
    ("exchange that cannot be", LINE, b"N X:BHP", "key-mismatch", "key", -1),
    ("no number", LINE.replace(b"1,BHP", b",BHP"), KEY, "sequence-range", "sequence", -1),
    ("negative number", b"-" + LINE, KEY, "sequence-range", "sequence", -1),
    (
        "number of 2^63",
        b"922337203685477580" + b"8" + LINE[1:],
        KEY,
        "sequence-range",
        "sequence",
        -1,
    ),
    ("no date", LINE.replace(b"03/10", b"13/10"), KEY, "bad-time", "date", -1),
    ("date of the year 0", LINE.replace(b"2014", b"0000"), KEY, "bad-time", "date", -1),
    ("date of 9999", LINE.replace(b"03/10/2014", b"12/31/9999"), KEY, "bad-time", "date", -1),
    ("no time", LINE.replace(b"07:57", b"24:57"), KEY, "bad-time", "time", 1),
    ("1989", LINE.replace(b"2014", b"1989"), KEY, "bad-time", "time", 1),
    ("2099", LINE.replace(b"2014", b"2099"), KEY, "bad-time", "time", 1),
    ("2300", LINE.replace(b"2014", b"2300"), KEY, "bad-time", "date", 1),
    ("1500", LINE.replace(b"2014", b"1500"), KEY, "bad-time", "date", 1),
    ("no price", LINE.replace(b"36.667", b""), KEY, "not-a-number", "price", 1),
    ("price negative", LINE.replace(b"36.667", b"-1"), KEY, "not-positive", "price", 1),
    ("price infinite", LINE.replace(b"36.667", b"inf"), KEY, "not-finite", "price", 1),
    ("volume zero", LINE.replace(b"20000", b"0"), KEY, "not-positive", "volume", 1),
]


@pytest.mark.parametrize(
    ("hostile", "key", "reason", "field", "number"),
    [row[1:] for row in BAD],
    ids=[row[0] for row in BAD],
)
def test_bad_record(hostile, key, reason, field, number):
    """It gets a reason and the field; its number counts where it can; its neighbours pass."""
    decoded = decode([LINE, hostile, LINE], [KEY, key, KEY])
    assert decoded.kind.tolist() == [Kind.TRADE, Kind.BAD, Kind.TRADE]
    (bad,) = decoded.bad
    assert (bad.message, bad.reason, bad.field) == (1, reason, field)
    assert decoded.sequence.tolist() == [1, number, 1]
    assert (decoded.scope[1] >= 0, decoded.session[1] >= 0) == (number >= 0, number >= 0)
    assert decoded.rows.column("message").to_pylist() == [0, 2]
