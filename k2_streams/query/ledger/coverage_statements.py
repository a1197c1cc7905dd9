"""The statements of coverage: what the rows say, then what the events add to it.

Both are of one key: exchange, symbol, session and trading date. Rows have the venue's own date, an
event has none: a gap belongs to the date of the message above it, another finding to that of its
number, by the date whose rows' numbers reach from below to above it. Where there is none (of a
connection no row has the name) it is the UTC day of the event.
"""

from k2_streams.core.sequence.gaps import FILLED
from k2_streams.query.ledger.gap_statements import GAP_STATES, LATE, events_of, of_symbols
from k2_streams.query.reading import Parts
from k2_streams.query.selection import Selection
from k2_streams.query.statement import TAIL, Statement, Value, Where, wanted

#: The name that the result of `rows` has in the statement of the events.
ROWS = "covered_rows"
_COLUMNS = "exchange, symbol, session, trading_date, sequence, late"

#: Dates as a list of texts; none: all.
Dates = tuple[str, ...]


def rows(parts: Parts, selection: Selection) -> Statement:
    """Per key: first and last number, how many numbers have rows, how many of them late, rows."""
    of_tail = f"SELECT {_COLUMNS} FROM {TAIL}"  # noqa: S608 (no value in it)
    values: list[Value] = []
    given = of_tail
    if parts.files:
        where = wanted(parts.scan.stream, selection, parts.lake_limits)
        given = f"SELECT {_COLUMNS} FROM {parts.scan.source}{where} UNION ALL {of_tail}"  # noqa: S608 (bound values)
        values += [list(parts.files), *where.values]
    return Statement(
        "SELECT exchange, symbol, session, trading_date, min(sequence) AS first_sequence, "  # noqa: S608 (bound values)
        "max(sequence) AS last_sequence, count(DISTINCT sequence) AS received, "
        "count(DISTINCT sequence) FILTER (late) AS late, count(*) AS row_count "
        f"FROM ({given}) GROUP BY ALL",
        tuple(values),
    )


def coverage(
    parts: Parts, selection: Selection, symbols: tuple[str, ...], dates: Dates, at_most: int
) -> Statement:
    """Each key's row, in their order; `key_count` is how many keys there are.

    Of a gap that was not filled numbers are missing that came neither late nor were abandoned. A
    number is dead from its event on, until it was redriven.
    """
    events, values = events_of(parts, selection)
    where = Where()
    if symbols:
        of_symbols(where, symbols)
    if dates:
        where.add(f"trading_date IN ({', '.join('?::DATE' for _ in dates)})", *dates)
    return Statement(
        f"""WITH events AS NOT MATERIALIZED {events}, {GAP_STATES}, {LATE},
        came_late AS (
            SELECT scope, session, gap_first AS first, gap_last AS last,
                count(DISTINCT number) AS numbers
            FROM late_in_gaps WHERE late_at > opened_at GROUP BY ALL
        ),
        abandoned AS (
            SELECT events.scope, events.session, gap_first AS first, gap_last AS last,
                sum(events.last - events.first + 1) AS numbers
            FROM events JOIN gaps ON events.scope = gaps.scope AND events.session = gaps.session
                AND gap_first = gaps.first AND gap_last = gaps.last
            WHERE type = 'gap_abandoned' AND log_offset > opened_at GROUP BY ALL
        ),
        found AS (
            SELECT exchange, symbol, session, trading_date AS event_date, last + 1 AS number,
                first, last, 0 AS dead, 0 AS duplicates,
                coalesce(abandoned.numbers, 0) AS abandoned,
                last - first + 1 - coalesce(came_late.numbers, 0) - coalesce(abandoned.numbers, 0)
                    AS missing
            FROM gaps LEFT JOIN came_late USING (scope, session, first, last)
                LEFT JOIN abandoned USING (scope, session, first, last)
            WHERE state <> '{FILLED}'
            UNION ALL BY NAME
            SELECT exchange, symbol, session, max(trading_date) AS event_date, first AS number,
                first, first AS last, 1 AS dead, 0 AS duplicates, 0 AS abandoned, 0 AS missing
            FROM events WHERE type IN ('dead', 'redriven')
            GROUP BY exchange, symbol, session, first
            HAVING max(log_offset) FILTER (type = 'dead')
                > coalesce(max(log_offset) FILTER (type = 'redriven'), -1)
            UNION ALL BY NAME
            SELECT exchange, symbol, session, trading_date AS event_date,
                ranges[1].first AS number, NULL AS first, NULL AS last, 0 AS dead,
                count AS duplicates, 0 AS abandoned, 0 AS missing
            FROM events WHERE type = 'duplicates'
        ),
        dated AS (
            SELECT found.*, CASE WHEN number <= last_sequence THEN {ROWS}.trading_date
                ELSE event_date END AS trading_date
            FROM found ASOF LEFT JOIN {ROWS} ON found.exchange = {ROWS}.exchange
                AND found.symbol = {ROWS}.symbol AND found.session = {ROWS}.session
                AND found.number >= {ROWS}.first_sequence
        ),
        added AS (
            SELECT exchange, symbol, session, trading_date, min(first) AS first, max(last) AS last,
                sum(duplicates) AS duplicates, sum(missing) AS missing,
                sum(abandoned) AS abandoned, sum(dead) AS dead
            FROM dated GROUP BY exchange, symbol, session, trading_date
        ),
        counted AS (
            SELECT exchange, symbol, trading_date, session,
                least(first_sequence, first) AS first_sequence,
                greatest(last_sequence, last) AS last_sequence,
                coalesce(received, 0)::BIGINT AS received, coalesce(late, 0)::BIGINT AS late,
                coalesce(duplicates, 0)::BIGINT AS duplicates,
                coalesce(missing, 0)::BIGINT AS missing,
                coalesce(abandoned, 0)::BIGINT AS abandoned, coalesce(dead, 0)::BIGINT AS dead,
                coalesce(row_count, 0)::BIGINT AS row_count
            FROM {ROWS} FULL JOIN added USING (exchange, symbol, session, trading_date)
        )
        SELECT *, count(*) OVER () AS key_count FROM counted{where}
        ORDER BY exchange, symbol, trading_date, session LIMIT ?""",  # noqa: S608 (bound values)
        (*values, *where.values, at_most),
    )
