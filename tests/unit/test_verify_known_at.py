"""`k2 verify --known-at`: what an answer lacks, has too much, or shows in another state is seen."""

import datetime as dt

import msgspec
import pyarrow as pa
import pytest

from k2_streams.testing.oracle.check_known_at import KnownAtGaps, KnownAtRows

KNOWN_US = 1_795_000_000_000_000
UTC = dt.UTC


def batch(*rows):
    """Rows of exchange, offset, and how many us after the time that is asked about."""
    epoch = dt.datetime(1970, 1, 1, tzinfo=UTC)
    return pa.RecordBatch.from_pylist(
        [
            {
                "exchange": exchange,
                "log_partition": 0,
                "log_offset": offset,
                "log_row": row,
                "accepted_time": epoch + dt.timedelta(microseconds=KNOWN_US + later_us),
            }
            for exchange, offset, row, later_us in rows
        ],
        pa.schema(
            [
                ("exchange", pa.string()),
                ("log_partition", pa.int32()),
                ("log_offset", pa.int64()),
                ("log_row", pa.int32()),
                ("accepted_time", pa.timestamp("us", "UTC")),
            ]
        ),
    )


LAKE = batch(("X", 1, 0, -1), ("X", 1, 1, 0), ("X", 2, 0, 1), ("Y", 3, 0, -1))


@pytest.mark.parametrize(
    ("shown", "says"),
    [
        ([("X", 1, 0, 0), ("X", 1, 1, 0)], []),
        ([("X", 1, 0, 0)], ["the answer lacks row 1 of the log at 0:1"]),
        (
            [("X", 1, 0, 0), ("X", 1, 1, 0), ("X", 2, 0, 0)],
            ["the answer should not have row 0 of the log at 0:2"],
        ),
        (
            [("X", 1, 0, 0), ("X", 1, 0, 0), ("X", 1, 1, 0)],
            ["the answer has more than once row 0 of the log at 0:1"],
        ),
    ],
)
def test_rows_are_those_that_were_accepted_by_then(shown, says):
    rows = KnownAtRows(KNOWN_US, ["X"])
    rows.add_accepted(LAKE)
    for one in shown:
        rows.add_shown(batch(one))
    check = rows.check()
    assert check.differences == says
    assert check.agrees == (not says)


def test_nothing_that_was_known_is_nothing_that_is_shown():
    assert KnownAtRows(KNOWN_US, ["X"]).check().agrees


def event(kind, first, later_us, scope="X:A"):
    return msgspec.json.encode(
        {
            "type": kind,
            "scope": scope,
            "session": "0",
            "first": first,
            "last": first + 1,
            "accepted_time_us": KNOWN_US + later_us,
        }
    )


def gap(first, state, scope="X:A"):
    return {"scope": scope, "session": "0", "first": first, "last": first + 1, "state": state}


@pytest.mark.parametrize(
    ("shown", "agrees"),
    [
        ([gap(1, "filled"), gap(5, "open")], [True, True]),
        ([gap(1, "filled"), gap(5, "open"), gap(9, "open", "Y:A")], [True, True]),
        ([gap(1, "open"), gap(5, "open")], [True, False]),
        ([gap(1, "filled"), gap(5, "filled")], [True, False]),
        ([gap(1, "filled")], [False, True]),
        ([gap(1, "filled"), gap(5, "open"), gap(7, "open")], [False, True]),
    ],
)
def test_gaps_have_the_states_that_were_known_by_then(shown, agrees):
    gaps = KnownAtGaps(KNOWN_US, ["X"])
    for value in (
        event("gap_opened", 1, -2),
        event("gap_filled", 1, 0),
        event("gap_opened", 5, -1),
        event("gap_filled", 5, 1),
        event("gap_opened", 7, 1),
        event("gap_opened", 9, -1, "Y:A"),
        b"no event",
        None,
    ):
        gaps.add(value)
    assert [check.agrees for check in gaps.checks(shown)] == agrees
