"""What must come of messages whose rows have no number of their own: the model, and the figures."""

from pathlib import Path

import pytest
from venue_records import RECORDED, TRADES, decode

from k2_streams.feeds.recordings.readers import read
from k2_streams.testing.load.recorded import (
    Item,
    RecordedStream,
    items,
    messages,
    model_of,
    reading_of,
)
from k2_streams.testing.oracle.model import Expected, SessionTruth
from k2_streams.testing.oracle.model_messages import ExpectedMessages, MessageContent, Traded


def trade(number: int) -> tuple[Traded, ...]:
    return (Traded("X:A", None, number),)


def told(*sent: tuple[str, int]) -> SessionTruth:
    """Numbers of one session, each by a line."""
    model = ExpectedMessages("sequence", lined=True)
    for line, number in sent:
        model.take(MessageContent("X:A", "0", number, trade(number)), line)
    (truth,) = model.truths()
    return truth


def test_what_one_line_lacks_another_brings():
    truth = told(("A", 1), ("B", 1), ("A", 4), ("B", 2), ("B", 3), ("B", 4))
    assert truth.rows == [(1, 4)]
    assert (truth.opened, truth.late_events) == ([], [])
    assert (truth.duplicate_count, truth.duplicates) == (2, [(1, 1), (4, 4)])
    assert (truth.count, truth.value) == (4, 10)


def test_what_all_lines_lack_is_a_gap_once_all_have_passed_it():
    sent = [("A", 1), ("B", 1), ("A", 4)]
    assert told(*sent).opened == [], "B may still bring them"
    assert told(*sent, ("B", 5)).opened == [(2, 3)]
    assert told(*sent, ("B", 5)).rows == [(1, 1), (4, 5)]


def test_below_the_first_is_late():
    truth = told(("A", 5), ("B", 3), ("B", 4), ("B", 5))
    assert (truth.late_events, truth.late) == ([(3, 3)], [(3, 3)])
    assert (truth.rows, truth.opened) == ([(3, 5)], [])


def test_a_message_is_repeated_by_its_number_and_a_trade_by_its_id():
    model = ExpectedMessages("trade_id", lined=False)
    one, two = Traded("X:A", "a", 1), Traded("X:B", "b", 2)
    for number, trades in (
        (1, (one, two)),
        (4, (one,)),
        (2, (Traded("X:A", "c", 5),)),
        (1, (two,)),
    ):
        model.take(MessageContent("X:@feed", "s", number, trades), None)
    model.take(MessageContent("X:@feed", "s", 5), None)
    counted, a, b = model.truths()
    assert (counted.scope, counted.rows, counted.count) == ("X:@feed", [], 0)
    assert (counted.opened, counted.late_events) == ([(2, 3)], [(2, 2)])
    assert counted.duplicate_count == 2, "the message 1, and the trade a of the message 4"
    assert counted.duplicates == [(1, 1)]
    assert (a.scope, a.ids, a.rows, a.value, a.late) == ("X:A", ["a", "c"], [(0, 1)], 6, [(1, 1)])
    assert (b.scope, b.ids, b.rows, b.value, b.late) == ("X:B", ["b"], [(0, 0)], 2, [])
    assert (model.controls, model.repeated) == (1, 1)


def truth_of(feed: str, *, lined: bool = False, paths: list[Path] | None = None) -> RecordedStream:
    files = paths or RECORDED[feed]
    if not all(path.exists() for path in files):
        pytest.skip("the recordings are not beside the checkout")

    def recorded():
        of = [[(one, path.name if lined else None) for one in read(feed, path)] for path in files]
        flat = [one for records in of for one in records]
        flat.sort(key=lambda one: one[0].receive_time_ns or one[0].event_time_ns)
        return messages(told_as, feed, ((one.key, one.value, line) for one, line in flat))

    told_as = reading_of("trades", feed)
    stream = RecordedStream(feed, recorded, lambda _: 0, 1, model_of(told_as, lined=lined))
    for chunk in stream.chunks():
        chunk.tell(None, 0, len(chunk))
    return stream


