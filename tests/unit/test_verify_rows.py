"""Each way in which rows can be wrong is found, and rows that are right are not accused."""

from collections import Counter
from collections.abc import Collection
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from k2_streams.core.records import stream
from k2_streams.core.records.schema import TRADES
from k2_streams.testing.oracle.check_rows import FoundRows, columns_of
from k2_streams.testing.oracle.model import Expected, SessionTruth
from k2_streams.testing.oracle.truth_file import Header, SentRange, Truth, session_line

SCHEMA = pa.schema([TRADES.field(name) for name in columns_of(stream.TRADES)])


def row(scope: str, session: str, number: int, offset: int, **fields) -> dict:
    exchange, _, symbol = scope.partition(":")
    return {
        "message_id": f"{exchange}|{symbol}|{session}|s:{number}",
        "exchange": exchange,
        "symbol": symbol,
        "session": session,
        "sequence": number,
        "trade_id": None,
        "price": Decimal(number),
        "quantity": Decimal("0.001"),
        "source_partition": 0,
        "source_offset": offset,
        "source_index": 0,
        "late": False,
    } | fields


def right() -> list[dict]:
    """X:A has 1 to 9 with 5 late; X:B has 1 and 2."""
    rows = [row("X:A", "0", number, number) for number in (1, 2, 3, 4, 6, 7, 8, 9)]
    return [
        *rows,
        row("X:A", "0", 5, 5, late=True),
        row("X:B", "run.0", 1, 20),
        row("X:B", "run.0", 2, 21),
    ]


def truth(alone: bool = True) -> Truth:
    expected = Expected()
    for scope, session, numbers in (
        ("X:A", "0", [1, 2, 3, 4, 6, 7, 8, 9, 5]),
        ("X:B", "run.0", [1, 2]),
    ):
        group = expected.group(scope, session)
        expected.feed(
            np.full(len(numbers), group),
            np.array(numbers),
            np.ones(len(numbers), bool),
            np.array(numbers),
        )
    lines = [session_line(one, 3) for one in expected.truths()]
    header = Header(topic="raw", feed="canonical", options={}, sent=11)
    place = SentRange(0, 30, 30 if alone else 11)
    return Truth(header, lines, Counter(), {0: place})


def compared(
    rows: list[dict],
    alone: bool = True,
    parts: int = 2,
    repaired: Collection[tuple[int, int]] = (),
) -> dict[str, list[str]]:
    """By check what differs, of checks that do not agree."""
    found = FoundRows(truth(alone), repaired=repaired)
    for part in np.array_split(np.arange(len(rows)), parts):
        chosen = [rows[at] for at in part]
        (batch,) = pa.Table.from_pylist(chosen, SCHEMA).combine_chunks().to_batches() or [None]
        found.add(batch)
    return {
        check.name.removeprefix("it: "): check.differences or ["count"]
        for check in found.checks("it")
        if not check.agrees
    }


def test_rows_that_are_right():
    assert compared(right()) == {}
    assert compared(right()[::-1], parts=5) == {}, "their order does not matter"


def test_a_missing_row():
    rows = [one for one in right() if one["message_id"] != "X|A|0|s:7"]
    differences = compared(rows)
    assert differences["rows"] == ["X:A, session 0: rows missing: 7"]
    assert "expected 0.045, found 0.038" in differences["price x quantity, sums"][0]


def test_nothing_at_all():
    differences = FoundRows(truth()).checks("it")[0].differences
    assert differences == [
        "X:A, session 0: rows missing: 1 to 9",
        "X:B, session run.0: rows missing: 1 to 2",
    ]


def test_a_row_twice():
    differences = compared([*right(), row("X:A", "0", 7, 25)])
    assert differences["rows"] == ["X:A, session 0: rows twice: 7"]


def test_a_record_twice():
    differences = compared([*right(), row("X:A", "0", 7, 7)])
    assert differences["raw positions, each once"] == ["raw 0:7, index 0: more than one row"]


def test_a_row_too_many():
    differences = compared([*right(), row("X:A", "0", 10, 25)])
    assert differences["rows"] == ["X:A, session 0: rows too many: 10"]


def test_rows_of_records_that_fill_gaps_of_the_run_are_expected_beside_its_own():
    rows = [*right(), row("X:A", "0", 10, 40, late=True)]
    assert "rows" in compared(rows), "of nobody, as long as nothing says who sent it"
    assert compared(rows, repaired={(0, 40)}) == {}
    assert compared(right(), repaired={(0, 40)}) == {
        "rows in gaps that others filled": ["1 records of others were accepted in gaps of the run"]
    }


@pytest.mark.parametrize("field", ["price", "quantity"])
def test_a_value_that_differs_in_the_last_decimal(field):
    rows = right()
    rows[3] = rows[3] | {field: rows[3][field] + Decimal("1e-18")}
    assert list(compared(rows)) == ["price x quantity, sums"]


