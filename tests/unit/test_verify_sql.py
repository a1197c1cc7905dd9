"""The second check, in SQL: it must see what is lost, twice, of nobody, or out of order."""

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from k2_streams.testing.oracle.sql import compare_in_sql

Row = dict[str, Any]


def row(symbol: str, sequence: int) -> Row:
    return {
        "exchange": "X", "symbol": symbol, "session": "0", "sequence": sequence,
        "message_id": f"X|{symbol}|0|s:{sequence}", "source_partition": 0,
        "source_offset": sequence * 2 + (symbol == "B"), "source_index": 0,
        "log_partition": 0, "log_offset": sequence, "log_row": int(symbol == "B"),
    }  # fmt: skip


def opinion(
    folder: Path, rows: list[Row], repaired: Collection[tuple[int, int]] = ()
) -> dict[str, int]:
    """Of a truth of 1 to 5 and 8 to 9 of A, and 1 to 3 of B."""
    truth = folder / "truth.jsonl"
    lines = [
        {"type": "header", "version": 1},
        {"type": "session", "scope": "X:A", "session": "0", "rows": [[1, 5], [8, 9]]},
        {"type": "session", "scope": "X:B", "session": "0", "rows": [[1, 3]]},
    ]
    truth.write_text("".join(json.dumps(line) + "\n" for line in lines))
    stranger = {**row("A", 1), "exchange": "OTHER"}
    pq.write_table(pa.Table.from_pylist([*rows, stranger]), folder / "a.parquet")
    checks = compare_in_sql([truth], [str(folder / "a.parquet")], repaired=repaired)
    return {check.name.removeprefix("sql: "): check.found for check in checks if check.found}


def good() -> list[Row]:
    a = [row("A", n) for n in (1, 2, 3, 4, 5, 8, 9)]
    return [*a, *(row("B", n) for n in (1, 2, 3))]


def test_what_agrees_differs_in_nothing(tmp_path: Path) -> None:
    """Rows of another exchange are nobody's business."""
    assert opinion(tmp_path, good()) == {}


def test_rows_that_fill_gaps_of_the_run_are_nobodys_unless_their_raw_records_are_named(
    tmp_path: Path,
) -> None:
    """As they are doubled if two of them have one number."""
    filled = [*good(), {**row("A", 6), "source_offset": 40, "log_offset": 20}]
    assert opinion(tmp_path, filled) == {"rows of nobody": 1}
    assert opinion(tmp_path, filled, {(0, 40)}) == {}
    twice = [*filled, {**filled[-1], "source_offset": 41, "log_offset": 21}]
    assert opinion(tmp_path, twice, {(0, 40), (0, 41)}) == {"message ids twice": 1}


def with_ids(rows: list[Row]) -> list[Row]:
    return [
        {**one, "sequence": None, "message_id": f"X|{one['symbol']}|0|t:{one['sequence']}"}
        for one in rows
    ]


def test_rows_without_a_number_are_distinguished_by_their_ids(tmp_path: Path) -> None:
    """A run of ids alone agrees; one row of it that is lost is seen."""
    schema = pa.Table.from_pylist(good()).schema
    rows = pa.Table.from_pylist(with_ids(good()), schema).to_pylist()
    assert opinion(tmp_path, rows) == {}
    assert opinion(tmp_path, rows[1:]) == {"rows lost": 1}


def test_rows_of_a_feed_with_ids_are_distinguished_by_them(tmp_path: Path) -> None:
    """The truth lists them; numbers that such a feed has besides say nothing."""
    ids = ["b-1", "a|7", "c"]
    truth = tmp_path / "truth.jsonl"
    line = {"type": "session", "scope": "X:A", "session": "0", "rows": [[0, 2]], "ids": ids}
    truth.write_text(json.dumps(line) + "\n")
    rows = [{**row("A", n), "message_id": f"X|A|0|t:{name}"} for n, name in enumerate(ids)]
    for kept, lost in ((rows, []), (rows[1:], ["sql: rows lost"])):
        pq.write_table(pa.Table.from_pylist(kept), tmp_path / "a.parquet")
        checks = compare_in_sql([truth], [str(tmp_path / "a.parquet")], by_id=True)
        assert [check.name for check in checks if check.found] == lost


def lose(rows: list[Row]) -> None:
    del rows[2:4]


def double(rows: list[Row]) -> None:
    again = {**rows[3], "log_offset": 50, "source_offset": 400}
    rows.append(again)


def read_twice(rows: list[Row]) -> None:
    rows.append({**rows[3]})


def invent(rows: list[Row]) -> None:
    rows.append({**row("A", 6), "source_offset": 900, "log_offset": 90})


def swap(rows: list[Row]) -> None:
    rows[1]["log_offset"], rows[2]["log_offset"] = 3, 2


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lose, {"rows lost": 2}),
        (double, {"rows twice": 1, "message ids twice": 1}),
        (
            read_twice,
            {
                "rows twice": 1,
                "message ids twice": 1,
                "raw positions twice": 1,
                "positions in the log twice": 1,
                "rows before an earlier one of their symbol": 1,
            },
        ),
        (invent, {"rows of nobody": 1}),
        (swap, {"rows before an earlier one of their symbol": 1}),
    ],
)
def test_damage_is_seen(
    tmp_path: Path, damage: Callable[[list[Row]], None], expected: dict[str, int]
) -> None:
    """Each kind, and how much of it."""
    rows = good()
    damage(rows)
    assert opinion(tmp_path, rows) == expected
