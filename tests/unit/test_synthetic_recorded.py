"""Recordings become streams with a truth, and edits do what they say and nothing else."""

import gzip
import json
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from k2_streams.feeds.recordings.readers import read
from k2_streams.testing.load.recorded import Edits, Item, RecordedStream, edited, items
from k2_streams.testing.load.recorded_trades import READERS, RecordedError, RecordedTrade
from k2_streams.testing.oracle.model import Expected
from k2_streams.testing.streams import SCALE, worth

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"


def stream(count: int = 2_000, sessions: int = 1) -> list[Item]:
    """Two scopes in turn, and a record without a trade now and then."""
    made = []
    for number in range(1, count + 1):
        for scope in ("X:A", "X:B"):
            session = str((number - 1) * sessions // count)
            made.append(
                Item(scope.encode(), b"%d" % number, RecordedTrade(scope, session, number, number))
            )
        if number % 10 == 0:
            made.append(Item(b"X:A", b"book", None))
    return made


def numbers(made: list[Item], scope: str = "X:A") -> list[int]:
    return [one.trade.number for one in made if one.trade and one.trade.scope == scope]


def test_without_edits_nothing_changes():
    assert list(edited(stream(), Edits(seed=1))) == stream()


def test_the_same_seed_gives_the_same_edits():
    edits = Edits(seed=1, gaps=0.01, duplicates=0.01, disorder=0.01, late=0.01)
    assert list(edited(stream(), edits)) == list(edited(stream(), edits))


def test_drops():
    made = list(edited(stream(), Edits(seed=1, gaps=0.01)))
    for scope in ("X:A", "X:B"):
        left = numbers(made, scope)
        assert left == sorted(set(left))
        assert 0.80 < len(left) / 2_000 < 0.97
    assert sum(one.trade is None for one in made) == 200, "other records stay"


def test_swaps():
    left = numbers(list(edited(stream(), Edits(seed=1, disorder=0.05))))
    assert left != sorted(left)
    assert sorted(left) == list(range(1, 2_001))
    assert max(abs(number - place) for place, number in enumerate(left, 1)) < 6


def test_late_fills():
    left = numbers(list(edited(stream(), Edits(seed=1, late=0.01))))
    assert sorted(left) == list(range(1, 2_001))
    behind = [max(left[:at]) - number for at, number in enumerate(left) if at]
    assert max(behind) > 20


def test_repeats_are_the_same_record():
    made = list(edited(stream(), Edits(seed=1, duplicates=0.05)))
    counts = Counter(made)
    repeated = [item for item, count in counts.items() if count == 2 and item.trade]
    assert 120 < len(repeated) < 280
    assert set(numbers(made)) == set(range(1, 2_001))


def test_nothing_crosses_a_session():
    made = list(edited(stream(sessions=4), Edits(seed=1, late=0.1, duplicates=0.1, disorder=0.1)))
    sessions = [one.trade.session for one in made if one.trade and one.trade.scope == "X:A"]
    assert sessions == sorted(sessions)


@pytest.mark.parametrize(
    ("price", "quantity", "units"),
    [
        ("2", "3", 6 * 10**SCALE),
        ("61837.63", "0.00001", 6183763 * 10**9),
        ("0.00000001", "0.00000001", 1),
    ],
)
def test_worth_is_exact(price, quantity, units):
    assert worth("trades", {"price": price, "quantity": quantity}) == units


def test_a_value_that_does_not_fit_is_refused():
    with pytest.raises(RecordedError, match="record 1"):
        list(
            items(
                READERS["trades"]["asx.csv"],
                "asx.csv",
                [(b"ASX:A", b"1,A,03/10/2014,10:00:00.000,0.0000000000000001,0.1,,,")],
            )
        )


KEYS = {"binance.spot": b"BINANCE:BTCUSDT", "asx.csv": b"ASX:BHP"}


def trade_of(feed: str, value: bytes) -> RecordedTrade | None:
    (item,) = items(READERS["trades"][feed], feed, [(KEYS.get(feed, b"X:A"), value)])
    return item.trade


def test_binance_trades_and_other_messages():
    data = {"e": "trade", "s": "BTCUSDT", "t": 7, "p": "2.5", "q": "4"}
    wrapped = json.dumps({"stream": "btcusdt@trade", "data": data}).encode()
    expected = RecordedTrade("BINANCE:BTCUSDT", "0", 7, 10 * 10**SCALE)
    assert trade_of("binance.spot", b"1723161256000000000 " + wrapped) == expected
    assert trade_of("binance.spot", json.dumps(data).encode()) == expected
    assert trade_of("binance.spot", b'1 {"lastUpdateId":1,"bids":[]}') is None


def test_asx_trades():
    found = trade_of("asx.csv", b"3,BHP,03/10/2014,10:00:00.000,38.5,100,XT,ASX,1")
    at_ten_ns = 1_394_406_000_000_000_000  # eleven hours before UTC
    assert found == RecordedTrade("ASX:BHP", "2014-03-10", 3, 3850 * 10**SCALE, time_ns=at_ten_ns)


def test_canonical_trades():
    value = {"exchange": "X", "symbol": "A", "price": 1.5, "quantity": "2", "sequence": 4}
    unnamed = RecordedTrade("X:A", "0", 4, 3 * 10**SCALE, is_named=False)
    assert trade_of("canonical", json.dumps(value).encode()) == unnamed
    named = json.dumps(value | {"session": "s"}).encode()
    assert trade_of("canonical", named) == RecordedTrade("X:A", "s", 4, 3 * 10**SCALE)
    del value["sequence"]
    with pytest.raises(RecordedError, match="with a sequence"):
        trade_of("canonical", json.dumps(value).encode())


def test_a_number_used_twice_needs_a_named_session():
    """K2 begins a session there: whoever wants a truth of it names the sessions."""
    record = {"exchange": "X", "symbol": "A", "price": "1", "quantity": "2", "sequence": 4}
    again = [record | {"exchange_time_ns": seconds * 10**9} for seconds in (1, 2, 9)]
    for named, conflicts in (({}, None), ({"session": "s"}, [4])):
        values = [json.dumps(one | named).encode() for one in again]
        made = list(
            items(
                READERS["trades"]["canonical"], "canonical", [(b"X:A", value) for value in values]
            )
        )
        sending = RecordedStream("canonical", partial(iter, made), lambda _: 0, repeat=1)
        (chunk,) = sending.chunks()
        expected = Expected()
        if conflicts is None:
            with pytest.raises(RecordedError, match="give its records a `session`"):
                chunk.tell(expected, 0, 3)
            continue
        chunk.tell(expected, 0, 3)
        (truth,) = expected.truths()
        assert (truth.conflicts, truth.duplicates, truth.count) == (conflicts, [(4, 4)], 1)
        assert expected.reasons == {"conflicting-duplicate": 1}


def test_a_stream_is_repeated_and_told():
    made = stream(100)
    records = RecordedStream("binance.spot", lambda: made, lambda key: key[-1] % 2, repeat=3)
    expected = Expected()
    sent = Counter()
    for chunk in records.chunks():
        for partition, group in chunk.records(0, len(chunk)):
            for key, _, headers in group:
                assert key[-1] % 2 == partition
                assert headers == [("feed", b"binance.spot")]
                sent[key] += 1
        chunk.tell(expected, 0, len(chunk))
    assert sent == {b"X:A": 330, b"X:B": 300}
    assert expected.controls == 30
    for one in expected.truths():
        assert one.rows == [(1, 100)]
        assert one.duplicate_count == 200
        assert one.value == sum(range(101))


def truth_of(feed: str, *paths: Path) -> Expected:
    def recorded():
        pairs = ((one.key, one.value) for path in paths for one in read(feed, path))
        return items(READERS["trades"][feed], feed, pairs)

    records = RecordedStream(feed, recorded, lambda _: 0, repeat=1)
    expected = Expected()
    for chunk in records.chunks():
        chunk.tell(expected, 0, len(chunk))
    return expected


@pytest.mark.recorded
@pytest.mark.slow
def test_binance_as_recorded():
    """The figures are those of the recordings' own description."""
    paths = sorted((DATA / "binance-2024-08-08").glob("spot-*.gz"))
    if not paths:
        pytest.skip("the recordings are not beside the checkout")
    expected = truth_of("binance.spot", *paths)
    (one,) = expected.truths()
    assert one.rows == [(3735683259, 3735703162)]
    assert one.count == 19_904
    lines = sum(len(gzip.decompress(path.read_bytes()).splitlines()) for path in paths)
    assert expected.controls == lines - 19_904


@pytest.mark.recorded
@pytest.mark.slow
def test_asx_as_recorded():
    path = DATA / "asx-2014-03" / "trades" / "7078.csv"
    if not path.exists():
        pytest.skip("the recordings are not beside the checkout")
    counts = [one.count for one in truth_of("asx.csv", path).truths()]
    assert counts == [17_000, 21_681, 20_283, 16_309, 16_358]
