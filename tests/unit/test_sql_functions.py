"""Relations with arguments in SQL: bars, and trades with their quotes."""
# ruff: noqa: S608 - statements are what is tested

import pytest
from asof_world import SECOND_NS, with_quotes
from output_world import OutputWorld
from query_world import T0, World

from k2_streams.core.query.asof.strategy import AsOfRule
from k2_streams.core.records.events import GapOpened
from k2_streams.core.records.stream import QUOTES, TRADES
from k2_streams.query.asof.request import JoinRequest
from k2_streams.query.bars.request import BarsRequest
from k2_streams.query.errors import InvalidParameter
from k2_streams.query.relations import ServedLog
from k2_streams.query.request import RowsRequest
from k2_streams.query.sql.calls import MAX_CALLED
from k2_streams.query.sql.query import SqlQuery, SqlRequest
from k2_streams.query.sql.sandbox import Sandbox
from k2_streams.query.token import Token

MINUTE_NS = 60 * SECOND_NS
START_NS = T0 // MINUTE_NS * MINUTE_NS
SINCE = f"bar_start_ns >= {START_NS}"
SINCE_TRADES = f"exchange_time_ns >= {START_NS}"


class Asked:
    """A node that serves trades and quotes, and its statements."""

    def __init__(self, trades: World, quotes: OutputWorld) -> None:
        self.trades, self.quotes, self.sandbox = trades, quotes, Sandbox()
        logs = [ServedLog(TRADES, trades.query), ServedLog(QUOTES, quotes.query)]
        self._sql = SqlQuery(logs, self.sandbox, trades.clock)

    async def ask(self, text: str, **fields: object):
        return await self._sql.answer(SqlRequest(text=text, **fields))


@pytest.fixture
async def asked(tmp_path):
    async with with_quotes(tmp_path) as (trades, quotes):
        trades.gaps.cover(trades.log.ends)
        trades.clock.now_ns = T0 + 60 * MINUTE_NS
        made = Asked(trades, quotes)
        yield made
        made.sandbox.close()


def bars(**fields):
    return BarsRequest(symbols=("A",), interval=10 * SECOND_NS, start_ns=START_NS, **fields)


@pytest.mark.parametrize(
    "text",
    [
        f"SELECT * FROM bars('10s', fill := 'prev') WHERE {SINCE}",
        f"SELECT b.* FROM BARS(interval := '10s', fill := 'prev') AS b WHERE b.{SINCE}",
        f"WITH one AS (SELECT * FROM bars('10s', fill := 'prev') WHERE {SINCE}) SELECT * FROM one",
        f"SELECT b.* FROM range(1) JOIN bars('10s', fill := 'prev') AS b ON {SINCE}",
    ],
)
async def test_bars_are_those_of_their_path(asked, text):
    answer = await asked.ask(text, is_full=True)
    path = await asked.trades.query.bars(bars(fill="prev", limit=100_000))
    wanted = [row for row in path.rows.to_pylist() if row["bar_start_ns"] >= START_NS]
    found = answer.rows.to_pylist()
    assert [row["close"] for row in found] == [row["close"] for row in wanted]
    assert [row["bar_start_ns"] for row in found] == [row["bar_start_ns"] for row in wanted]
    (proof,) = answer.meta.relations.values()
    assert proof["interval"] == "10s"
    assert answer.meta.complete is path.meta.complete


async def test_conditions_say_which_bars_are_made(asked):
    end_ns = START_NS + MINUTE_NS
    where = f"symbol = 'A' AND {SINCE} AND bar_start_ns < {end_ns}"
    answer = await asked.ask(f"SELECT count(*) AS n FROM bars('10s') WHERE {where}")
    proof = answer.meta.relations["bars('10s')"]
    assert (proof["start_ns"], proof["end_ns"]) == (START_NS, end_ns)
    assert proof["bars"] == answer.rows["n"][0].as_py()


