"""Each venue's recorded messages give the figures measured from them: no false gap, no false reset.

Decoder and sequence, without a broker. The figures are those of the recordings' own notes.
"""

import json
from collections import Counter
from heapq import merge

import numpy as np
import pytest
from venue_records import BINANCE, DATA, HITBTC_LINES, VENUES, Run, records

from k2_streams.core.sequence.step import Verdict
from k2_streams.feeds.decoding.decoded import Kind
from k2_streams.feeds.recordings.readers import read

pytestmark = [
    pytest.mark.recorded,
    pytest.mark.skipif(not DATA.is_dir(), reason="no recordings at ../shared/data"),
]


def run(name: str, *paths) -> Run:
    """The whole recordings, and none of their messages is refused."""
    taken = Run(name).take(list(records(name, *paths)))
    assert taken.bad == []
    return taken


def verdicts(taken: Run) -> Counter:
    return Counter(verdict for _, _, verdict in taken.verdicts)


def test_coinbase_exchange_has_no_false_gap():
    """97 matches of 10 products behind 10 last matches; `sequence` would give 97 false gaps."""
    taken = run("coinbase.exchange", VENUES / "COINBASE.ws.28.0")
    assert Counter(tuple(row["conditions"] or ()) for row in taken.rows) == {
        (): 97,
        ("last_match",): 10,
    }
    assert verdicts(taken) == {Verdict.FIRST: 10, Verdict.IN_ORDER: 97}
    assert taken.events == []
    assert len(taken.kinds) == 9_946


def test_coinbase_advanced_is_contiguous_over_all_channels():
    """1,030 messages of one connection, 0 to 1,029; 279 trades, 59 messages, not in id order."""
    taken = run("coinbase.advanced", VENUES / "COINBASE.jsonl.zst")
    assert verdicts(taken) == {Verdict.FIRST: 1, Verdict.IN_ORDER: 1_029}
    assert [number for _, number, _ in taken.verdicts] == list(range(1_030))
    assert taken.events == []
    assert Counter(taken.kinds) == {Kind.CONTROL: 971, Kind.TRADE: 59}
    ids = {name: [] for name in ("BTC-USD", "ETH-USD")}
    for row in taken.rows:
        ids[row["symbol"]].append(int(row["trade_id"]))
    for found in ids.values():  # each trade once, none missing: in another order
        assert sorted(found) == list(range(min(found), max(found) + 1))
        assert found != sorted(found)


def test_coinbase_advanced_reconnects():
    """A new connection counts from 0 and is a new session: no repetition, and nothing abandoned."""
    made = list(read("coinbase.advanced", VENUES / "COINBASE.jsonl.zst"))
    opened = made[0].value.split(b" ")[1]
    again = [
        one._replace(value=one.value.replace(opened, str(int(opened) + 10**9).encode(), 1))
        for one in made
    ]
    taken = Run("coinbase.advanced").take(made).take(again).take(made)
    assert verdicts(taken) == {
        Verdict.FIRST: 1,
        Verdict.RESET: 1,
        Verdict.IN_ORDER: 2 * 1_029,
        Verdict.DUPLICATE: 1_030,
    }
    assert [type(event).__name__ for event in taken.events] == ["Reset"]


def test_coinbase_reports_the_makers_side():
    """So a buyer's trade stands above the middle of the ticker before it, a seller's below."""
    middle: dict[str, float] = {}
    agree: Counter[bool] = Counter()
    for one in read("coinbase.advanced", VENUES / "COINBASE.jsonl.zst"):
        message = json.loads(one.value.split(b" ", 2)[2])
        for event in message["events"]:
            for ticker in event.get("tickers", ()):
                quotes = float(ticker["best_bid"]), float(ticker["best_ask"])
                middle[ticker["product_id"]] = sum(quotes) / 2
        if message["channel"] == "market_trades" and len(middle) == 2:
            for row in Run("coinbase.advanced").take([one]).rows:
                above = float(row["price"]) > middle[row["symbol"]]
                agree[(row["side"] == "buy") == above] += 1
    assert agree[True] > 4 * agree[False]


def test_binance_futures_aggregates():
    """91 aggregate trades; `a` and `f` to `l` are contiguous for each symbol."""
    taken = run("binance.usdm", VENUES / "BINANCE_FUTURES.jsonl.zst")
    scopes = {scope for scope, _, _ in taken.verdicts}
    assert verdicts(taken) == {Verdict.FIRST: len(scopes), Verdict.IN_ORDER: 91 - len(scopes)}
    assert len(taken.rows) == 91
    assert taken.events == []
    last: dict[str, int] = {}
    for row in taken.rows:
        vendor = dict(row["vendor"])
        first = int(vendor["first_trade_id"])
        assert first == last.get(row["symbol"], first - 1) + 1
        last[row["symbol"]] = int(vendor["last_trade_id"])


@pytest.mark.slow
def test_binance_futures_trades():
    """21,313 trades, 5266583935 to 5266605247."""
    taken = run("binance.usdm", BINANCE / "usdm-btcusdt_20240808.gz")
    numbers = [number for _, number, _ in taken.verdicts]
    assert numbers == list(range(5_266_583_935, 5_266_605_248))
    assert len(taken.rows) == 21_313
    assert verdicts(taken) == {Verdict.FIRST: 1, Verdict.IN_ORDER: 21_312}
    assert len(taken.kinds) == 93_954
    assert {row["symbol"] for row in taken.rows} == {"usdm:BTCUSDT"}


