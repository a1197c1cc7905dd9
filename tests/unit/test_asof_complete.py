"""An old quote is told from one that is old because what was quoted since is missing."""

from decimal import Decimal

import pytest
from asof_rows import T0, quote_row, trades_table
from output_world import OutputWorld

from k2_streams.core.query.asof.strategy import AsOfRule
from k2_streams.core.records.events import GapOpened
from k2_streams.core.records.stream import QUOTES
from k2_streams.query.asof.request import MAX_MARKOUTS, JoinRequest
from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.query.errors import InvalidParameter, TooMuchError
from k2_streams.query.gaps import GapsView
from k2_streams.query.token import Token

SECOND_NS = 10**9
HALF_NS = SECOND_NS // 2


@pytest.fixture
async def world(tmp_path):
    """A quote every second for ten seconds; all events of them are known."""
    engine = Engine(EngineConfig(allowed=(str(tmp_path),)))
    world = OutputWorld(QUOTES, tmp_path, engine, gaps=GapsView())
    world.add(0, [quote_row(n, quoted(T0 + n * SECOND_NS)) for n in range(10)])
    world.gaps.cover({0: 1, 1: 0})
    yield world
    await world.close()
    engine.close()


def quoted(time_ns, symbol="A"):
    return {
        "exchange": "X",
        "symbol": symbol,
        "exchange_time_ns": time_ns,
        "bid_price": Decimal("1.0"),
        "bid_quantity": Decimal(5),
        "ask_price": Decimal("1.5"),
        "ask_quantity": Decimal(6),
    }


#: A trade half a second behind each quote.
TRADES = trades_table([("X", "A", T0 + n * SECOND_NS + HALF_NS) for n in range(10)])


def opened(previous_ns, next_ns, scope="X:A"):
    return GapOpened(
        scope=scope,
        session="0",
        first=100,
        last=101,
        size="small",
        exchange_time_ns=next_ns,
        previous_time_ns=previous_ns,
        next_time_ns=next_ns,
    )


async def complete(world, rule=AsOfRule(), trades=TRADES):  # noqa: B008 - a value
    answer = await world.query.quotes_of(trades, JoinRequest(rule=rule))
    found = answer.columns["quote_complete"].to_pylist()
    assert answer.meta.complete == all(found)
    return found


async def test_of_no_trades_no_gap_is_listed(world):
    """Without a trade no exchange is named: a gap of any would be shown to whoever asks."""
    world.gaps.apply(opened(None, T0), 0, 1)
    answer = await world.query.quotes_of(TRADES[:0], JoinRequest())
    assert answer.columns.num_rows == 0
    assert (answer.meta.gaps, answer.meta.gaps_omitted) == ((), 0)


async def test_without_a_gap_an_old_quote_is_complete(world):
    late = trades_table([("X", "A", T0 + 60 * SECOND_NS)])
    answer = await world.query.quotes_of(late, JoinRequest())
    assert answer.columns["quote_age_ns"].to_pylist() == [51 * SECOND_NS]
    assert answer.columns["quote_complete"].to_pylist() == [True]
    assert answer.meta.gaps_complete
    assert await complete(world) == [True] * 10


@pytest.mark.parametrize(
    ("strategy", "incomplete"), [("backward", {3}), ("forward", {3}), ("nearest", {3})]
)
async def test_a_gap_among_quotes_flags_the_trades_whose_quote_may_be_another(
    world, strategy, incomplete
):
    world.gaps.apply(opened(T0 + 3 * SECOND_NS, T0 + 4 * SECOND_NS), 0, 1)
    found = await complete(world, AsOfRule(strategy))
    assert {n for n, is_complete in enumerate(found) if not is_complete} == incomplete
    answer = await world.query.quotes_of(TRADES, JoinRequest())
    assert [gap.first for gap in answer.meta.gaps] == [100]


async def test_another_symbols_gap_flags_nothing(world):
    world.gaps.apply(opened(T0, T0 + 9 * SECOND_NS, scope="X:B"), 0, 1)
    assert await complete(world) == [True] * 10


async def test_without_a_match_a_missing_quote_within_the_tolerance_may_be_one(world):
    world.gaps.apply(opened(T0 + 9 * SECOND_NS, T0 + 20 * SECOND_NS), 0, 1)
    rule = AsOfRule(tolerance_ns=2 * SECOND_NS)
    trades = trades_table([("X", "A", T0 + n * SECOND_NS) for n in (15, 21, 23, 40)])
    answer = await world.query.quotes_of(trades, JoinRequest(rule=rule))
    assert answer.columns["quote_time_ns"].null_count == 4
    assert answer.columns["mid"].null_count == 4
    assert await complete(world, rule, trades) == [False, False, True, True]


async def test_no_match_is_complete_before_the_events_were_read(world):
    world.add(0, [quote_row(10, quoted(T0 + 10 * SECOND_NS))])
    assert await complete(world) == [False] * 10


async def test_a_token_of_quotes_joins_with_the_same_quotes_again(world):
    first = await world.query.quotes_of(TRADES, JoinRequest())
    world.add(0, [quote_row(10, quoted(T0 + HALF_NS))])
    again = await world.query.quotes_of(TRADES, JoinRequest(as_of=Token.decode(first.meta.token)))
    assert again.columns["quote_time_ns"] == first.columns["quote_time_ns"]
    newer = await world.query.quotes_of(TRADES, JoinRequest())
    assert newer.columns["quote_time_ns"][0].as_py() == T0 + HALF_NS


async def test_prices_are_exact(world):
    answer = await world.query.quotes_of(TRADES, JoinRequest(markouts=(("1s", SECOND_NS),)))
    row = answer.columns.to_pylist()[1]
    assert (row["mid"], row["spread"]) == (Decimal("1.25"), Decimal("0.5"))
    assert row["effective_spread"] == 2 * (Decimal("1.25") - Decimal(1) / 16)
    assert row["markouts"] == [("1s", Decimal("1.25"))]


async def test_an_empty_page_is_joined_with_nothing(world):
    answer = await world.query.quotes_of(trades_table([]), JoinRequest())
    assert answer.columns.num_rows == 0
    assert answer.meta.offsets == {0: 1, 1: 0}


def test_what_is_out_of_bounds_names_its_field():
    day_ns = 86_400 * SECOND_NS
    for field, given in (
        ("tolerance", {"rule": AsOfRule(tolerance_ns=8 * day_ns)}),
        ("markouts", {"markouts": (("2d", 2 * day_ns),)}),
        ("markouts", {"markouts": (("1s", SECOND_NS),) * (MAX_MARKOUTS + 1)}),
    ):
        with pytest.raises(InvalidParameter) as refused:
            JoinRequest(**given)
        assert refused.value.field == field


@pytest.mark.slow
async def test_more_than_fits_the_memory_is_refused_and_the_next_question_is_answered(tmp_path):
    engine = Engine(EngineConfig(allowed=(str(tmp_path),), memory_bytes=16 << 20, threads=1))
    world = OutputWorld(QUOTES, tmp_path, engine, gaps=GapsView())
    for part in range(40):
        world.add(0, [quote_row(n, quoted(T0 + part * 5_000 + n)) for n in range(5_000)])
    trades = trades_table([("X", "A", T0 + n) for n in range(100_000)])
    with pytest.raises(TooMuchError):
        await world.query.quotes_of(trades, JoinRequest())
    few = trades_table([("X", "A", T0 + 1_000)])
    answer = await world.query.quotes_of(few, JoinRequest(rule=AsOfRule(tolerance_ns=100)))
    assert answer.columns["quote_age_ns"].to_pylist() == [0]
    await world.close()
    engine.close()
