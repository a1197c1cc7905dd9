"""Recorded files become records, and the real ones give the figures measured from them."""

import gzip
from collections import Counter
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from k2_streams.feeds.decoding.decoded import RawBatch
from k2_streams.feeds.feed import Kind, feed
from k2_streams.feeds.recordings.readers import RecordingError, read

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
needs_recordings = pytest.mark.skipif(not DATA.is_dir(), reason="no recordings at ../shared/data")


def decoded(name: str, path: Path):
    """The decoded batches of a recording, each record appended at its event's time."""
    records = list(read(name, path))
    for first in range(0, len(records), 8_000):
        some = records[first : first + 8_000]
        yield feed(name).decode(
            RawBatch(
                0,
                np.arange(first, first + len(some), dtype=np.int64),
                np.array([record.event_time_ns // 10**6 for record in some], dtype=np.int64),
                [record.key for record in some],
                [record.value for record in some],
            )
        )


@pytest.mark.recorded
@needs_recordings
@pytest.mark.parametrize(
    ("day", "lines", "first", "last"),
    [
        ("20240808", 41_249, 3_735_683_259, 3_735_693_015),
        ("20240809", 58_325, 3_735_693_016, 3_735_703_162),
    ],
)
def test_binance_spot(day, lines, first, last):
    """Trade ids without a gap; every other line is control; none is bad."""
    path = DATA / "binance-2024-08-08" / f"spot-btcusdt_{day}.gz"
    batches = list(decoded("binance.spot", path))
    kinds = np.concatenate([batch.kind for batch in batches])
    numbers = np.concatenate([batch.sequence for batch in batches])[kinds == Kind.TRADE]
    assert numbers.tolist() == list(range(first, last + 1))
    assert Counter(kinds.tolist()) == {
        Kind.TRADE: len(numbers),
        Kind.CONTROL: lines - len(numbers),
    }
    rows = pa.Table.from_batches([batch.rows for batch in batches])
    assert rows.column("trade_id").to_pylist() == [str(number) for number in numbers]
    ahead_s = np.subtract(rows["exchange_time_ns"], rows["receive_time_ns"]) / 1e9
    assert 1.0 < np.median(ahead_s) < 1.5
    assert {scope for batch in batches for scope in batch.scopes} == {"BINANCE:BTCUSDT"}


@pytest.mark.recorded
@needs_recordings
@pytest.mark.parametrize(
    ("company", "symbol", "trades"),
    [
        ("7078", "BHP", 91_631),
        ("7181", "DVN", 232),
        ("3153", "MWR", 11),
    ],
)
def test_asx(company, symbol, trades):
    """Numbered from 1 each day, in file order, which is the order of time."""
    path = DATA / "asx-2014-03" / "trades" / f"{company}.csv"
    batches = list(decoded("asx.csv", path))
    assert not any(batch.bad for batch in batches)
    rows = pa.Table.from_batches([batch.rows for batch in batches])
    assert np.all(np.diff(rows["exchange_time_ns"].to_numpy()) >= 0)
    numbers = Counter()
    for batch in batches:
        for session, sequence in zip(batch.session, batch.sequence, strict=True):
            day = batch.sessions[session]
            assert sequence == numbers[day] + 1
            numbers[day] += 1
    assert numbers.total() == rows.num_rows == trades
    if company == "7078":
        assert [numbers[day] for day in sorted(numbers)] == [17_000, 21_681, 20_283, 16_309, 16_358]
    assert {scope for batch in batches for scope in batch.scopes} == {f"ASX:{symbol}"}
    assert {str(day) for day in rows["trading_date"].to_pylist()} == numbers.keys()


@pytest.mark.recorded
@needs_recordings
def test_equal_fills_are_kept():
    """BHP has 3,193 rows that repeat an earlier one exactly: their numbers tell them apart."""
    path = DATA / "asx-2014-03" / "trades" / "7078.csv"
    lines = [record.value.split(b",", 2)[2] for record in read("asx.csv", path)]
    assert len(lines) - len(set(lines)) == 3_193
    assert sum(b.rows.num_rows for b in decoded("asx.csv", path)) == len(lines)


def test_binance_snapshot_has_the_symbol_of_its_file(tmp_path):
    """A book's snapshot names none, even as the first line."""
    path = tmp_path / "some.gz"
    trade = b'{"stream":"ethusdt@trade","data":{"e":"trade","E":9,"s":"ETHUSDT","T":8}}'
    with gzip.open(path, "wb") as file:
        file.write(b'5 {"lastUpdateId":1,"bids":[],"asks":[]}\n7 ' + trade + b"\r\n")
    snapshot, record = read("binance.spot", path)
    assert snapshot.key == record.key == b"BINANCE:ETHUSDT"
    assert (snapshot.receive_time_ns, snapshot.event_time_ns) == (5, 5)
    assert (record.value, record.receive_time_ns) == (b"7 " + trade, 7)
    assert record.event_time_ns == 8_000_000


def test_canonical(tmp_path):
    """One object a line, as it stands."""
    path = tmp_path / "trades.jsonl"
    line = '{"exchange":"SIM","symbol":"A:B","price":1.50,"quantity":1,"exchange_time_ns":6}'
    path.write_text(line + "\n")
    (record,) = read("canonical", path)
    assert record == (b"SIM:A:B", line.encode(), None, 6)


def test_asx_numbers_each_day_anew(tmp_path):
    """The value is the number, the symbol and the line."""
    (tmp_path / "trades").mkdir()
    (tmp_path / "reference-data").mkdir()
    (tmp_path / "reference-data" / "company_info.csv").write_text("company_id,symbol\n5,ABC\n")
    path = tmp_path / "trades" / "5.csv"
    lines = [f"03/{day}/2014,10:00:00.000,1.5,10,0,," for day in (10, 10, 11)]
    path.write_text("".join(f"{line}\n" for line in lines))
    records = list(read("asx.csv", path))
    assert [record.value.decode() for record in records] == [
        f"{number},ABC,{line}" for number, line in zip((1, 2, 1), lines, strict=True)
    ]
    (batch,) = decoded("asx.csv", path)
    assert batch.rows.column("price").to_pylist() == [Decimal("1.5")] * 3


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nasdaq", ""),
        ("canonical", "{}\n"),
        ("binance.spot", "nothing\n"),
        ("binance.spot", '{"s":"BTCUSDT"}\n'),
    ],
)
def test_not_a_recording(tmp_path, name, text):
    """The error says what was expected, and where."""
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(RecordingError, match="expected"):
        list(read(name, path))


def test_asx_file_that_is_none(tmp_path):
    """A company that is not in the reference data, and a line that is no trade."""
    (tmp_path / "trades").mkdir()
    (tmp_path / "reference-data").mkdir()
    (tmp_path / "reference-data" / "company_info.csv").write_text("company_id,symbol\n5,ABC\n")
    for name, text in (("6.csv", ""), ("5.csv", "2014-03-10,1\n")):
        path = tmp_path / "trades" / name
        path.write_text(text)
        with pytest.raises(RecordingError, match="expected"):
            list(read("asx.csv", path))