@pytest.mark.slow
def test_binance_across_midnight_is_no_reset():
    """Two days of spot trades are one count."""
    days = [BINANCE / f"spot-btcusdt_2024080{day}.gz" for day in (8, 9)]
    taken = run("binance.spot", *days)
    assert verdicts(taken) == {Verdict.FIRST: 1, Verdict.IN_ORDER: 19_903}
    assert taken.events == []


def test_kraken_has_neither_number_nor_id():
    """10 trades in 8 messages, all of them unsequenced."""
    taken = run("kraken.v1", VENUES / "KRAKEN.jsonl.zst")
    assert len(taken.rows) == 10
    assert verdicts(taken) == {Verdict.UNSEQUENCED: 8}
    assert Counter(taken.kinds) == {Kind.TRADE: 8, Kind.CONTROL: 4_430 - 8}
    assert {row["trade_id"] for row in taken.rows} == {None}
    assert [row["source_index"] for row in taken.rows].count(1) == 2


def test_bybit_counts_each_market_apart():
    """Two markets with the same topics: every book of both is contiguous."""
    taken = run("bybit.v5", VENUES / "BYBIT.jsonl.zst")
    books = [found for found in taken.verdicts if found[1] >= 0]
    assert Counter(verdict for _, _, verdict in books) == {
        Verdict.FIRST: 6,
        Verdict.IN_ORDER: 2_148 - 6,
    }
    assert taken.events == []
    ids = [(row["symbol"], row["trade_id"]) for row in taken.rows]
    assert len(ids) == len(set(ids)) == 347
    assert Counter(symbol.partition(":")[0] for symbol, _ in ids) == {"linear": 327, "spot": 20}


def test_bybit_without_the_market_would_see_what_is_not_there():
    """The figure above is the key's doing: the same books under one market's key are a mess."""
    made = [
        one._replace(key=one.key.replace(b":spot:", b":linear:"))
        for one in read("bybit.v5", VENUES / "BYBIT.jsonl.zst")
    ]
    taken = Run("bybit.v5").take(made)
    assert taken.bad == []
    assert sum(event.last - event.first for event in taken.events) > 1_000_000, "false gaps"


def hitbtc(interleaved: bool) -> Run:
    lines = [list(read("hitbtc.v2", path)) for path in HITBTC_LINES]
    if interleaved:
        made = list(merge(*lines, key=lambda one: one.receive_time_ns))
    else:
        made = [one for line in lines for one in line]
    taken = Run("hitbtc.v2").take(made)
    assert taken.bad == []
    return taken


@pytest.mark.parametrize("interleaved", [True, False], ids=["as received", "line after line"])
def test_hitbtc_lines(interleaved):
    """517 of 2,068 updates are new; snapshots say numbers already reached, and change nothing."""
    taken = hitbtc(interleaved)
    found = Counter(verdict for _, number, verdict in taken.verdicts if number >= 0)
    assert found == {
        Verdict.FIRST: 10,  # the first snapshot of each symbol
        Verdict.IN_ORDER: 517,
        Verdict.DUPLICATE: 4 * (20 + 517) - 527,
    }
    assert taken.events == [], "no gap, no reset"
    numbers = {(scope, number) for scope, number, verdict in taken.verdicts if number >= 0}
    assert len(numbers) == 527
    for state in taken.states.values():
        assert len(state.sessions) == 1
        assert state.missing_numbers == 0


def test_hitbtc_resnapshot_changes_nothing():
    """The state after a snapshot sent again is the state before, duplicates' count apart."""
    made = [
        one
        for one in read("hitbtc.v2", HITBTC_LINES[0])
        if b'"snapshotOrderbook"' in one.value or b'"updateOrderbook"' in one.value
    ]
    snapshots = [one for one in made if b'"snapshotOrderbook"' in one.value][10:]
    taken = Run("hitbtc.v2").take(made)
    before = {scope: state.sessions for scope, state in taken.states.items()}
    events = len(taken.events)
    taken.take(snapshots)
    assert {scope: state.sessions for scope, state in taken.states.items()} == before
    assert len(taken.events) == events
    assert [verdict for _, _, verdict in taken.verdicts[-10:]] == [Verdict.DUPLICATE] * 10


def test_hitbtc_trades_of_a_snapshot_are_told_apart_by_id():
    """A hundred trades a symbol, the same on every line."""
    taken = hitbtc(interleaved=True)
    ids = {(row["symbol"], row["trade_id"]) for row in taken.rows}
    assert (len(taken.rows), len(ids)) == (4_000, 1_000)


@pytest.mark.parametrize("batch", [1, 7, 100_000])
@pytest.mark.slow
def test_any_split_gives_the_same(batch):
    """Verdicts and rows do not depend on how records are cut into batches."""
    made = list(read("coinbase.exchange", VENUES / "COINBASE.ws.28.0"))[:2_000]
    whole = Run("coinbase.exchange").take(made)
    cut = Run("coinbase.exchange", batch).take(made)
    assert cut.verdicts == whole.verdicts
    keep = [{k: v for k, v in row.items() if k != "message"} for row in whole.rows]
    assert [{k: v for k, v in row.items() if k != "message"} for row in cut.rows] == keep
    assert np.array_equal(cut.kinds, whole.kinds)
