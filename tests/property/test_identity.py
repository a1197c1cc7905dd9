"""Ids: two different messages never share one, and a reference finds the trade it names alone."""

import tempfile
from pathlib import Path

import pyarrow as pa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from query_world import T0, World, make_batch
from rows_requests import parse_rows

from k2_streams.core.query.corrections import CANCEL
from k2_streams.core.records.expand import expand
from k2_streams.core.records.identity import TradeId, escaped, escaped_column, trade_of
from k2_streams.core.records.stream import TRADES

#: Few characters, so that parts meet at their edges.
PART = st.text("|%7C25t:s0a", min_size=1, max_size=6)
TRADE = st.builds(TradeId, st.sampled_from(["X", "Y"]), PART, PART, PART)


@given(TRADE, TRADE)
@example(TradeId("X", "A|B", "0", "1"), TradeId("X", "A", "B|0", "1"))
@example(TradeId("X", "A", "0|t:1", "2"), TradeId("X", "A", "0", "1|t:2"))
@example(TradeId("X", "A", "|", "1"), TradeId("X", "A", "%7C", "1"))
def test_an_id_is_of_one_trade_alone(one, other):
    assert (one.message_id == other.message_id) == (one == other)


@given(TRADE)
def test_a_reference_has_the_parts_of_its_trade(trade):
    assert trade_of(trade.message_id, trade.exchange, trade.symbol) == trade


@given(TRADE)
def test_a_plain_id_is_what_it_always_was(trade):
    old = f"{trade.exchange}|{trade.symbol}|{trade.session}|t:{trade.trade_id}"
    if not any(character in part for part in trade for character in "|%"):
        assert trade.message_id == old
    if "|" not in trade.session and "%" not in old:
        assert trade_of(old, trade.exchange, trade.symbol) == trade


@given(st.lists(PART | st.none()), st.booleans())
def test_a_column_is_escaped_as_its_values_are(values, by_dictionary):
    column = pa.array(values, pa.string())
    column = column.dictionary_encode() if by_dictionary else column
    found = escaped_column(column).cast(pa.string()).to_pylist()
    assert found == [None if value is None else escaped(value) for value in values]


@given(st.lists(st.tuples(PART, PART, PART | st.none(), st.none() | st.integers(0, 2)), min_size=1))
def test_no_two_rows_of_a_batch_share_an_id(rows):
    unique = {(s, n, t, number if t is None else 1) for s, n, t, number in rows}
    symbols, sessions, trade_ids, numbers = zip(*unique, strict=True)
    batch = make_batch(
        [(symbol, T0) for symbol in symbols],
        partition=0,
        offset=0,
        more={"session": list(sessions), "trade_id": list(trade_ids), "sequence": list(numbers)},
    )
    assert len(set(expand(TRADES, [batch]).column("message_id").to_pylist())) == len(unique)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    trades=st.lists(st.tuples(PART, PART, PART), min_size=1, max_size=6, unique=True),
    cancelled=st.integers(0, 5),
    commits=st.tuples(st.booleans(), st.booleans()),
)
async def test_a_cancel_takes_back_the_trade_it_names_and_no_other(
    engine, trades, cancelled, commits
):
    """Wherever either lies, and whatever else is asked for beside it."""
    instance, folder = engine
    world = World(Path(tempfile.mkdtemp(dir=folder)), instance)
    symbol, session, trade_id = trades[cancelled % len(trades)]

    async def add(symbols, *, commit, **more):
        world.log.append(0, [(name, T0) for name in symbols], more=more)
        world.read_tail(0)
        if commit:
            world.commit()
            await world.query.refresh()

    symbols, sessions, ids = (list(part) for part in zip(*trades, strict=True))
    await add(symbols, commit=commits[0], session=sessions, trade_id=ids)
    await add(
        [symbol],
        commit=commits[1],
        session=["other"],
        trade_id=[None],
        action=[CANCEL],
        ref_trade_id=[trade_id],
        ref_session=[session],
    )
    left = sorted(one for one in trades if one != (symbol, session, trade_id))
    for asked in ({}, {"symbol": sorted(set(symbols))}, {"symbol": [symbol]}):
        answer = await world.query.rows(parse_rows({**asked, "view": "corrected"}))
        found = [(r["symbol"], r["session"], r["trade_id"]) for r in answer.rows.to_pylist()]
        assert sorted(found) == [
            one for one in left if "symbol" not in asked or one[0] in asked["symbol"]
        ]
