"""The statements of gaps: which gaps a page holds, and the events that made them.

The states agree with `core.sequence.gaps.GapLedger`, which folds the events of a page.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from k2_streams.core.sequence.gaps import ABANDONED, FILLED, OPEN
from k2_streams.core.sequence.scopes import CONNECTION
from k2_streams.query.reading import Parts
from k2_streams.query.selection import Selection
from k2_streams.query.statement import TAIL, Statement, Value, Where, quoted, wanted

#: The name that a page's gaps have in a statement.
PAGE = "page_gaps"
#: What identifies a gap.
KEY = ("scope", "session", "first", "last")
#: Of the events what their states, and coverage, are made of.
STATE_COLUMNS = (
    "type", "exchange", "symbol", "scope", "session", "first", "last", "gap_first", "gap_last",
    "count", "ranges", "previous_time_ns", "next_time_ns", "trading_date", "log_offset",
)  # fmt: skip
#: What the fold of gaps needs.
_FOLDED_COLUMNS = (
    "type", "scope", "session", "first", "last", "gap_first", "gap_last", "size", "reason",
    "previous_time_ns", "next_time_ns", "exchange_time_ns", "source_partition", "source_offset",
    "log_partition", "log_offset",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class GapsWanted:
    """Which gaps.

    Attributes:
        symbols, states: empty: all.
        start_ns, end_ns: of event time; None is no bound.
        after: scope and place of the last gap given.
        at_most: gaps.
    """

    symbols: tuple[str, ...]
    states: tuple[str, ...]
    start_ns: int | None
    end_ns: int | None
    after: tuple[str, int] | None
    at_most: int


def events_of(
    parts: Parts, selection: Selection, names: tuple[str, ...] = STATE_COLUMNS
) -> tuple[str, list[Value]]:
    """These columns of the events of both parts, as a query in brackets, with its values."""
    columns = ", ".join(map(quoted, names))
    of_tail = f"SELECT {columns} FROM {TAIL}"  # noqa: S608 (no value in it)
    if not parts.files:
        return f"({of_tail})", []
    where = wanted(parts.scan.stream, selection, parts.lake_limits)
    of_lake = f"SELECT {columns} FROM {parts.scan.source}{where}"  # noqa: S608 (bound values)
    return f"({of_lake} UNION ALL {of_tail})", [list(parts.files), *where.values]


#: Each gap with its state: what happened since it was opened for the last time counts.
GAP_STATES = f"""
    opened AS (
        SELECT exchange, symbol, scope, session, first, last,
            min(log_offset) AS place, max(log_offset) AS opened_at,
            arg_max(trading_date, log_offset) AS trading_date,
            nullif(arg_max_null(previous_time_ns, log_offset), 0) AS previous_ns,
            nullif(arg_max_null(next_time_ns, log_offset), 0) AS next_ns
        FROM events WHERE type = 'gap_opened'
        GROUP BY exchange, symbol, scope, session, first, last
    ),
    closed AS (
        SELECT scope, session, coalesce(gap_first, first) AS first,
            coalesce(gap_last, last) AS last,
            max(log_offset) FILTER (type = 'gap_filled') AS filled_at,
            max(log_offset) FILTER (type = 'gap_abandoned') AS abandoned_at
        FROM events WHERE type IN ('gap_filled', 'gap_abandoned') GROUP BY ALL
    ),
    gaps AS (
        SELECT opened.*, CASE
            WHEN abandoned_at > opened_at THEN '{ABANDONED}'
            WHEN filled_at > opened_at THEN '{FILLED}'
            ELSE '{OPEN}' END AS state
        FROM opened LEFT JOIN closed USING (scope, session, first, last)
    )"""  # noqa: S608 (no value in it)


#: Each number that came late into a gap, with the gap.
LATE = """
    late AS (SELECT * FROM events WHERE type = 'late'),
    late_in_gaps AS (
        SELECT opened.scope, opened.session, opened.first AS gap_first, opened.last AS gap_last,
            opened.opened_at, late.first AS number, late.log_offset AS late_at
        FROM late ASOF JOIN opened ON late.scope = opened.scope
            AND late.session = opened.session AND late.first >= opened.first
        WHERE late.first <= opened.last
    )"""


def page(parts: Parts, selection: Selection, asked: GapsWanted) -> Statement:
    """The first gaps that may be wanted: their keys, their states, `place`, and how many there are.

    By scope, then in the order they were opened (`place`). With a range also gaps of which a number
    came late: its event time may lie anywhere, and the fold decides.
    """
    events, values = events_of(parts, selection)
    of_page, where = _events_where(asked), _where(asked)
    return Statement(
        f"WITH events AS NOT MATERIALIZED (SELECT * FROM {events}{of_page}), {GAP_STATES}, {LATE}, "  # noqa: S608 (bound values)
        f"numbered AS (SELECT *, count(*) OVER () AS gap_count FROM gaps{where}) "
        f"SELECT {', '.join(KEY)}, state, opened_at, place, gap_count FROM numbered "
        "ORDER BY scope, place LIMIT ?",
        (*values, *of_page.values, *where.values, asked.at_most),
    )


def page_events(parts: Parts, selection: Selection, at_most: int) -> Statement:
    """The events of the gaps in `PAGE`, in the order of their topic.

    Numbers that came late are those of gaps that were not filled, and the one below each gap: by it
    the fold knows an event of an earlier version (`GapLedger`). Of numbers that follow one another
    the first and the last are given, and `run_last` with the first (`GapLedger.receive_run`): a gap
    may have any number of late ones, and what they leave of it is bounded.
    """
    events, values = events_of(parts, selection, _FOLDED_COLUMNS)
    return Statement(
        f"""WITH events AS NOT MATERIALIZED (
            SELECT * FROM {events} WHERE scope IN (SELECT scope FROM {PAGE})
        ),
        late AS (SELECT * FROM events WHERE type = 'late'),
        late_in_gaps AS (
            SELECT late.*, gap.first AS of_first, gap.last AS of_last
            FROM late ASOF JOIN {PAGE} AS gap ON late.scope = gap.scope
                AND late.session = gap.session AND late.first >= gap.first
            WHERE late.first <= gap.last AND gap.state <> '{FILLED}'
                AND late.log_offset > gap.opened_at
        ),
        runs AS (
            SELECT *, bool_and(exchange_time_ns > 0) OVER of_gap AS is_timed,
                first - row_number() OVER (of_gap ORDER BY first) AS run
            FROM late_in_gaps
            WINDOW of_gap AS (PARTITION BY scope, session, of_first, of_last)
        ),
        edges AS (
            SELECT *, CASE WHEN is_timed AND first = min(first) OVER of_run
                THEN max(first) OVER of_run END AS run_last
            FROM runs WINDOW of_run AS (PARTITION BY scope, session, of_first, of_last, run)
            QUALIFY NOT is_timed OR first IN (min(first) OVER of_run, max(first) OVER of_run)
        ),
        made AS (
            SELECT events.*, NULL AS run_last FROM events JOIN {PAGE} AS gap
                ON events.scope = gap.scope AND events.session = gap.session
                AND coalesce(events.gap_first, events.first) = gap.first
                AND coalesce(events.gap_last, events.last) = gap.last
            WHERE type IN ('gap_opened', 'gap_filled', 'gap_abandoned')
            UNION ALL
            SELECT * EXCLUDE (of_first, of_last, is_timed, run) FROM edges
            UNION ALL
            SELECT DISTINCT late.*, NULL FROM late JOIN {PAGE} AS gap ON late.scope = gap.scope
                AND late.session = gap.session AND late.first = gap.first - 1
        )
        SELECT *, NULL AS ranges, NULL AS previous_session FROM made
        ORDER BY log_partition, log_offset LIMIT ?""",  # noqa: S608 (bound values)
        (*values, at_most),
    )


def _events_where(asked: GapsWanted) -> Where:
    """The conditions on events: all of a gap have one scope, and so one symbol."""
    where = Where()
    if asked.symbols:
        of_symbols(where, asked.symbols)
    if asked.after is not None:
        where.add("scope >= ?", asked.after[0])
    return where


def _where(asked: GapsWanted) -> Where:
    """The conditions on gaps."""
    where = Where()
    if asked.states:
        where.add(f"state IN ({', '.join('?' * len(asked.states))})", *asked.states)
    if asked.after is not None:
        where.add("(scope, place) > (?, ?)", *asked.after)
    _within(where, asked.start_ns, asked.end_ns)
    return where


def of_symbols(where: Where, symbols: Sequence[str]) -> None:
    """Add the condition on `symbol`: a message of a connection may have been of any of them."""
    named = ", ".join("?" * len(symbols))
    where.add(f"(symbol IN ({named}) OR starts_with(symbol, '{CONNECTION}'))", *symbols)


def _within(where: Where, start_ns: int | None, end_ns: int | None) -> None:
    """As `core.sequence.gaps.meets`, or with a number that came late."""
    bounds: list[str] = []
    values: Sequence[int] = [ns for ns in (end_ns, start_ns) if ns is not None]
    if end_ns is not None:
        bounds.append(
            "(previous_ns IS NULL OR "
            "CASE WHEN next_ns IS NULL THEN previous_ns ELSE least(previous_ns, next_ns) END < ?)"
        )
    if start_ns is not None:
        bounds.append(
            "(next_ns IS NULL OR CASE WHEN previous_ns IS NULL THEN next_ns "
            "ELSE greatest(previous_ns, next_ns) END >= ?)"
        )
    if bounds:
        key = ", ".join(KEY)
        late = f"({key}) IN (SELECT (scope, session, gap_first, gap_last) FROM late_in_gaps)"  # noqa: S608 (no value in it)
        where.add(f"(({' AND '.join(bounds)}) OR {late})", *values)