async def test_bars_without_a_bound_in_time_are_refused(asked):
    with pytest.raises(InvalidParameter, match="bar_start_ns >="):
        await asked.ask("SELECT * FROM bars('1m')")
    with pytest.raises(InvalidParameter, match="bars") as error:
        await asked.ask("SELECT * FROM bars('1s')", is_full=True)
    assert error.value.field == "query"


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("bars()", "interval"),
        ("bars(60)", "expected texts"),
        ("bars('7m')", "divides a day"),
        ("bars('all')", "depends on the range"),
        ("bars('1m', '5m')", "bars\\('interval', fill := ..."),
        ("bars('1m', interval := '1m')", "expected bars"),
        ("bars('1m', fill := 'zero')", "fill"),
        ("bars('1m', limit := '5')", "limit"),
        ("bars('1m', tz := 'Mars/Olympus')", "IANA zone"),
        ("bars('1m', align := 'session')", "calendar"),
        ("bars('1m') WITH ORDINALITY", "without ordinality"),
        ("main.bars('1m')", "not allowed"),
        ("asof_quotes('8d')", "tolerance"),
        ("asof_quotes('soon')", "expected a length"),
        ("asof_quotes('5s', strategy := 'sideways')", "strategy"),
    ],
)
async def test_other_arguments_are_refused(asked, call, reason):
    with pytest.raises(InvalidParameter, match=reason) as error:
        await asked.ask(f"SELECT * FROM {call} WHERE {SINCE}")
    assert error.value.field == "query"


async def test_a_statement_names_so_many_relations_with_arguments_and_no_more(asked):
    """Each is read into memory: twice the same is one."""
    lengths = ("1s", "2s", "3s", "4s", "5s", "6s", "8s", "9s", "10s")
    each = [f"SELECT symbol FROM bars('{one}') WHERE {SINCE}" for one in lengths]
    answer = await asked.ask(" UNION ALL ".join([*each[:MAX_CALLED], each[0]]))
    assert len(answer.meta.relations) == MAX_CALLED
    with pytest.raises(InvalidParameter, match=f"at most {MAX_CALLED} relations") as error:
        await asked.ask(" UNION ALL ".join(each[: MAX_CALLED + 1]))
    assert error.value.field == "query"


async def test_a_symbol_that_nobody_knows_has_no_bars(asked):
    answer = await asked.ask(f"SELECT * FROM bars('1m') WHERE symbol = 'ZZZ' AND {SINCE}")
    assert answer.rows.num_rows == 0


async def test_all_is_read_where_the_trades_were(asked):
    text = (
        f"SELECT (SELECT count(*) FROM trades WHERE {SINCE_TRADES}) AS trades, "
        f"(SELECT sum(trade_count) FROM bars('1m') WHERE {SINCE}) AS in_bars, "
        f"(SELECT count(*) FROM asof_quotes('5s') WHERE {SINCE_TRADES}) AS quoted"
    )
    first = await asked.ask(text)
    (row,) = first.rows.to_pylist()
    assert row["trades"] == row["in_bars"] == row["quoted"] == 6
    asked.trades.add(0, [("A", T0 + 7)])
    tokens = dict(one.split(":", 1) for one in first.meta.token.split(","))
    assert set(tokens) == {"trades", "quotes"}
    as_of = {name: Token.decode(token) for name, token in tokens.items()}
    assert (await asked.ask(text, as_of=as_of)).rows == first.rows
    (now,) = (await asked.ask(text)).rows.to_pylist()
    assert now["trades"] == now["in_bars"] == now["quoted"] == 7


async def test_trades_have_the_quotes_of_their_path(asked):
    answer = await asked.ask(
        "SELECT t.exchange_time_ns, bid_price, quote_age_ns, markouts['9s'] AS later "
        f"FROM asof_quotes('5s', markouts := '9s') t WHERE t.{SINCE_TRADES} AND symbol = 'A'"
    )
    trades = await asked.trades.query.rows(RowsRequest(symbols=("A",)))
    request = JoinRequest(
        rule=AsOfRule("backward", 5 * SECOND_NS), markouts=(("9s", 9 * SECOND_NS),)
    )
    wanted = (await asked.quotes.query.quotes_of(trades.rows, request)).columns
    assert answer.rows["bid_price"].to_pylist() == wanted["bid_price"].to_pylist()
    assert answer.rows["quote_age_ns"].to_pylist() == wanted["quote_age_ns"].to_pylist()
    assert answer.meta.complete


async def test_what_lacks_quotes_is_not_complete(asked):
    asked.quotes.gaps.apply(
        GapOpened(
            scope="X:A", session="0", first=2, last=3, size="small",
            exchange_time_ns=T0 + SECOND_NS, previous_time_ns=T0 - 2 * SECOND_NS,
            next_time_ns=T0 + SECOND_NS,
        ),
        0,
        1,
    )  # fmt: skip
    answer = await asked.ask(f"SELECT * FROM asof_quotes('5s') WHERE {SINCE_TRADES}")
    assert answer.meta.relations["asof_quotes('5s')"]["complete"]
    assert not answer.meta.complete


async def test_a_table_function_of_another_name_stays_refused(asked):
    with pytest.raises(InvalidParameter, match="not allowed"):
        await asked.ask("SELECT * FROM read_csv('bars')")
