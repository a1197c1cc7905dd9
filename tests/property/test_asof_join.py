"""Trades with their quotes, over lake and tail, equal the plain model; and so do polars' joins."""

import asyncio
import csv
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from asof_model import joined, plain, quote_of
from asof_rows import T0, quote_row, trades_table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from output_world import OutputWorld

from k2_streams.core.query.asof.strategy import AsOfRule, undoubted
from k2_streams.core.records.stream import QUOTES
from k2_streams.core.sequence.gaps import Lacking
from k2_streams.query.asof.request import QUOTE_COLUMNS, JoinRequest
from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.query.gaps import GapsView
from k2_streams.query.token import Token

SECOND_NS = 10**9
RECORDED = Path(__file__).parents[2].parent / "shared" / "data" / "asx-2014-03"
side = st.one_of(st.none(), st.integers(1, 99).map(lambda n: Decimal(n) / 8))
quote = st.fixed_dictionaries(
    {
        "exchange": st.sampled_from("XY"),
        "symbol": st.sampled_from("AB"),
        # Few moments, so that quotes share one.
        "exchange_time_ns": st.integers(0, 12).map(lambda n: T0 + n),
        "bid_price": side,
        "bid_quantity": side,
        "ask_price": side,
        "ask_quantity": side,
    }
)
trade = st.tuples(
    st.sampled_from("XY"), st.sampled_from("AB"), st.integers(-2, 14).map(lambda n: T0 + n)
)
rules = st.builds(
    AsOfRule,
    st.sampled_from(["backward", "forward", "nearest"]),
    st.sampled_from([0, 1, 2, 3, 10**9]),
    st.booleans(),
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.integers(0, 1), st.lists(quote, min_size=1, max_size=6)), max_size=5),
    st.lists(trade, max_size=8),
    rules,
    st.integers(0, 5),
    st.sampled_from([{}, {"1s": SECOND_NS}, {"1ns": 1, "3ns": 3}]),
)
def test_every_trade_has_the_quote_of_the_model(engine, records, trades, rule, in_lake, markouts):
    async def run() -> None:
        folder = Path(tempfile.mkdtemp(dir=engine[1]))
        world = OutputWorld(QUOTES, folder, engine[0], gaps=GapsView())
        number = 0
        for at, (partition, quotes) in enumerate(records):
            rows = []
            for one in quotes:
                number += 1
                rows.append(quote_row(number, one))
            world.add(partition, rows)
            if at + 1 == in_lake:
                world.commit_to_the_end(0, 1)
                await world.query.refresh()
        table = trades_table(trades)
        request = JoinRequest(rule=rule, markouts=tuple(markouts.items()))
        answer = await world.query.quotes_of(table, request)
        assert answer.columns.num_rows == len(trades)
        assert answer.columns.schema == pa.schema(QUOTE_COLUMNS)
        expected = joined(table.to_pylist(), world.in_order(), rule, markouts)
        assert plain(answer.columns.to_pylist()) == expected
        token = Token.decode(answer.meta.token)
        world.add(0, [quote_row(99, {**one, "bid_price": Decimal(1)}) for one in _anywhere()])
        again = await world.query.quotes_of(
            table, JoinRequest(rule=rule, markouts=request.markouts, as_of=token)
        )
        assert plain(again.columns.to_pylist()) == expected
        await world.close()

    asyncio.run(run())


