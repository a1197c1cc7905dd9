"""The statement of the as-of join: of each moment asked for, the nearest quote before or after it.

Of quotes at one moment one is kept: the last in the order of rows for moments behind it, the first
for moments before it. So the engine's own join, which goes by time alone, has nothing to choose.
"""

from k2_streams.query.reading import Parts
from k2_streams.query.selection import Selection
from k2_streams.query.statement import TAIL, Statement, Value, wanted

#: The name that the moments asked for have in a statement: `at`, `exchange`, `symbol`, `moment_ns`.
MOMENTS = "asked_moments"
PRICES = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
_COLUMNS = ("exchange", "symbol", "exchange_time_ns", *PRICES)
_ORDER = "exchange_time_ns, log_partition, log_offset, log_row"


def nearest_quotes(
    parts: Parts, selection: Selection, *, looks_back: bool, allow_exact_matches: bool
) -> Statement:
    """Per moment (`at`) that has one, the nearest quote: its time and `PRICES`.

    Args:
        parts: the quotes.
        selection: which they are.
        looks_back: the last quote before a moment; else the first one after it.
        allow_exact_matches: a quote at the moment itself is one.
    """
    given, values = _given(parts, selection)
    neighbour = "lead" if looks_back else "lag"
    sign = (">" if looks_back else "<") + ("=" if allow_exact_matches else "")
    window = f"(PARTITION BY exchange, symbol ORDER BY {_ORDER})"
    kept = (
        f"SELECT {', '.join(_COLUMNS)} FROM ({given}) "  # noqa: S608 (bound values)
        f"QUALIFY {neighbour}(exchange_time_ns) OVER {window} IS DISTINCT FROM exchange_time_ns"
    )
    columns = ", ".join(f"q.{name}" for name in ("exchange_time_ns", *PRICES))
    return Statement(
        f"SELECT m.at, {columns} FROM {MOMENTS} m ASOF JOIN ({kept}) q "  # noqa: S608 (the same)
        "ON m.exchange = q.exchange AND m.symbol = q.symbol "
        f"AND m.moment_ns {sign} q.exchange_time_ns",
        tuple(values),
    )


def _given(parts: Parts, selection: Selection) -> tuple[str, list[Value]]:
    """The quotes of both parts."""
    columns = ", ".join((*_COLUMNS, "log_partition", "log_offset", "log_row"))
    of_tail = f"SELECT {columns} FROM {TAIL}"  # noqa: S608 (no value in it)
    if not parts.planned:
        return of_tail, []
    where = wanted(parts.scan.stream, selection, parts.lake_limits)
    of_lake = f"SELECT {columns} FROM {parts.scan.source}{where}"  # noqa: S608 (bound values)
    return f"{of_lake} UNION ALL {of_tail}", [parts.files, *where.values]
