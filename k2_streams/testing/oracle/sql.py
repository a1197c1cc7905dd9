"""The truth against the lake's files in plain SQL: a second check that shares no code with K2.

DuckDB reads the truth files as JSON and the data files as Parquet; what is lost is in the one and
not in the other, and what is doubled is there more often than once.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import fsspec

from k2_streams.testing.oracle.report import ROWS_LOST, ROWS_TWICE, Check

#: Either kind of truth: numbers (a made run that sent ids instead of them names those), or places
#: in a list of ids.
_TABLES = """
CREATE TEMP TABLE expected AS
SELECT scope, session, coalesce(ids[number + 1], number::VARCHAR) AS key
FROM (
    SELECT scope, session, ids, unnest(range(span[1], span[2] + 1)) AS number
    FROM (
        SELECT scope, session, ids, unnest(rows) AS span
        FROM read_json($truths, format = 'newline_delimited', columns = {
            type: 'VARCHAR', scope: 'VARCHAR', session: 'VARCHAR', rows: 'BIGINT[][]',
            ids: 'VARCHAR[]'})
        WHERE type = 'session'
    )
);
CREATE TEMP TABLE found AS
SELECT exchange || ':' || symbol AS scope, session, message_id,
    CASE WHEN $by_id OR sequence IS NULL
        THEN replace(replace(
            regexp_extract(message_id, '[|]t:(.*)$', 1), '%7C', '|'), '%25', '%')
        ELSE sequence::VARCHAR END AS key,
    source_partition, source_offset, source_index, log_partition, log_offset, log_row
FROM read_parquet($files)
WHERE exchange IN (SELECT DISTINCT split_part(scope, ':', 1) FROM expected);
CREATE TEMP TABLE repaired AS
SELECT unnest($partitions::INTEGER[]) AS source_partition,
    unnest($offsets::BIGINT[]) AS source_offset;
"""
_COMPARED = """
SELECT
    count(*) FILTER (one.times IS NULL),
    coalesce(sum(one.times - 1), 0),
    count(*) FILTER (expected.key IS NULL)
FROM expected
FULL JOIN (
    SELECT scope, session, key, count(*) AS times
    FROM found ANTI JOIN repaired USING (source_partition, source_offset) GROUP BY ALL
) AS one USING (scope, session, key)
"""
_PLACES = """
SELECT
    count(*) - count(DISTINCT (source_partition, source_offset, source_index)),
    count(*) - count(DISTINCT (log_partition, log_offset, log_row)),
    count(*) - count(DISTINCT message_id)
FROM found
"""
_ORDER = """
SELECT count(*) FROM (
    SELECT
        (source_offset, source_index) AS here,
        lag((source_offset, source_index))
            OVER (PARTITION BY scope ORDER BY log_offset, log_row) AS before
    FROM found
) WHERE before >= here
"""
_NAMES = (
    ROWS_LOST,
    ROWS_TWICE,
    "sql: rows of nobody",
    "sql: raw positions twice",
    "sql: positions in the log twice",
    "sql: message ids twice",
    "sql: rows before an earlier one of their symbol",
)


def compare_in_sql(
    truths: Sequence[Path],
    files: Sequence[str],
    store: Mapping[str, str] | None = None,
    *,
    by_id: bool = False,
    repaired: Collection[tuple[int, int]] = (),
) -> list[Check]:
    """What differs, in numbers: every figure is expected to be 0.

    Args:
        truths: as `k2 produce` wrote them.
        files: the data files of one snapshot, each once.
        store: how to reach them where they are in an object store, as pyiceberg names it.
        by_id: the feed's rows are identified by their trade ids, though they may have numbers.
        repaired: partition and offset of raw records of others whose rows are in gaps of the truth.
    """
    if not files:
        return [Check(_NAMES[0], 0, 0, note="no files")]
    with duckdb.connect() as sql:
        if files[0].startswith("s3://"):
            sql.register_filesystem(_s3(store or {}))
        for statement in filter(str.strip, _TABLES.split(";")):
            named = {
                "truths": [str(path) for path in truths],
                "files": list(files),
                "by_id": by_id,
                "partitions": [partition for partition, _ in repaired],
                "offsets": [offset for _, offset in repaired],
            }
            sql.execute(statement, {k: v for k, v in named.items() if f"${k}" in statement})
        figures = [*_row(sql, _COMPARED), *_row(sql, _PLACES), *_row(sql, _ORDER)]
    return [Check(name, 0, int(found)) for name, found in zip(_NAMES, figures, strict=True)]


def _s3(store: Mapping[str, str]) -> Any:
    """By s3fs, which K2 itself does not read with."""
    return fsspec.filesystem(
        "s3",
        key=store.get("s3.access-key-id"),
        secret=store.get("s3.secret-access-key"),
        token=store.get("s3.session-token"),
        endpoint_url=store.get("s3.endpoint"),
        client_kwargs={"region_name": store.get("s3.region")},
    )


def _row(sql: duckdb.DuckDBPyConnection, question: str) -> tuple[Any, ...]:
    answer = sql.execute(question).fetchone()
    return tuple(answer or ())
