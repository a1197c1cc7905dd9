"""A task brings about the same, whichever decoder its records come through."""

import json

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from native_decoder import BOTH, all_records, native, needs_native
from sequencer_world import T0_MS, Raw, canonical, spot, world

from k2_streams.kafka.record_columns import RecordColumns
from k2_streams.runtime.task.processing_error import PROCESSING_ERROR, ProcessingError

LINE_A, LINE_B = (("line", b"a"),), (("line", b"b"), ("k2.other", None))


def trade(offset, number, feed, key, **fields):
    value = json.dumps(fields | {"number": number}).encode()
    return Raw(offset, T0_MS + offset, key, value, (("feed", feed),))


def records():
    """Of many kinds, in no order of feeds; offsets as the places."""
    found = [
        canonical(0, 1, headers=LINE_A),
        canonical(1, 1, headers=LINE_B),
        spot(2, 7),
        canonical(3, 4, headers=LINE_A, vendor={"v": "1"}, conditions=["x"], extra=[1]),
        canonical(4, 2, symbol="\u5e01"),
        Raw(5, T0_MS, None, b'{"price":1}'),
        Raw(6, T0_MS, b"X:A", None, LINE_A),
        Raw(7, T0_MS + 7, b"X:A", b"no json", (("line", b"not a line!"),)),
        spot(8, 9),
        canonical(9, 5, side="sideways"),
        canonical(10, None, trade_id="T"),
        canonical(11, None, trade_id="T"),
        canonical(12, 6, action="cancel", ref_trade_id="T"),
        canonical(13, 7, price="-1"),
        canonical(14, 8, price=1.25, session="s"),
        Raw(15, T0_MS, b"X:A", b"{}", (("feed", b"\xff"),)),
        Raw(16, T0_MS, b"BINANCE:B", b'{"result":null,"id":1}', (("feed", b"binance.spot"),)),
        canonical(17, 9, exchange_time_ns=1),
        trade(18, 1, b"kraken.v1", b"KRAKEN:A", event="heartbeat"),
        canonical(19, 10, headers=(("feed", b"binance.spot"), ("feed", None))),
    ]
    assert [record.offset for record in found] == list(range(len(found)))
    return found


def columns(found):
    """The same records as a fetch gives them."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
    for record in found:
        builder.append(
            record.offset, record.timestamp, record.key, record.value, list(record.headers)
        )
    decoded = all_records(bytes(builder.build()))
    assert decoded is not None
    return RecordColumns(decoded.columns)


def found_by(folder, size, *, is_native):
    made = records()
    given = columns(made) if is_native else made
    with world(folder, native=native() if is_native else None) as at:
        for start in range(0, len(made), size):
            at.process(given[start : start + size])
        return at.found()


@needs_native
@pytest.mark.parametrize("size", [1, 3, 7, 20])
def test_rows_dead_letters_events_and_state_are_the_same(tmp_path, size):
    by_python = found_by(tmp_path / "python", size, is_native=False)
    by_native = found_by(tmp_path / "native", size, is_native=True)
    for name, expected in by_python.items():
        assert by_native[name] == expected, name
    assert len(by_python["rows"]) > 8
    assert len(by_python["letters"]) > 5


@pytest.mark.parametrize("is_native", BOTH)
def test_a_record_that_cannot_be_processed_becomes_a_dead_letter_with_all_it_had(
    tmp_path, is_native
):
    made = records()
    record = (columns(made) if is_native else made)[1]
    error = ProcessingError("k2.trades.raw", 0, 1, 2, "canonical", "ValueError: x")
    with world(tmp_path, native=native() if is_native else None) as at:
        at.sequencer.refuse(record, error, 2, at.epoch)
        (letter,) = at.epoch.dead_letters
    assert (letter.key, letter.value) == (made[1].key, made[1].value)
    assert dict(letter.headers)["k2.reason"] == PROCESSING_ERROR.encode()
    assert set(made[1].headers) <= set(letter.headers)
