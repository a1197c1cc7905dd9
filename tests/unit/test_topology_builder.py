"""What a user declares one after the other becomes one topology, or an error that helps."""

from functools import partial
from typing import Any

import pyarrow as pa
import pytest

from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.records.stream import QUOTES, TRADES, Stream
from k2_streams.topology.builder import TopologyBuilder
from k2_streams.topology.declarations import OnError, Output, StreamSource, Table
from k2_streams.topology.errors import TopologyError

SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("time_ns", pa.int64(), nullable=False),
    ]
)


def alerts(_batch: Any, _ctx: Any) -> None: ...


def declared(builder: TopologyBuilder, name: str = "alerts") -> Output:
    return builder.output(name, SCHEMA, ("symbol",), "time_ns")


def agent(builder: TopologyBuilder, source: StreamSource, **more: Any) -> None:
    given = {
        "function": alerts, "name": None, "tables": (), "outputs": (), "on_error": "stop",
        "on_timer": None,
    }  # fmt: skip
    builder.agent(source, **(given | more))


def test_declarations_become_a_topology_in_their_order() -> None:
    builder = TopologyBuilder("surveillance")
    trades = builder.stream("trades")
    table, output = builder.table("recent", int, 2), declared(builder)
    agent(builder, trades, tables=[table], outputs=[output], on_error="dead-letter")
    builder.page("/today", alerts)
    found = builder.topology
    assert (found.name, found.sources, found.tables) == ("surveillance", (trades,), (table,))
    assert found.outputs == (output,)
    (one,) = found.agents
    assert (one.name, one.function, one.on_error) == ("alerts", alerts, OnError.DEAD_LETTER)
    assert builder.topology is found, "it is built once"
    assert [page.path for page in builder.pages] == ["/today"]


def test_a_stream_is_named_by_its_name_its_description_or_the_output_of_another_app() -> None:
    builder = TopologyBuilder("downstream")
    bars = Output.of("bars_1m", SCHEMA, key=("symbol",), time="time_ns")
    assert builder.stream("quotes").stream is QUOTES
    assert builder.stream(bars).topic == "k2.bars_1m"
    assert builder.stream(TRADES).topic == "k2.trades"


def test_a_stream_that_is_declared_twice_is_one_source() -> None:
    """Two agents of one app read it in one task."""
    builder = TopologyBuilder("twice")
    assert builder.stream("trades") is builder.stream(TRADES)


def test_nothing_is_declared_once_the_topology_is_built() -> None:
    builder = TopologyBuilder("late")
    trades, output = builder.stream("trades"), declared(builder)
    agent(builder, trades, outputs=[output])
    assert builder.topology.outputs == (output,)
    for declare in (
        lambda: builder.source(TRADES_INPUT, {}),
        lambda: builder.stream("quotes"),
        lambda: builder.table("recent", int, 1),
        lambda: declared(builder, "more"),
        lambda: agent(builder, trades, name="more"),
        lambda: builder.page("/more", alerts),
    ):
        with pytest.raises(TopologyError, match="declare everything where the app is made"):
            declare()
    assert builder.stream("trades") is trades, "what is there is no new declaration"


def no_source(_builder: TopologyBuilder) -> None: ...


def no_agent(builder: TopologyBuilder) -> None:
    builder.stream("trades")


def no_output(builder: TopologyBuilder) -> None:
    agent(builder, builder.stream("trades"))


def own_log(builder: TopologyBuilder) -> None:
    builder.source(TRADES_INPUT, {})
    agent(builder, builder.stream("trades"))


@pytest.mark.parametrize(
    ("declare", "says"),
    [
        (no_source, "topology x has no source: declare one"),
        (no_agent, "no agent reads k2.trades: declare one with @app.agent"),
        (no_output, r"topology x has no output: declare one with app.output\(...\)"),
        (own_log, "output trades: its topic k2.trades is a source of the same topology"),
    ],
)
def test_an_app_that_could_do_nothing_says_what_to_declare(declare: Any, says: str) -> None:
    builder = TopologyBuilder("x")
    declare(builder)
    with pytest.raises(TopologyError, match=says):
        _ = builder.topology


def recent_as(tables: Any, builder: TopologyBuilder) -> None:
    agent(builder, builder.stream("quotes"), tables=tables)


@pytest.mark.parametrize(
    ("declare", "says"),
    [
        (lambda b: b.stream("trade"), "stream 'trade': expected trades or quotes, or the output"),
        (lambda b: b.source(TRADES_INPUT, {}), "k2.trades.raw: declared before"),
        (lambda b: b.table("position-trades", int, 1), "K2 has a table of that name"),
        (lambda b: b.table("dedup", int, 1), "K2 has a table of that name"),
        (lambda b: agent(b, b.stream("quotes"), function=lambda *_: None), "agent '<lambda>'"),
        (lambda b: agent(b, b.stream("quotes"), on_error="skip"), "expected on_error 'stop'"),
        *(
            (partial(recent_as, tables), r"in tables= what app.Table\(...\) gave, in a list; found")
            for tables in ("recent", ["recent"], Table("recent", int), [declared])
        ),
        (
            lambda b: agent(b, b.stream("quotes"), outputs=[Table("recent", int)]),
            r"in outputs= what app.output\(...\) gave, in a list; found",
        ),
        (
            lambda b: b.output("alerts", SCHEMA, "symbol", "time_ns"),
            r"output alerts: expected key= as a list of columns, found a text: \('symbol',\)",
        ),
        (lambda _: TopologyBuilder("Mine!"), "app 'Mine!': expected a name"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused_where_it_stands(declare: Any, says: str) -> None:
    builder = TopologyBuilder("x")
    builder.source(TRADES_INPUT, {})
    with pytest.raises(TopologyError, match=says):
        declare(builder)


@pytest.mark.parametrize("stream", [TRADES, QUOTES], ids=lambda stream: stream.name)
def test_an_app_has_not_the_name_of_a_stream_of_k2(stream: Stream) -> None:
    """Its dead letters and levels would be those of K2's own app."""
    builder = TopologyBuilder(stream.name)
    agent(builder, builder.stream("trades"), outputs=[declared(builder)])
    with pytest.raises(TopologyError, match=f"topics k2.{stream.name}.*: take another name"):
        _ = builder.topology
