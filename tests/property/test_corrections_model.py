"""Trades as corrected: the rule against a plain one, and answers of lake and tail against it."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from query_world import T0, World
from rows_requests import parse_rows

from k2_streams.core.query.corrections import CANCEL, CORRECT, Correction, superseded
from k2_streams.core.records.identity import TradeId
from k2_streams.query.errors import InvalidParameter

pytestmark = pytest.mark.filterwarnings("ignore")


def plainly(rows: list[dict[str, Any]]) -> list[str]:
    """Which rows stand, by joining what refers to each other until nothing changes."""
    pairs = [(row["message_id"], row["ref_message_id"] or row["message_id"]) for row in rows]
    of = {name: name for pair in pairs for name in pair}
    for left, right in pairs:
        one, other = of[left], of[right]
        of = {name: one if trade == other else trade for name, trade in of.items()}
    stands = []
    for trade in set(of.values()):
        members = [row for row in rows if of[row["message_id"]] == trade]
        if any(row["action"] == CANCEL for row in members):
            continue
        corrections = [row for row in members if row["action"] == CORRECT]
        if not corrections:
            stands += [row["message_id"] for row in members]
            continue
        referred = {row["ref_message_id"] for row in corrections}
        last = [r for r in corrections if r["message_id"] not in referred] or corrections
        stands.append(max(last, key=lambda row: row["sequence"])["message_id"])
    return sorted(stands)


#: What each message of one symbol is: a new trade, or something done to the trade of that number.
MESSAGES = st.lists(
    st.tuples(st.sampled_from(["new", "new", CANCEL, CORRECT]), st.integers(0, 9)),
    max_size=12,
)


def columns(messages: list[tuple[str, int]], start: int) -> dict[str, list[Any]]:
    """Message n has the trade id `idn`; it may refer to one before it, behind it or to none."""
    actions = [None if action == "new" else action for action, _ in messages]
    return {
        "trade_id": [f"id{start + n}" for n in range(len(messages))],
        "action": actions,
        "ref_trade_id": [
            None if action is None else f"id{ref}"
            for action, (_, ref) in zip(actions, messages, strict=True)
        ],
    }


@settings(max_examples=100, deadline=None)
@given(MESSAGES)
def test_what_stands_is_what_the_plain_rule_says(messages):
    rows = [
        {
            "message_id": f"id{n}",
            "ref_message_id": None if action == "new" else f"id{ref}",
            "action": None if action == "new" else action,
            "sequence": n,
        }
        for n, (action, ref) in enumerate(messages)
    ]

    def trade(name: str) -> TradeId:
        return TradeId("X", "A", "0", name)

    corrections = [
        Correction(
            trade(r["message_id"]),
            trade(r["ref_message_id"]),
            r["action"],
            "0",
            r["sequence"],
            (0, n, 0),
        )
        for n, r in enumerate(rows)
        if r["action"]
    ]
    gone = superseded(corrections)
    stands = [
        r["message_id"]
        for n, r in enumerate(rows)
        if (
            (0, n, 0) not in gone.corrections
            if r["action"]
            else trade(r["message_id"]) not in gone.trades
        )
    ]
    assert sorted(stands) == plainly(rows)
    assert superseded(reversed(corrections)) == gone


async def pages(world: World, **asked: str) -> list[dict[str, Any]]:
    """All rows of a question, page by page."""
    rows: list[dict[str, Any]] = []
    cursor = None
    while True:
        question = {"cursor": cursor} if cursor else asked
        answer = await world.query.rows(parse_rows(question))
        rows += answer.rows.to_pylist()
        cursor = answer.meta.next_cursor
        if cursor is None:
            return rows


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.tuples(MESSAGES, st.booleans()), min_size=1, max_size=4),
    st.integers(1, 5),
    st.sampled_from(["asc", "desc"]),
)
async def test_answers_as_corrected_over_lake_and_tail(engine, batches, limit, order):
    """Wherever trade and correction lie, page by page, and asked again later with the token."""
    instance, folder = engine
    world = World(Path(tempfile.mkdtemp(dir=folder)), instance)
    number = 0
    for messages, commits in batches:
        world.log.append(
            0,
            [("A", T0 + (number + n) * 7 % 5) for n in range(len(messages))],
            more=columns(messages, number),
        )
        number += len(messages)
        world.read_tail(0)
        if commits:
            world.commit()
            await world.query.refresh()
    reported = world.log.rows({0: world.log.ends[0]})
    if not reported:
        return
    expected = plainly(reported)
    asked = {"symbol": "A", "view": "corrected", "limit": str(limit), "order": order}
    rows = await pages(world, **asked)
    assert sorted(row["message_id"] for row in rows) == expected
    places = [(r["exchange_time_ns"], r["log_offset"], r["log_row"]) for r in rows]
    assert places == sorted(places, reverse=order == "desc")
    plain = await pages(world, symbol="A", limit=str(limit))
    assert [row["message_id"] for row in plain] == [row["message_id"] for row in reported]

    first = await world.query.rows(parse_rows({**asked, "limit": "100"}))
    world.log.append(0, [("A", T0)], more=columns([(CANCEL, 0)], number))
    world.read_tail(0)
    world.commit()
    await world.query.refresh()
    again = await world.query.rows(parse_rows({**asked, "as_of": first.meta.token, "limit": "100"}))
    assert again.rows.equals(first.rows)
    assert again.meta.view == "corrected"


async def test_a_page_goes_on_in_its_view_and_refuses_another(engine):
    instance, folder = engine
    world = World(Path(tempfile.mkdtemp(dir=folder)), instance)
    world.log.append(0, [("A", T0 + n) for n in range(4)], more=columns([("new", 0)] * 4, 0))
    world.log.append(0, [("A", T0 + 9)], more=columns([(CANCEL, 2)], 4))
    world.read_tail(0)
    first = await world.query.rows(parse_rows({"symbol": "A", "view": "corrected", "limit": "2"}))
    cursor = first.meta.next_cursor
    second = await world.query.rows(parse_rows({"cursor": cursor}))
    assert second.rows.column("trade_id").to_pylist() == ["id3"]
    with pytest.raises(InvalidParameter, match="cursor"):
        parse_rows({"cursor": cursor, "symbol": "A", "limit": "2"})
