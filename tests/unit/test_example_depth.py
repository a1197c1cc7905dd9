"""The example `depth`: a third raw stream, whose rows have lists, with all that trades have."""

import json
import random
from decimal import Decimal
from typing import Any

import pytest

from k2_streams.testing import InputMessage, fuzz_feed
from topologies.examples.depth import DEPTH, DepthFeed, app

pytestmark = pytest.mark.usefixtures("quiet_logs")

NOON_NS = 1_763_899_200_000_000_000


def book(sequence: int, **more: Any) -> dict[str, Any]:
    return {
        "exchange": "X",
        "symbol": "A",
        "sequence": sequence,
        "time_ns": NOON_NS + sequence,
        "bids": [["99.5", "3"], ["99.000000000000000001", "10"]],
        "asks": [["100", "1"]],
        **more,
    }


def side(levels: list[list[str]]) -> list[dict[str, Decimal]]:
    return [{"price": Decimal(price), "quantity": Decimal(size)} for price, size in levels]


def test_books_are_stored_with_their_levels_and_found_in_lake_and_tail(k2_driver: Any) -> None:
    books = [
        book(1),
        book(2, bids=[]),
        book(2),
        book(5, asks=[[str(n), "1"] for n in range(1, 99)]),
    ]
    driver = k2_driver(app, partitions=1)
    raw = driver.input("k2.depth.raw")
    raw.send_many(books[:2])
    driver.commit_lake()
    driver.crash()
    driver.restart(empty_disks=True)
    raw.send_many(books[2:])
    answer = driver.answer("depth", symbol="A")
    assert (answer.meta.rows_lake, answer.meta.rows_tail) == (2, 1)
    rows = answer.rows.to_pylist()
    assert [row["sequence"] for row in rows] == [1, 2, 5]
    for row, sent in zip(rows, (books[0], books[1], books[3]), strict=True):
        assert (row["bids"], row["asks"]) == (side(sent["bids"]), side(sent["asks"]))
    assert [(gap.first, gap.last) for gap in driver.gaps()] == [(3, 4)]


@pytest.mark.parametrize(
    ("wrong", "reason", "field"),
    [
        ({"bids": [["99", "1"], ["99.5", "1"]]}, "out-of-range", "bids"),
        ({"asks": [["100", "1"], ["100", "2"]]}, "out-of-range", "asks"),
        ({"asks": [["NaN", "1"]]}, "not-finite", "asks"),
        ({"bids": [["1", "0"]]}, "not-positive", "bids"),
        ({"bids": [["1"]]}, "wrong-type", None),
        ({"symbol": "B"}, "key-mismatch", "key"),
        ({"time_ns": 1}, "bad-time", "time_ns"),
    ],
)
def test_a_book_that_cannot_be_one_is_a_dead_letter_and_its_number_counts(
    k2_driver: Any, wrong: dict[str, Any], reason: str, field: str | None
) -> None:
    """Where it could be read."""
    driver = k2_driver(app, partitions=1)
    raw = driver.input("k2.depth.raw")
    for one in (book(1), book(2) | wrong, book(3)):
        raw.send(json.dumps(one), key="X:A")
    (letter,) = driver.dead_letters()
    assert (letter.reason, letter.field) == (reason, field)
    is_read = reason not in {"wrong-type", "key-mismatch"}
    assert [(gap.first, gap.last) for gap in driver.gaps()] == ([] if is_read else [(2, 2)])


def test_books_do_not_depend_on_how_records_are_cut(k2_driver: Any) -> None:
    chance = random.Random(3)
    records = [InputMessage(book(n, symbol=chance.choice("AB"))) for n in range(40)]
    records += [InputMessage(b"no book", key="X:A"), InputMessage(book(7))]
    chance.shuffle(records)
    k2_driver(app, partitions=2).check_splits(records)


def test_the_feed_keeps_what_a_feed_promises() -> None:
    """Whatever a record holds."""
    samples = [(b"X:A", json.dumps(one).encode()) for one in (book(1), book(2, asks=[]))]
    fuzz_feed(DepthFeed(), samples, stream=DEPTH, rounds=300)
