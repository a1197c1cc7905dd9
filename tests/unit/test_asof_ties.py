"""Of quotes at one moment the join takes one by their order, not by the engine's choice."""

from decimal import Decimal

import pytest
from asof_rows import T0, quote_row, trades_table
from output_world import OutputWorld

from k2_streams.core.query.asof.strategy import AsOfRule
from k2_streams.core.records.stream import QUOTES
from k2_streams.query.asof.request import JoinRequest
from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.query.gaps import GapsView

SECOND_NS = 10**9
#: Many at each moment, so that an engine which goes by time alone would find another one.
TIES, MOMENTS = 40, 20


def tied(number: int) -> dict:
    """The quote's price is its number."""
    return quote_row(
        number,
        {
            "exchange": "X",
            "symbol": "A",
            "exchange_time_ns": T0 + number // TIES * SECOND_NS,
            "bid_price": Decimal(number),
            "bid_quantity": None,
            "ask_price": None,
            "ask_quantity": None,
        },
    )


@pytest.mark.parametrize(
    ("strategy", "behind_ns", "wanted"), [("backward", 1, TIES - 1), ("forward", -1, 0)]
)
@pytest.mark.parametrize("in_lake", [False, True])
async def test_the_quote_next_to_the_trade_is_taken(tmp_path, strategy, behind_ns, wanted, in_lake):
    engine = Engine(EngineConfig(allowed=(str(tmp_path),)))
    world = OutputWorld(QUOTES, tmp_path, engine, gaps=GapsView())
    for first in range(0, TIES * MOMENTS, 100):
        world.add(0, [tied(number) for number in range(first, first + 100)])
    if in_lake:
        world.commit_to_the_end(0)
        await world.query.refresh()
    trades = trades_table([("X", "A", T0 + n * SECOND_NS + behind_ns) for n in range(MOMENTS)])
    request = JoinRequest(rule=AsOfRule(strategy, SECOND_NS // 2, allow_exact_matches=True))
    answer = await world.query.quotes_of(trades, request)
    bids = answer.columns.column("bid_price").to_pylist()
    assert bids == [Decimal(moment * TIES + wanted) for moment in range(MOMENTS)]
    await world.close()
    engine.close()