def test_large_values_are_exact():
    found = FoundRows(truth())
    price = Decimal("12345678901234567890.123456789012345678")
    rows = [row("X:A", "0", 1, 1, price=price, quantity=price)]
    found.add(pa.Table.from_pylist(rows, SCHEMA).to_batches()[0])
    units = int(str(price).replace(".", ""))
    assert found._values == {0: units * units}


def test_late_marks():
    rows = right()
    rows[0]["late"] = True
    rows[8]["late"] = False
    assert compared(rows) == {
        "rows marked late": ["X:A, session 0: not marked late: 5", "X:A, session 0: marked late: 1"]
    }


def test_an_id_that_does_not_follow_from_its_row():
    rows = right()
    rows[0]["message_id"] = "X|A|0|s:2"
    assert compared(rows) == {"message ids": ["expected X|A|0|s:1, found X|A|0|s:2"]}


def test_ids_from_trade_ids():
    rows = right()
    for at in (0, 1):
        rows[at] |= {"trade_id": "same", "message_id": "X|A|0|t:same"}
    assert compared(rows) == {"message ids": ["1 message ids stand on more than one row"]}


def test_a_row_of_no_such_session():
    stranger = row("X:NOT.THE.KEY", "0", 1, 25)
    assert compared([*right(), stranger])["rows"] == [
        "X:NOT.THE.KEY, session 0: 1 rows of no such session"
    ]
    assert compared([*right(), stranger], alone=False) == {}, "somebody else may have sent it"
    later = row("X:LATER", "0", 1, 30)
    assert compared([*right(), later]) == {}, "it is of a later run"


def test_a_null_sequence_is_a_row_too_many():
    rows = [*right(), row("X:A", "0", 0, 25, sequence=None, message_id="X|A|0|p:0:25:0")]
    assert compared(rows)["rows"] == ["X:A, session 0: rows too many: -1"]
    assert "message ids" in compared(rows)


def test_slices_and_dictionaries_are_read_like_anything_else():
    table = pa.Table.from_pylist([row("X:Z", "9", 1, 99), *right()], SCHEMA)
    encoded = [
        column.dictionary_encode() if name in {"exchange", "symbol", "session"} else column
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    found = FoundRows(truth())
    for batch in pa.table(encoded, names=table.column_names).combine_chunks().to_batches():
        found.add(batch.slice(1))
    assert all(check.agrees for check in found.checks("it"))


def without_numbers(rows_by: str, ids: list[str], rows: list[dict]) -> set[str]:
    """Checks that do not agree of two rows, worth 1 and 2 thousandths, that have no number."""
    line = SessionTruth("X:A", "0", rows=[(0, 1)], count=2, value=3, ids=ids)
    header = Header(topic="raw", feed="x", options={}, sent=2, rows_by=rows_by)
    found = FoundRows(Truth(header, [session_line(line, 3)], Counter(), {0: SentRange(0, 9, 9)}))
    for one in rows:
        found.add(pa.RecordBatch.from_pylist([one], SCHEMA))
    return {
        check.name.removeprefix("it: ")
        for check in found.checks("it")
        if check.differences or check.expected != check.found
    }


def by_id(number: int, name: str, **fields) -> dict:
    said = {"sequence": 7, "trade_id": name, "message_id": f"X|A|0|t:{name}"}
    return row("X:A", "0", number, number, **(said | fields))


def by_place(number: int, **fields) -> dict:
    said = {"sequence": None, "message_id": f"X|A|0|p:0:{number}:0"}
    return row("X:A", "0", number, number, **(said | fields))


def test_rows_told_apart_by_an_id():
    """Two may have one number, of the message that held both."""
    one, two = by_id(1, "a"), by_id(2, "b")
    assert without_numbers("trade_id", ["a", "b"], [two, one]) == set()
    assert "rows" in without_numbers("trade_id", ["a", "b"], [one])
    assert "rows" in without_numbers("trade_id", ["a", "b"], [one, by_id(2, "c")])
    assert "rows" in without_numbers("trade_id", ["a", "b"], [one, two, two])
    other = by_id(2, "b", message_id="X|A|0|s:7")
    assert without_numbers("trade_id", ["a", "b"], [one, other]) == {"message ids"}


def test_rows_that_nothing_tells_apart():
    """How many, what they are worth, and an id made of their place."""
    one, two = by_place(1), by_place(2)
    assert without_numbers("place", [], [one, two]) == set()
    assert "rows" in without_numbers("place", [], [one])
    assert "rows" in without_numbers("place", [], [one, two, by_place(3)])
    assert "raw positions, each once" in without_numbers("place", [], [one, one])
    other = by_place(2, message_id="X|A|0|p:0:9:0")
    assert without_numbers("place", [], [one, other]) == {"message ids"}
