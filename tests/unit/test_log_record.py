"""A log record: every version's bytes are read, and its headers say how far a checkpoint came."""

import base64
import datetime as dt
import random
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from k2_streams.core.records import log_record
from k2_streams.core.records.expand import expand
from k2_streams.core.records.log_record import CheckpointHeaders, LogFormatError, last_headers
from k2_streams.core.records.schema import LOG
from k2_streams.core.records.stream import TRADES

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
ACCEPTED_US = 1_394_445_600_654_321
INGESTED = dt.datetime(2014, 3, 10, 10, 0, 0, 500, tzinfo=dt.UTC)
FIRST = {
    "exchange": "BINANCE",
    "symbol": "BTCUSDT",
    "trade_id": "t1",
    "price": Decimal("61837.63"),
    "quantity": Decimal("0.000000000000000001"),
    "side": "buy",
    "conditions": ["A", "B"],
    "exchange_time_ns": 1_394_445_600_123_456_789,
    "receive_time_ns": None,
    "trading_date": dt.date(2014, 3, 10),
    "vendor": [("m", "x|y"), ("n", None)],
    "session": "s|1",
    "sequence": 7,
    "late": False,
    "ingest_time": INGESTED,
    "notional": None,
    "tick_direction": None,
    "source_offset": 41,
    "source_index": 0,
}
SECOND = {
    "exchange": "ASX",
    "symbol": "BHP é",
    "trade_id": None,
    "price": Decimal("12345678901234567890.123456789012345678"),
    "quantity": Decimal(5),
    "side": None,
    "conditions": None,
    "exchange_time_ns": 1_394_445_600_123_456_790,
    "receive_time_ns": 1_394_445_600_123_456_999,
    "trading_date": dt.date(2014, 3, 10),
    "vendor": None,
    "session": "",
    "sequence": None,
    "late": True,
    "ingest_time": INGESTED,
    "notional": Decimal("1.5"),
    "tick_direction": "up",
    "source_offset": 42,
    "source_index": 3,
}
NEW_TRADE = {"action": None, "ref_trade_id": None, "ref_session": None}
CANCEL = {"action": "cancel", "ref_trade_id": "t1", "ref_session": "s|1"}
ROWS = {
    1: [FIRST, SECOND],
    2: [FIRST | NEW_TRADE, SECOND | CANCEL],
}
#: As each version wrote them, with what a reader takes from them.
HEADERS = {
    1: (
        [("k2.raw-next", b"43"), ("k2.deferred-from", b""), ("k2.deferred", b"0"),
         ("k2.events", b"5")],
        CheckpointHeaders(raw_next=43, deferred=0, events=5),
    ),
    2: (
        [("k2.raw-next", b"43"), ("k2.deferred-from", b"40"), ("k2.deferred", b"2"),
         ("k2.events", b"5"), ("k2.dead-letters", b"1"), ("k2.held", b"0")],
        CheckpointHeaders(43, 40, 2, 5, 1, 0),
    ),
}  # fmt: skip


def golden(version: int) -> bytes:
    return bytes.fromhex((GOLDEN / f"log_record_v{version}.hex").read_text())


def record(*headers: tuple[str, bytes]) -> SimpleNamespace:
    return SimpleNamespace(headers=headers)


@pytest.mark.parametrize("version", sorted(ROWS))
def test_every_golden_file_is_still_read(version):
    batch = log_record.decode(golden(version), 1, 9)
    assert (batch.source_partition, batch.accepted_time_us) == (3, ACCEPTED_US)
    assert (batch.log_partition, batch.log_offset) == (1, 9)
    assert batch.rows.to_pylist() == ROWS[version]


def test_a_record_of_the_first_version_expands_to_new_trades():
    rows = expand(TRADES, [log_record.decode(golden(1), 1, 9)]).to_pylist()
    assert [row["message_id"] for row in rows] == [
        "BINANCE|BTCUSDT|s%7C1|t:t1",
        "ASX|BHP é||p:3:42:3",
    ]
    assert [(row["action"], row["ref_message_id"]) for row in rows] == [(None, None)] * 2


def test_what_is_written_is_of_the_newest_version_read():
    """Another schema or metadata needs a new version: readers of this one hold such records."""
    rows = pa.RecordBatch.from_pylist(ROWS[2], schema=LOG)
    written = log_record.encode(rows, 3, ACCEPTED_US)
    with pa.ipc.open_stream(written) as now, pa.ipc.open_stream(golden(2)) as then:
        assert now.schema.equals(then.schema, check_metadata=True)
        assert now.read_next_batch().equals(then.read_next_batch())
    assert {str(version).encode() for version in ROWS} == log_record.READABLE


