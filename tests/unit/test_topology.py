"""Declarations are checked where they are made, and each error says what to change."""

from functools import partial
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from k2_streams.core.records.stream import TRADES
from k2_streams.topology.declarations import Agent, Output, StreamSource, Table, Topology
from k2_streams.topology.errors import TopologyError

SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("time_ns", pa.int64(), nullable=False),
    ]
)
SOURCE, OTHER = StreamSource(TRADES), StreamSource(TRADES)


def nothing(_batch: Any, _ctx: Any) -> None: ...


def output(name: str = "bars_1m") -> Output:
    return Output.of(name, SCHEMA, key=("symbol",), time="time_ns")


def agent(name: str = "bars", **more: Any) -> Agent:
    return Agent(name, SOURCE, nothing, **more)


def test_a_topology_knows_the_agents_of_a_source() -> None:
    """In the order of their declaration."""
    table, out = Table("bars", int), output()
    one, two = agent(tables=(table,), outputs=(out,)), agent("second")
    made = Topology("bars", (SOURCE,), (one, two), (table,), (out,))
    assert made.agents_of(SOURCE) == (one, two)
    assert (SOURCE.topic, out.stream.log) == ("k2.trades", "k2.bars_1m")


SHARED, OUT = Table("shared", int), output()


async def awaited(_batch: Any, _ctx: Any) -> None: ...


def yields(_batch: Any, _ctx: Any) -> Any:
    yield


class Awaited:
    async def __call__(self, _batch: Any, _ctx: Any) -> None: ...


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Table("Bars!", int), "expected a name of 1 to 64"),
        (lambda: Table("timers", int), "take another"),
        (lambda: Table("bars", 7), "table bars"),
        (lambda: output("k" * 65), "expected a name"),
        (lambda: Output.of("bars_1m", SCHEMA, key=("venue",), time="time_ns"), "output bars_1m: "),
        (lambda: agent("two words"), "expected a name"),
        *(
            (partial(Agent, "bars", SOURCE, body), "agent bars: expected a plain function of")
            for body in (awaited, yields, Awaited())
        ),
        (lambda: Agent("bars", SOURCE, lambda _batch: None), r"of \(batch, ctx\): too many"),
        (lambda: Agent("bars", SOURCE, None), r"of \(batch, ctx\): None is not a callable"),
        (lambda: agent(on_timer=nothing), r"on_timer of agent bars: .* \(key, event"),
        (lambda: agent(on_error="skip"), "expected on_error 'stop' or 'dead-letter', found 'skip'"),
        (lambda: Topology("t", (SOURCE,), (agent(), agent())), "agent bars: declared twice"),
        (lambda: Topology("t", (SOURCE, OTHER), ()), "source of topic k2.trades: declared twice"),
        (lambda: Topology("t", (OTHER,), (agent(),)), "its source k2.trades is not among"),
        (lambda: Topology("t", (SOURCE,), (agent(tables=(SHARED,)),)), "table shared is not among"),
        (
            lambda: Topology(
                "t", (SOURCE,), (agent("a", tables=(SHARED,)), agent("b", tables=(SHARED,))),
                (SHARED,),
            ),
            "table shared: expected one agent that uses it, found agents a, b: declare one per",
        ),
        (
            lambda: Topology("t", (SOURCE,), (agent(),), (), (OUT,)),
            "output bars_1m: expected one agent that uses it, found no agent",
        ),
        (
            lambda: Topology(
                "t", (SOURCE, StreamSource(OUT.stream)), (agent(outputs=(OUT,)),), (), (OUT,)
            ),
            "its topic k2.bars_1m is a source of the same topology",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_what_to_change(make: Any, says: str) -> None:
    """At the declaration, not at the first record."""
    with pytest.raises(TopologyError, match=says):
        make()


class Bar(msgspec.Struct):
    high: int = 0


def test_a_table_keeps_values_of_its_type_alone() -> None:
    """Each is encoded when it is put: what cannot be encoded is the call's own failure."""
    table = Table("bars", Bar)
    assert table.decode(table.encode(Bar(3))) == Bar(3)
    assert table.decode(table.encode(Bar(3))) is not table.decode(table.encode(Bar(3)))
    for wrong in ({"high": "x"}, 7, object()):
        with pytest.raises(TypeError):
            table.encode(wrong)
