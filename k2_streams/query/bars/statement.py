"""The statements of bars: the trades of both parts, placed in the grid and added up.

Decimals of 38 digits leave no room for sums and products, so that each is added up as two integers
(`_limbs`): its whole part, and its fraction in units of the 18th decimal.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from k2_streams.core.query.bars.conditions import ConditionRules
from k2_streams.core.query.bars.grid import Cells
from k2_streams.query.reading import Parts
from k2_streams.query.selection import Selection
from k2_streams.query.statement import TAIL, Statement, Value, wanted

#: The name that the grid's cells have in a statement.
CELLS = "grid_cells"
_COLUMNS = (
    "exchange", "symbol", "exchange_time_ns", "log_partition", "log_offset", "log_row",
    "message_id", "price", "quantity", "notional", "late", "conditions", "action",
)  # fmt: skip
_ORDER = "exchange_time_ns, log_partition, log_offset, log_row"
#: What a trade may count for, as the statement and as `ConditionRule` name it.
_FLAGS = {
    "sets_last": "updates_open_close",
    "sets_range": "updates_high_low",
    "adds": "updates_volume",
}


@dataclass(frozen=True, slots=True)
class Trades:
    """Which trades are placed in which bars.

    Attributes:
        selection: of all of them; its range is that of the grid.
        cells: of the grid.
        rules: by which they count; None: all count.
    """

    selection: Selection
    cells: Cells
    rules: ConditionRules | None


def sums(parts: Parts, trades: Trades, at_most: int) -> Statement:
    """Of each bar with a trade, what `core.query.bars.fold.Sums` has of it, by bar and key.

    Sums are given as `<name>_whole` and `<name>_units`, and `without` is how many trades lack a
    notional. The bars of the grid's first time come beside `at_most` others: a page may go on
    within them, and needs what they close at.
    """
    placed, values = _placed(parts, trades)
    held = "least(coalesce(next_ns, end_ns), end_ns) - exchange_time_ns"
    columns = [
        "arg_min(price, place) FILTER (sets_last) AS open",
        "max(price) FILTER (sets_range) AS high",
        "min(price) FILTER (sets_range) AS low",
        "arg_max(price, place) FILTER (sets_last) AS close",
        "min(exchange_time_ns) FILTER (sets_last) AS first_time_ns",
        "max(exchange_time_ns) FILTER (sets_last) AS last_time_ns",
        "arg_min(message_id, place) FILTER (sets_last) AS first_message_id",
        "arg_max(message_id, place) FILTER (sets_last) AS last_message_id",
        *_limbs("held", "price", f" * ({held})", "sets_last"),
        *_limbs("volume", "quantity", "", "adds"),
        *_limbs("turnover", "notional", "", "adds"),
        "count(*) FILTER (adds AND notional IS NULL) AS without",
        "count(*) FILTER (adds) AS trade_count",
        "count(*) FILTER (late) AS late",
    ]
    window = f"(PARTITION BY exchange, symbol, sets_last ORDER BY {_ORDER})"
    return Statement(
        f"WITH placed AS ({placed}), "  # noqa: S608 (bound values)
        f"ordered AS (SELECT *, row_number() OVER {window} AS place, "
        f"lead(exchange_time_ns) OVER {window} AS next_ns FROM placed), "
        f"summed AS MATERIALIZED (SELECT bar, exchange, symbol, {', '.join(columns)} FROM ordered "
        "GROUP BY bar, exchange, symbol) SELECT * FROM summed ORDER BY bar, exchange, symbol "
        "LIMIT (SELECT ? + count(*) FROM summed WHERE bar = 0)",
        (*values, at_most),
    )


def last_prices(parts: Parts, trades: Trades) -> Statement:
    """Of each key its last price that may close a bar (`price`), and its event time (`time_ns`)."""
    placed, values = _placed(parts, trades)
    return Statement(
        f"SELECT exchange, symbol, max_by(price, ({_ORDER})) AS price, "  # noqa: S608 (bound values)
        f"max(exchange_time_ns) AS time_ns FROM ({placed}) WHERE sets_last "
        "GROUP BY exchange, symbol",
        tuple(values),
    )


def without_notional(parts: Parts, trades: Trades, last_bar: int, at_most: int) -> Statement:
    """The trades of the bars up to `last_bar` that add to the turnover and lack a notional."""
    placed, values = _placed(parts, trades)
    return Statement(
        "SELECT bar, exchange, symbol, exchange_time_ns, price, quantity, notional "  # noqa: S608 (bound values)
        f"FROM ({placed}) WHERE adds AND notional IS NULL AND bar <= ? LIMIT ?",
        (*values, last_bar, at_most),
    )


def _placed(parts: Parts, trades: Trades) -> tuple[str, list[Value]]:
    """The trades that count for anything, with their bar (`bar`, `end_ns`)."""
    given, values = _given(parts, trades.selection)
    flags, of_flags = _flags(trades.rules)
    cells = trades.cells
    # A cancel or a correction is no trade of its own, where trades are as they were reported.
    is_trade = "action IS NULL AND " if trades.selection.view == "reported" else ""
    sql = (
        f"SELECT *, {flags} FROM ({given}) "  # noqa: S608 (bound values)
        f"JOIN {CELLS} ON (exchange_time_ns - ?) // ? = cell "
        f"WHERE {is_trade}({' OR '.join(_FLAGS)})"
    )
    return sql, [*of_flags, *values, cells.origin_ns, cells.length_ns]


def _given(parts: Parts, selection: Selection) -> tuple[str, list[Value]]:
    """The trades of both parts."""
    columns = ", ".join(_COLUMNS)
    of_tail = f"SELECT {columns} FROM {TAIL}"  # noqa: S608 (no value in it)
    if not parts.files:
        return of_tail, []
    where = wanted(parts.scan.stream, selection, parts.lake_limits)
    of_lake = f"SELECT {columns} FROM {parts.scan.source}{where}"  # noqa: S608 (bound values)
    return f"{of_lake} UNION ALL {of_tail}", [list(parts.files), *where.values]


def _flags(rules: ConditionRules | None) -> tuple[str, list[Value]]:
    """What a trade counts for, each as a column."""
    terms: list[str] = []
    values: list[Value] = []
    for name, rule in _FLAGS.items():
        excluded = [] if rules is None else rules.excluded(rule)
        if not excluded:
            terms.append(f"true AS {name}")
            continue
        named = "list_transform(conditions, lambda one: exchange || ':' || one)"
        terms.append(f"coalesce(NOT list_has_any({named}, ?), true) AS {name}")
        values.append(excluded)
    return ", ".join(terms), values


def _limbs(name: str, column: str, factor: str, counted: str) -> Sequence[str]:
    """A sum in two integers; 10^29 ns of a price of 20 digits fit."""
    units = f"(({column} - trunc({column})) * 1000000000000000000::DECIMAL(19, 0))::HUGEINT"
    return [
        f"sum(trunc({column})::HUGEINT{factor}) FILTER ({counted}) AS {name}_whole",
        f"sum({units}{factor}) FILTER ({counted}) AS {name}_units",
    ]