def _anywhere() -> list[dict]:
    names = ("bid_quantity", "ask_price", "ask_quantity")
    return [
        {"exchange": "X", "symbol": "A", "exchange_time_ns": T0 + n, **dict.fromkeys(names)}
        for n in range(12)
    ]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=8),
    st.integers(-1, 11),
    rules,
)
def test_a_match_is_complete_only_if_no_missing_quote_could_change_it(quotes, at_ns, rule):
    """Each run of missing quotes lies between two that were received; any times in between fit."""
    ordered = sorted(quotes, key=lambda one: one[0])
    received = [time_ns for time_ns, is_received in ordered if is_received]
    lacking, run, previous = [], 0, None
    for time_ns, is_received in ordered:
        if is_received:
            lacking += [Lacking(previous, time_ns, run)] if run else []
            previous, run = time_ns, 0
        else:
            run += 1
    lacking += [Lacking(previous, None, run)] if run else []

    def rows(times: list[tuple[float, bool]]) -> list[dict]:
        return [
            {"exchange": "X", "symbol": "A", "exchange_time_ns": int(time_ns), "is_received": known}
            for time_ns, known in times
        ]

    trade_row = {"exchange": "X", "symbol": "A", "exchange_time_ns": at_ns}
    match = quote_of(trade_row, rows([(time_ns, True) for time_ns in received]), rule)
    found = np.array([0 if match is None else match["exchange_time_ns"]])
    (complete,) = undoubted(
        rule, np.array([at_ns]), found, np.array([match is not None]), lacking
    ).tolist()
    changes = False
    for previous_ns, next_ns, _ in lacking:
        low = -20 if previous_ns is None else previous_ns
        high = 30 if next_ns is None else next_ns
        before = [one for one in received if one < low] + [low] * received.count(low)
        place = len(before) if previous_ns is not None else 0
        for time_ns in range(low, high + 1):
            with_it = [(one, True) for one in received]
            with_it.insert(place, (time_ns, False))
            taken = quote_of(trade_row, rows(with_it), rule)
            changes |= taken is not None and not taken["is_received"]
    assert not (complete and changes)


def read(name: str) -> Iterator[tuple[int, list[str]]]:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    with (RECORDED / name / "7078.csv").open(newline="") as file:
        for day, clock, *fields in csv.reader(file):
            moment = datetime.strptime(f"{day} {clock}", "%m/%d/%Y %H:%M:%S.%f").replace(tzinfo=UTC)
            yield (moment - epoch) // timedelta(microseconds=1) * 1000, fields


@pytest.mark.recorded
@pytest.mark.skipif(not RECORDED.exists(), reason=f"{RECORDED} is not there")
@pytest.mark.slow
async def test_recorded_trades_have_the_quotes_that_polars_finds(tmp_path):
    engine = Engine(EngineConfig(allowed=(str(tmp_path),)))
    world = OutputWorld(QUOTES, tmp_path, engine, gaps=GapsView())
    quotes = [
        {
            "exchange": "ASX",
            "symbol": "BHP",
            "exchange_time_ns": time_ns,
            **dict(
                zip(
                    ("bid_price", "ask_price", "bid_quantity", "ask_quantity"),
                    map(Decimal, fields[:4]),
                    strict=True,
                )
            ),
        }
        for time_ns, fields in read("quotes")
    ]
    rows = [quote_row(number, one) for number, one in enumerate(quotes)]
    for at in range(0, len(rows), 5_000):
        world.add(0, rows[at : at + 5_000])
        if at == 40_000:
            world.commit_to_the_end(0)
            await world.query.refresh()
    times = [time_ns for time_ns, _ in read("trades")][::3]
    table = trades_table([("ASX", "BHP", time_ns) for time_ns in times])
    left = (
        pl.DataFrame({"time": times}).with_row_index("at").with_columns(pl.col("time").set_sorted())
    )
    right = pl.DataFrame(
        {
            "time": [one["exchange_time_ns"] for one in quotes],
            "quote": [one["exchange_time_ns"] for one in quotes],
            "bid": [int(one["bid_price"] * 10_000) for one in quotes],
        }
    ).with_columns(pl.col("time").set_sorted())
    for strategy in ("backward", "forward", "nearest"):
        for exact in (True, False):
            rule = AsOfRule(strategy, 5 * SECOND_NS, exact)
            answer = await world.query.quotes_of(table, JoinRequest(rule=rule))
            expected = left.join_asof(
                right,
                on="time",
                strategy=strategy,
                tolerance=5 * SECOND_NS,
                allow_exact_matches=exact,
            )
            found = answer.columns["quote_time_ns"].to_pylist()
            if strategy == "nearest":  # of two as near polars takes either
                ages = [
                    None if one is None else abs(at - one)
                    for at, one in zip(times, found, strict=True)
                ]
                others = [
                    None if one is None else abs(at - one)
                    for at, one in zip(times, expected["quote"].to_list(), strict=True)
                ]
                assert ages == others
                continue
            assert found == expected["quote"].to_list()
            bids = [
                None if one is None else int(one * 10_000)
                for one in answer.columns["bid_price"].to_pylist()
            ]
            assert bids == expected["bid"].to_list()
    await world.close()
    engine.close()