@pytest.mark.recorded
@pytest.mark.parametrize(
    ("feed", "rows"), [("coinbase.advanced", 279), ("bybit.v5", 347), ("kraken.v1", 10)]
)
def test_the_figures_of_recordings(feed, rows):
    """As measured from the files, without a gap."""
    truths = list(truth_of(feed).model.truths())
    assert sum(one.count for one in truths) == rows
    assert all(not one.opened and not one.late_events for one in truths)


@pytest.mark.recorded
def test_four_lines_of_hitbtc():
    """517 unique of 2,068, no gap; the snapshots change nothing."""
    truths = list(truth_of("hitbtc.v2", lined=True).model.truths())
    assert all(not one.opened for one in truths)
    assert sum(one.duplicate_count for one in truths if one.duplicates) >= 2_068 - 517


def of(feed: str, key: bytes, *values: bytes) -> list[Item]:
    """What records say, by the way of their feed."""
    told_as = reading_of("trades", feed)
    records = [(key, value, None) for value in values]
    if told_as.read is not None:
        return list(items(told_as.read, feed, records))
    return list(messages(told_as, feed, records))


@pytest.mark.parametrize("feed", sorted(set(TRADES) - {"canonical"}))
def test_the_truth_takes_the_exchange_from_the_key(feed):
    """As the feeds do: one protocol serves several venues."""
    key, value = TRADES[feed]
    sister = b"SISTER" + key[key.index(b":") :]
    (item,) = of(feed, sister, value)
    scopes = [item.trade.scope] if item.trade else [one.scope for one in item.content.trades]
    assert scopes
    assert {scope.partition(":")[0] for scope in scopes} == {"SISTER"}


def test_a_marker_without_a_fill_has_a_number_and_no_row():
    trade = b'{"e":"trade","s":"A","t":%d,"p":"%s","q":"%s","X":"%s","T":1}'
    values = [trade % (1, b"2", b"3", b"MARKET"), trade % (2, b"0", b"0.00", b"NA")]
    values += [values[1], trade % (4, b"2", b"3", b"MARKET")]
    made = of("binance.usdm", b"BINANCE:usdm:A", *values)
    stream = RecordedStream("binance.usdm", lambda: made, lambda _: 0, 1)
    expected = Expected()
    for chunk in stream.chunks():
        chunk.tell(expected, 0, len(chunk))
    (truth,) = expected.truths()
    assert (truth.rows, truth.opened) == ([(1, 1), (4, 4)], [(3, 3)])
    assert (expected.controls, truth.duplicate_count) == (1, 1)


def test_options_of_bybit_are_told_by_their_contracts():
    value = (
        b'{"topic":"publicTrade.BTC","data":[{"s":"BTC-1","i":"a","p":"1","v":"2"},'
        b'{"s":"BTC-2","i":"b","p":"1","v":"2"}]}'
    )
    (item,) = of("bybit.v5", b"BYBIT:option:BTC", value)
    assert [one.scope for one in item.content.trades] == [
        "BYBIT:option:BTC-1",
        "BYBIT:option:BTC-2",
    ]


@pytest.mark.parametrize("name", ["canonical", "binance.spot"])
def test_recordings_are_sent_as_another_exchanges(tmp_path, name):
    """In the key, and in the value where it names the exchange; nothing else changes."""
    key, value = TRADES[name]
    if name != "canonical":
        value = value.partition(b" ")[2]
    file = tmp_path / "recorded"
    file.write_bytes((value if name == "canonical" else b"1786310000000000001 " + value) + b"\r\n")
    (own,), (other,) = read(name, file), read(name, file, "SISTER")
    assert other.key == b"SISTER" + key[key.index(b":") :]
    if name == "canonical":
        assert own.value == value
        assert other.value == value.replace(b'"SIM"', b'"SISTER"')
    else:
        assert other.value == own.value
    assert decode(name, [(other.key, other.value)]).bad == []
