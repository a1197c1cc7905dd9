"""What an agent hands in is checked while it runs: the call fails, and is the agent's own failure.

Behind the call it would be nobody's: the task would end, and its successor, again and again.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from agent_world import FOUND, OUTPUT, TOTALS, Row, Total, World, emit

from k2_streams.core.records.stream import Stream
from k2_streams.topology.context import MAX_KEY_BYTES, Context
from k2_streams.topology.declarations import OnError
from k2_streams.topology.emitted import MAX_ROW_BYTES, check_row_sizes, check_rows
from k2_streams.topology.errors import AgentStoppedError

ROW, LATER = Row("A", 10, 1), Row("B", 1_000, 1)


def found(**changes: Any) -> dict[str, Any]:
    return {"symbol": "A", "time_ns": 1, "total": 1, "watermark_ns": 0, **changes}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda ctx: ctx.table(TOTALS).get(5), "table totals: expected a key of text, found 5"),
        (lambda ctx: ctx.table(TOTALS).put(None, Total()), "expected a key of text, found None"),
        (lambda ctx: ctx.table(TOTALS).delete(""), "begins with a printable character, found ''"),
        (lambda ctx: ctx.table(TOTALS).get("\0meta"), "begins with a printable character"),
        (lambda ctx: ctx.table(TOTALS).put("\ud800", Total()), "surrogates not allowed"),
        (
            lambda ctx: ctx.table(TOTALS).put("é" * MAX_KEY_BYTES, Total()),
            f"at most {MAX_KEY_BYTES} bytes, found {2 * MAX_KEY_BYTES}",
        ),
        (lambda ctx: ctx.timers.set(("A", 1), 20), "timer: expected a key of text"),
        (lambda ctx: ctx.timers.set("A", 20.0), "timer 'A': expected whole nanoseconds, found 20"),
        (lambda ctx: ctx.timers.set("A", None), "expected whole nanoseconds, found None"),
        (lambda ctx: ctx.dead_letter(1, "late"), "expected one of the call's 1 rows: 1"),
        (lambda ctx: ctx.dead_letter(-1, "late"), "expected one of the call's 1 rows: -1"),
        (lambda ctx: ctx.dead_letter(0, OnError), "dead letter of row 0: expected text"),
        (
            lambda ctx: ctx.emit(OUTPUT, pa.Table.from_pylist([found()], schema=FOUND)),
            "output found: expected a pyarrow.RecordBatch, found Table",
        ),
        (
            lambda ctx: emit(ctx, None, 1, 1, 0),  # type: ignore[arg-type] # the point of it
            "expected a value in every row of symbol, which is not nullable, found null",
        ),
    ],
)
def test_what_cannot_be_taken_fails_the_call(wrong: Any, says: str) -> None:
    """The partition stops with the agent's name and what is wrong, and nothing was taken."""

    def body(_batch: pa.RecordBatch, ctx: Context) -> None:
        ctx.table(TOTALS).put("A", Total(7))
        wrong(ctx)

    world = World(OnError.STOP, function=body)
    with pytest.raises(AgentStoppedError, match="agent totals: ") as stopped:
        world.process([ROW])
    assert says in stopped.value.error
    assert (world.table.rows, world.timers.rows) == ({}, {})


def test_numbers_of_numpy_are_numbers() -> None:
    """An agent that computes in columns has no others."""
    fired = []

    def body(batch: pa.RecordBatch, ctx: Context) -> None:
        (time_ns, *_) = batch.column("time_ns").to_numpy() + 5
        ctx.timers.set("A", time_ns)
        ctx.dead_letter(np.flatnonzero(np.ones(1))[0], "seen")

    world = World(
        function=body,
        on_timer=lambda key, time_ns, _ctx: fired.append((key, time_ns, type(time_ns))),
    )
    world.process([ROW])
    world.restart()
    world.process([LATER])
    assert fired == [("A", 15, int)]
    assert [(one.row, type(one.row)) for one in world.effects.dead] == [(0, int), (1, int)]


