"""Bars over lake and tail equal the plain model's, page by page and again by token."""

import asyncio
import tempfile
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from bars_query_model import FIELDS, bars_of_rows, plain, zone_edges
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from query_world import World

from k2_streams.core.query.bars.conditions import ConditionRule, ConditionRules
from k2_streams.core.records import stream
from k2_streams.query.bars.request import BarsRequest, continued
from k2_streams.query.errors import UnknownSymbolError
from k2_streams.query.hybrid import HybridQuery
from k2_streams.query.token import BarsCursor, Token

MINUTE_NS = 60 * 10**9
HOUR_NS = 60 * MINUTE_NS
SYDNEY = ZoneInfo("Australia/Sydney")
#: Two hours before the clock is set back in Sydney: 2025-04-06 01:00 there.
START_NS = 1_743_861_600 * 10**9
RULES = [
    ConditionRule(exchange, condition, *(field in allowed for field in FIELDS))
    for exchange, condition, allowed in (
        ("X", "odd", FIELDS[2:]),  # an odd lot: volume alone
        ("X", "late", FIELDS[1:]),
        ("X", "void", ()),
        ("Y", "odd", FIELDS[:2]),
    )
]
EXCLUDED = {
    name: {(rule.exchange, rule.condition) for rule in RULES if not getattr(rule, name)}
    for name in FIELDS
}
#: In units of the 18th decimal: common ones, and the largest that there are.
units = st.one_of(st.integers(1, 2_000).map(lambda n: n * 5 * 10**15), st.integers(1, 10**38 - 1))
trade = st.fixed_dictionaries(
    {
        "exchange": st.sampled_from("XY"),
        "symbol": st.sampled_from("AB"),
        # Few moments, so that many trades share one, and a bar's edges among them.
        "exchange_time_ns": st.integers(-30, 30).map(lambda n: START_NS + n * 10 * MINUTE_NS),
        "price": units,
        "quantity": st.integers(1, 10**5).map(lambda n: n * 10**14),
        "conditions": st.lists(st.sampled_from(["odd", "late", "void", "else"]), max_size=2),
        "late": st.booleans(),
        "is_enriched": st.booleans(),  # a worker under load leaves the notional out
    }
)
records = st.lists(
    st.tuples(st.integers(0, 1), st.lists(trade, min_size=1, max_size=8), st.booleans()), max_size=6
)


def text(number: int | None) -> str | None:
    return None if number is None else f"{number // 10**18}.{number % 10**18:018d}"


def notional(price: Decimal, quantity: Decimal) -> Decimal | None:
    """Rounded half to even; None where it has no room."""
    number = round(Fraction(price) * Fraction(quantity) * 10**18)
    return Decimal(text(number) or 0) if number < 10**38 else None


def fill(world: World, records: list) -> None:
    """Records of the log, of which some are in the lake."""
    for partition, trades, commits in records:
        more: dict[str, list] = {
            name: [one[name] for one in trades] for name in ("exchange", "conditions", "late")
        }
        more |= {name: [text(one[name]) for one in trades] for name in ("price", "quantity")}
        more["notional"] = [
            notional(Decimal(price), Decimal(quantity)) if one["is_enriched"] else None
            for one, price, quantity in zip(trades, more["price"], more["quantity"], strict=True)
        ]
        more["notional"] = [None if one is None else f"{one:f}" for one in more["notional"]]
        world.log.append(
            partition, [(one["symbol"], one["exchange_time_ns"]) for one in trades], more=more
        )
        world.read_tail(partition)
        if commits:
            world.commit()


async def check(world: World, request: BarsRequest, edges: list, excluded: dict) -> None:
    rows = world.log.rows(world.log.ends)
    rows = [{**row, "notional": notional(row["price"], row["quantity"])} for row in rows]
    rows = [row for row in rows if row["symbol"] in request.symbols]
    rows = [row for row in rows if not request.exchanges or row["exchange"] in request.exchanges]
    if {row["symbol"] for row in rows} < set(request.symbols):
        with pytest.raises(UnknownSymbolError):
            await world.query.bars(request)
        return
    expected = bars_of_rows(
        rows, edges, fill=request.fill, now_ns=world.clock.now_ns, excluded=excluded
    )
    page = await world.query.bars(request)
    token = Token.decode(page.meta.token)
    found = page.rows.to_pylist()
    while page.meta.next_cursor is not None:
        page = await world.query.bars(continued(BarsCursor.decode(page.meta.next_cursor)))
        assert 1 <= page.rows.num_rows <= request.limit
        found += page.rows.to_pylist()
    assert plain(found) == expected
    world.log.append(0, [("A", START_NS)])
    world.read_tail(0)
    again = await world.query.bars(
        BarsRequest(
            symbols=request.symbols,
            exchanges=request.exchanges,
            interval=request.interval,
            align=request.align,
            zone=request.zone,
            fill=request.fill,
            conditions=request.conditions,
            start_ns=request.start_ns,
            end_ns=request.end_ns,
            limit=1_000,
            as_of=token,
        )
    )
    assert plain(again.rows.to_pylist()) == expected


@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    records,
    st.sampled_from([15 * MINUTE_NS, HOUR_NS, 4 * HOUR_NS, 24 * HOUR_NS]),
    st.sampled_from(["utc", "tz"]),
    st.sampled_from(["none", "null", "prev"]),
    st.sampled_from([(), ("X",), ("X", "Y")]),
    st.integers(1, 9),
    st.booleans(),
)
def test_bars_are_those_of_the_model(
    engine, records, length_ns, align, filling, exchanges, limit, uses_rules
):
    async def run() -> None:
        folder = Path(tempfile.mkdtemp(dir=engine[1]))
        world = World(folder, engine[0])
        world.clock.now_ns = START_NS + 3 * HOUR_NS  # within the last bars
        world.query = HybridQuery(
            world.tail,
            world.view,
            engine[0],
            world.gaps,
            clock=world.clock,
            stream=stream.TRADES,
            rules=ConditionRules(tuple(RULES)),
        )
        fill(world, records)
        await world.query.refresh()
        start_ns, end_ns = START_NS - 3 * HOUR_NS, START_NS + 5 * HOUR_NS
        request = BarsRequest(
            symbols=("A", "B"),
            exchanges=exchanges,
            interval=length_ns,
            align=align,
            zone=SYDNEY.key if align == "tz" else None,
            fill=filling,
            conditions="eligible" if uses_rules else "all",
            start_ns=start_ns,
            end_ns=end_ns,
            limit=limit,
        )
        zone = SYDNEY if align == "tz" else ZoneInfo("UTC")
        edges = zone_edges(length_ns, zone, start_ns, end_ns)
        await check(world, request, edges, EXCLUDED if uses_rules else {})
        await world.query.close()

    asyncio.run(run())
