"""Corrections on the wire and in a row: what is taken, what is refused, and what it refers to."""

import json

import numpy as np
import pyarrow as pa
import pytest

from k2_streams.core.records.derived import message_ids, ref_message_ids
from k2_streams.core.records.schema import LOG, ROWS
from k2_streams.feeds.canonical.record import read
from k2_streams.feeds.canonical.trade import TRADE
from k2_streams.feeds.decoding.decoded import RawBatch, Refusal
from k2_streams.feeds.feed import CANONICAL, feed

T0 = 1_700_000_000_000_000_000
KEY = b"SIM:ABC"
OLD = {"action": "cancel", "ref_trade_id": "T0"}


def trade(**changes: object) -> bytes:
    fields = {
        "exchange": "SIM", "symbol": "ABC", "price": "10.1", "quantity": "5",
        "exchange_time_ns": T0, "sequence": 1, "trade_id": "T1",
    } | changes  # fmt: skip
    return json.dumps(fields).encode()


def decode(*values: bytes):
    count = len(values)
    append_ms = np.full(count, T0 // 1_000_000, dtype=np.int64)
    offsets = np.arange(count, dtype=np.int64)
    return feed(CANONICAL).decode(RawBatch(0, offsets, append_ms, [KEY] * count, list(values)))


def test_a_correction_is_a_row_of_its_own():
    decoded = decode(
        trade(),
        trade(sequence=2, trade_id="T2", action="correct", ref_trade_id="T1"),
        trade(sequence=3, trade_id=None, action="cancel", ref_trade_id="T1", ref_session="old"),
        trade(sequence=4, trade_id="T3", action="new"),
    )
    assert (decoded.bad, decoded.rows.schema) == ([], ROWS)
    rows = decoded.rows.select(["action", "ref_trade_id", "ref_session"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        (None, None, None), ("correct", "T1", None), ("cancel", "T1", "old"), (None, None, None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"action": "bust"}, "bad-action", "action"),
        ({"action": 1}, "wrong-type", "action"),
        ({"action": "cancel"}, "missing-field", "ref_trade_id"),
        ({"action": "correct", "ref_trade_id": ""}, "bad-trade-id", "ref_trade_id"),
        ({"ref_trade_id": "T0"}, "bad-action", "ref_trade_id"),
        ({"action": "new", "ref_trade_id": "T0"}, "bad-action", "ref_trade_id"),
        ({"ref_session": "s"}, "bad-action", "ref_session"),
        (OLD | {"ref_session": "é"}, "bad-session", "ref_session"),
    ],
)  # fmt: skip
def test_a_reference_that_makes_no_sense_is_refused(changes, reason, field):
    outcome = read(TRADE, trade(**changes), KEY, T0 // 1_000_000)
    assert isinstance(outcome, Refusal)
    assert (outcome.reason, outcome.field, outcome.sequence) == (reason, field, 1)
    decoded = decode(trade(sequence=0), trade(**changes), trade(sequence=2))
    assert [(bad.message, bad.reason, bad.field) for bad in decoded.bad] == [(1, reason, field)]
    assert decoded.rows.column("message").to_pylist() == [0, 2]


def row(**changes: object) -> pa.RecordBatch:
    values = {
        "exchange": "SIM", "symbol": "ABC", "session": "day 2", "sequence": 7, "trade_id": "T7",
        "source_offset": 9, "source_index": 0,
    } | changes  # fmt: skip
    arrays = []
    for column in LOG:
        plain = column.type
        if pa.types.is_dictionary(plain):
            plain = plain.value_type
        made = pa.array([values.get(column.name)], plain)
        arrays.append(made.cast(column.type))
    return pa.RecordBatch.from_arrays(
        arrays, schema=pa.schema([(column.name, column.type) for column in LOG])
    )


@pytest.mark.parametrize(
    ("changes", "message_id", "ref_message_id"),
    [
        ({}, "t:T7", None),
        ({"action": "cancel", "ref_trade_id": "T1"}, "t:T7", "day 2|t:T1"),
        ({"action": "cancel", "ref_trade_id": "T7"}, "s:7", "day 2|t:T7"),
        ({"action": "cancel", "ref_trade_id": "T7", "sequence": None}, "p:3:9:0", "day 2|t:T7"),
        (
            {"action": "correct", "ref_trade_id": "T1", "ref_session": "day 1"},
            "t:T7",
            "day 1|t:T1",
        ),
    ],
)
def test_ids_follow_from_the_row(changes, message_id, ref_message_id):
    rows = row(**changes)
    assert message_ids(rows, 3).to_pylist() == [f"SIM|ABC|day 2|{message_id}"]
    expected = None if ref_message_id is None else f"SIM|ABC|{ref_message_id}"
    assert ref_message_ids(rows).to_pylist() == [expected]
