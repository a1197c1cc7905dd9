"""The SQL of the pages about other engines gives the vector of the table, and what is missing."""

import json

import duckdb
import pyarrow as pa
import pytest
from documents import ROOT, blocks
from lake_rows import World, append
from spark_program import JARS, run_with_spark

PAGES = ROOT / "docs" / "engines"
#: (type, first, last, first and last of the gap).
EVENTS = [
    {
        "type": kind, "exchange": "SYN", "symbol": "AAA", "scope": "SYN:AAA", "session": "0",
        "first": first, "last": last, "gap_first": gap[0], "gap_last": gap[1],
    }
    for kind, first, last, gap in (
        ("gap_opened", 100, 109, (0, 0)),
        ("late", 104, 104, (0, 0)),
        ("late", 99, 99, (0, 0)),
        ("gap_abandoned", 105, 107, (100, 109)),
        ("duplicates", 0, 0, (0, 0)),
        ("gap_opened", 200, 200, (0, 0)),
        ("gap_opened", 300, 305, (0, 0)),
        ("gap_filled", 300, 305, (0, 0)),
    )
]  # fmt: skip
MISSING, ABANDONED = 10 - 1 - 3 + 1, 3


def statements(page: str) -> list[str]:
    """The statements of a page's SQL."""
    text = "".join(block.text for block in blocks(PAGES / page) if block.language == "sql")
    return [one for one in text.split(";") if one.strip()]


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    for partition in (0, 1):
        append(made.writer(), partition, 0, 4, count=9)
    append(made.writer(), 1, 4, 6)
    return made


def check(vector, coverage, world):
    """The rows of the page's last statement, and those of the coverage."""
    assert {row["log_partition"]: row["next"] for row in vector} == world.vector() == {0: 4, 1: 6}
    assert all(row["is_below"] for row in vector)
    rows = world.table().scan().to_arrow().to_pylist()
    for row in coverage:
        mine = [one for one in rows if one["symbol"] == row["symbol"]]
        assert row["received"] == len({one["sequence"] for one in mine})
        assert row["late"] == len({one["sequence"] for one in mine if one["late"]})
    by_symbol = {row["symbol"]: (row["missing"], row["abandoned"]) for row in coverage}
    assert by_symbol == {"AAA": (MISSING, ABANDONED), "BBB": (0, 0)}


def test_duckdb_gives_the_vector_and_what_is_missing(world):
    table = world.table()
    files = [task.file.file_path.removeprefix("file://") for task in table.scan().plan_files()]
    connection = duckdb.connect()
    connection.execute("SET VARIABLE trades_files = $files", {"files": files})
    metadata = table.metadata_location.removeprefix("file://")
    connection.execute("SET VARIABLE trades_metadata = $file", {"file": metadata})
    gap_events = pa.Table.from_pylist(EVENTS)
    connection.register("gap_events", gap_events)

    def rows(found):
        return found.to_arrow_table().to_pylist()

    *before, last = statements("duckdb.md")
    for one in before:
        connection.execute(one)
    (coverage,) = statements("README.md")
    check(rows(connection.sql(last)), rows(connection.sql(coverage)), world)


@pytest.mark.spark
def test_spark_gives_the_same(world, tmp_path):
    location = world.table().metadata_location
    page = [
        one.replace("k2.k2.trades.snapshots", "snapshots").replace("k2.k2.trades", "trades")
        for one in statements("spark.md")
    ]
    asked = {
        "views": {"trades": location, "snapshots": f"{location}#snapshots"},
        "rows": {"gap_events": EVENTS},
        "statements": [page, statements("README.md")],
    }
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    arguments = (tmp_path / "asked.json", tmp_path / "found.json", JARS)
    run_with_spark("spark_sql.py", *arguments, folder=tmp_path)
    check(*json.loads((tmp_path / "found.json").read_text()), world)