def test_a_record_of_a_newer_version_or_of_a_stranger_is_refused_by_its_place():
    newer = pa.BufferOutputStream()
    with pa.ipc.new_stream(newer, LOG.with_metadata({b"k2.version": b"3"})):
        pass
    for value, why in ((newer.getvalue().to_pybytes(), "found 3"), (b"not a batch", "log 1:9")):
        with pytest.raises(LogFormatError, match=why):
            log_record.decode(value, 1, 9)


@pytest.mark.parametrize("version", sorted(HEADERS))
def test_headers_of_every_version_are_read(version):
    written, read = HEADERS[version]
    assert last_headers([record(*written)]) == read


def test_headers_are_written_as_the_newest_version_has_them():
    written, read = HEADERS[2]
    assert list(read.encode()) == written


def test_the_last_checkpoint_of_some_records_counts_and_records_without_headers_do_not():
    first = CheckpointHeaders(7, None, 0, 1, 0, 3).encode()
    second = CheckpointHeaders(9, 8, 1, 4, 2, 0).encode()
    found = last_headers([record(), record(*first), record(*second), record()])
    assert found == CheckpointHeaders(9, 8, 1, 4, 2, 0)
    assert last_headers([record(), record()]) is None


def test_what_an_older_writer_does_not_say_is_what_was_said_before_it():
    """A worker of the version before may follow a newer one: its silence is not a zero."""
    newer = CheckpointHeaders(7, 5, 2, 1, 4, 3).encode()
    older, _ = HEADERS[1]
    assert last_headers([record(*newer), record(*older)]) == CheckpointHeaders(43, None, 0, 5, 4, 3)


@pytest.mark.parametrize(
    ("headers", "processed"),
    [
        (CheckpointHeaders(9, None, 0), 9),
        (CheckpointHeaders(9, 4, 2), 4),
        (CheckpointHeaders(9, 12, 1), 9),
        (CheckpointHeaders(), None),
    ],
)
def test_processed_is_what_lies_below_every_deferred_record(headers, processed):
    assert headers.processed == processed


def test_a_checkpoint_without_rows_is_one_record_and_many_rows_are_several():
    assert len(log_record.encode_checkpoint(LOG, [], 0, 1)) == 1
    rows = pa.RecordBatch.from_pylist(ROWS[2] * 4, schema=LOG)
    values = log_record.encode_checkpoint(LOG, [rows, rows], 0, 1, rows_per_record=3)
    found = [log_record.decode(value, 0, at).rows for at, value in enumerate(values)]
    assert [batch.num_rows for batch in found] == [3, 3, 3, 3, 3, 1]
    assert [row for batch in found for row in batch.to_pylist()] == ROWS[2] * 8


def test_a_record_that_is_too_large_is_halved_down_to_one_row(monkeypatch):
    monkeypatch.setattr(log_record, "MAX_RECORD_BYTES", 1)
    rows = pa.RecordBatch.from_pylist(ROWS[2] * 2, schema=LOG)
    values = log_record.encode_checkpoint(LOG, [rows], 0, 1)
    assert [log_record.decode(value, 0, 0).rows.num_rows for value in values] == [1, 1, 1, 1]


def test_long_names_are_in_the_records_of_their_rows_alone():
    """A dictionary is a whole batch's: in each of its halves it would be as large as in all."""
    draw = random.Random(7)
    names = [base64.b64encode(draw.randbytes(600_000)).decode() for _ in range(12)]
    rows = pa.RecordBatch.from_pylist([{**FIRST, "symbol": name} for name in names], schema=LOG)
    found = log_record.encode_records(LOG, [rows], 0, 1)
    assert max(len(one.value) for one in found) <= log_record.MAX_RECORD_BYTES
    assert 1 < len(found) <= 4
    again = [log_record.decode(one.value, 0, 0).rows for one in found]
    assert [name for batch in again for name in batch.column("symbol").to_pylist()] == names
    assert {batch.schema for batch in again} == {again[0].schema}


def test_whatever_is_damaged_of_a_record_it_is_named_by_its_place():
    """Arrow has an error of its own for each kind of damage."""
    value = log_record.encode(pa.RecordBatch.from_pylist(ROWS[2] * 50, schema=LOG), 0, 1)
    draw, refusals = random.Random(7), []
    for _ in range(300):
        damaged = bytearray(value)
        damaged[draw.randrange(len(value))] ^= 1 << draw.randrange(8)
        del damaged[draw.randrange(len(value) // 2, len(value)) :]
        try:
            log_record.decode(bytes(damaged), 3, 17)
        except LogFormatError as error:
            refusals.append(str(error))
    assert len(refusals) > 200
    assert all(one.startswith("log 3:17: ") for one in refusals)