def test_many_rows_are_read_and_written_as_one_by_one() -> None:
    """A value per key, in their order; as many of the one as of the other."""
    seen = []

    def body(batch: pa.RecordBatch, ctx: Context) -> None:
        view, keys = ctx.table(TOTALS), batch.column("symbol").to_pylist()
        seen.append([one and one.total for one in view.get_many([*keys, "absent", *keys])])
        view.put_many(keys, [Total(number) for number, _ in enumerate(keys, 1)])

    world = World(OnError.STOP, function=body)
    world.process([ROW, LATER])
    world.process([LATER, ROW])
    assert seen == [[None] * 5, [2, 1, None, 2, 1]]
    assert world.state()["totals"] == {"A": 2, "B": 1}
    world = World(
        OnError.STOP, function=lambda _batch, ctx: ctx.table(TOTALS).put_many(["A", "B"], [Total()])
    )
    with pytest.raises(AgentStoppedError, match="shorter"):
        world.process([ROW])


def test_a_timer_has_no_row_that_could_be_a_dead_letter() -> None:
    world = World(on_timer=lambda _key, _time_ns, ctx: ctx.dead_letter(0, "late"))
    world.process([Row("A", 10, 9)])
    with pytest.raises(AgentStoppedError, match="expected one of the call's 0 rows: 0"):
        world.process([LATER])


def test_timers_that_were_set_in_time_have_no_limit_in_front_of_a_row() -> None:
    """A bar per symbol is closed by the first row of the next minute, however many there are."""

    def body(batch: pa.RecordBatch, ctx: Context) -> None:
        for number in range(500):
            ctx.timers.set(f"{batch.column('symbol')[0]}{number}", 100)

    fired: list[str] = []
    world = World(function=body, on_timer=lambda key, *_: fired.append(key), max_timers_per_row=50)
    world.process([ROW])
    world.process([LATER])
    assert len(fired) == 500


NESTED = Stream.of_output(
    "nested",
    pa.schema(
        [
            pa.field("name", pa.string(), nullable=False),
            pa.field("time_ns", pa.int64(), nullable=False),
            pa.field("pair", pa.struct([pa.field("a", pa.int64(), nullable=False)])),
            pa.field("list", pa.list_(pa.field("item", pa.int64(), nullable=False))),
            pa.field("map", pa.map_(pa.string(), pa.field("v", pa.int64(), nullable=False))),
        ]
    ),
    key=("name",),
    time="time_ns",
)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({}, None),
        ({"pair": {"a": 1}, "list": [1], "map": [("k", 1)]}, None),
        ({"pair": {"a": None}}, "pair.a"),
        ({"list": [1, None]}, r"list\[\]"),
        ({"map": [("k", None)]}, r"map\{\}"),
        ({"time_ns": None}, "time_ns"),
    ],
)
def test_a_null_is_found_wherever_none_may_be(value: dict[str, Any], path: str | None) -> None:
    """Arrow checks none of it, and the first to refuse would be the sink of a committed log."""
    rows = [{"name": "A", "time_ns": 1, **value}, {"name": "B", "time_ns": 2}]
    batch = pa.RecordBatch.from_pylist(rows, schema=NESTED.log_schema)
    check_rows(NESTED, batch.slice(1))
    if path is None:
        check_rows(NESTED, batch)
        return
    with pytest.raises(ValueError, match=f"expected a value in every row of {path},"):
        check_rows(NESTED, batch)


def test_a_row_counts_for_what_it_holds_itself() -> None:
    """Not for a dictionary that it shares with others; and one that is too large is named."""
    names = [f"{number}{'x' * 1_000}" for number in range(3_000)]
    shared = pa.array(names).dictionary_encode()
    check_row_sizes(OUTPUT.stream, pa.RecordBatch.from_arrays([shared], names=["symbol"]))
    names[2_345] *= MAX_ROW_BYTES // 1_000
    large = pa.array(names).dictionary_encode()
    with pytest.raises(ValueError, match="output found, row 2345: expected at most"):
        check_row_sizes(OUTPUT.stream, pa.RecordBatch.from_arrays([large], names=["symbol"]))
