"""`k2.App`: what a user declares and what Faust itself asks for go their own ways."""

import logging
from pathlib import Path
from typing import Any

import faust
import pyarrow as pa
import pytest
import structlog

import k2_streams as k2
from k2_streams.feeds.feed import FEEDS, feeds_of
from k2_streams.feeds.quote_feeds import QUOTE_FEEDS
from k2_streams.feeds.venues.kraken import KrakenV1

SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("time_ns", pa.int64(), nullable=False),
    ]
)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K2_DATA_DIR", str(tmp_path))


@pytest.fixture
def app() -> k2.App:
    return k2.App("surveillance")


def surveillance(app: k2.App) -> Any:
    """The topology of the module's docstring; the agent's function."""
    trades = app.stream("trades")
    recent = app.Table("recent", value=int)
    alerts = app.output("alerts", schema=SCHEMA, key=("symbol",), time="time_ns")

    @app.agent(trades, tables=[recent], outputs=[alerts], on_error="dead-letter")
    def wash_trades(_batch: pa.RecordBatch, ctx: k2.Context) -> None:
        ctx.emit(alerts, pa.RecordBatch.from_pylist([], SCHEMA))

    return wash_trades


def test_an_agent_stays_the_function_that_it_is(app: k2.App) -> None:
    """A test can call it, and so can another agent."""
    function = surveillance(app)
    (agent,) = app.topology.agents
    assert agent.function is function
    assert (function.__name__, agent.name) == ("wash_trades", "wash_trades")
    assert agent.on_error is k2.OnError.DEAD_LETTER


def test_every_topic_is_delivered_to_the_worker_once(app: k2.App) -> None:
    surveillance(app)
    app.stream("trades")
    assert sorted(app.agents) == ["deliver-k2.alerts", "deliver-k2.trades"]


def test_settings_have_the_defaults_of_the_app(
    app: k2.App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = app.settings
    assert (settings.app_id, settings.web_port) == ("surveillance", 6066)
    assert settings.worker_dir == tmp_path / "surveillance-worker-0"
    assert k2.App("b", web_port=7000, folder="c").settings.worker_dir == tmp_path / "c-0"
    assert k2.App("b", web_port=7000).settings.web_port == 7000
    monkeypatch.setenv("K2_APP_ID", "Second.Deployment")
    monkeypatch.setenv("K2_WEB_PORT", "9000")
    second = k2.App("surveillance")
    surveillance(second)
    assert (second.settings.app_id, second.settings.web_port) == ("Second.Deployment", 9000)
    assert second.topology.name == "surveillance", "topics do not depend on the group"


def test_a_raw_topic_has_the_feeds_of_its_stream() -> None:
    trades, quotes, one = k2.App("t"), k2.App("q"), k2.App("o")
    assert trades.source(k2.TRADES_INPUT).feeds == FEEDS
    assert quotes.source(k2.QUOTES_INPUT).feeds == QUOTE_FEEDS
    own = feeds_of(KrakenV1())
    assert one.source(k2.TRADES_INPUT, feeds=own).feeds == own
    topics = (
        "k2.dead-letter", "k2.levels", "k2.sequence-events", "k2.trades", "k2.trades.raw",
        "k2.trades.repairs",
    )  # fmt: skip
    assert sorted(trades.agents) == [f"deliver-{topic}" for topic in topics]


def test_a_raw_topic_of_a_stream_that_k2_does_not_know_needs_feeds(app: k2.App) -> None:
    stream = k2.Stream.of_output("depth", SCHEMA, key=("symbol",), time="time_ns")
    raw = k2.RawInput(
        stream, SCHEMA, "depth", 6266, "k2.depth.events", "k2.depth.dead-letter", "k2.depth.levels"
    )
    with pytest.raises(k2.TopologyError, match=r"k2\.depth\.raw: K2 has no feeds for depth: pass"):
        app.source(raw)
    assert app.agents == {}, "nothing is delivered of what is not declared"


def test_a_topology_without_a_source_of_k2_says_so(app: k2.App) -> None:
    with pytest.raises(k2.TopologyError, match="topology surveillance has no source"):
        _ = app.topology


def test_a_key_that_could_not_be_asked_for_is_refused_where_it_is_declared(app: k2.App) -> None:
    schema = pa.schema([*SCHEMA, pa.field("limit", pa.int64(), nullable=False)])
    with pytest.raises(k2.TopologyError, match="output risk: key column 'limit' has the name of a"):
        app.output("risk", schema=schema, key=("limit",), time="time_ns")


# -- what is Faust's -----------------------------------------------------------------------------


async def test_a_channel_makes_a_stream_and_an_agent_of_faust(app: k2.App) -> None:
    surveillance(app)
    channel = app.channel(value_type=int)

    @app.agent(channel, name="counts", concurrency=2)
    async def counts(stream: Any) -> None:
        async for _ in stream:
            pass

    assert "counts" in app.agents
    assert [one.name for one in app.topology.agents] == ["wash_trades"]
    assert isinstance(app.stream(channel), faust.Stream)


def test_an_agent_without_a_source_of_k2_is_refused_with_what_to_pass(app: k2.App) -> None:
    alerts = app.output("alerts", schema=SCHEMA, key=("symbol",), time="time_ns")
    for wrong in (alerts, k2.TRADES, k2.TRADES_INPUT):
        with pytest.raises(k2.TopologyError, match=r"expected a source: pass what app\.source"):
            app.agent(wrong)
    with pytest.raises(k2.TopologyError, match=r"agent on k2\.trades: expected a source"):
        app.agent("k2.trades", outputs=[alerts])


def test_a_page_without_options_of_faust_is_k2s(app: k2.App) -> None:
    surveillance(app)

    @app.page("/today")
    async def today(_request: Any) -> dict[str, int]:
        return {}

    assert [(page.path, page.function) for page in app.pages] == [("/today", today)]

    @app.page("/view", name="view")
    async def view(_self: Any, _request: Any) -> None: ...

    assert len(app.pages) == 1
    assert view.view_path == "/view"


async def test_a_table_of_faust_is_refused_at_start(
    app: k2.App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows would be in no checkpoint."""
    surveillance(app)
    app.SetTable("seen")
    ended = []
    monkeypatch.setattr(type(app), "_end", staticmethod(lambda code, text: ended.append(text)))
    with pytest.raises(k2.TopologyError):
        await app.on_start()
    (text,) = ended
    assert text.startswith("table seen: Faust's tables are in no checkpoint of K2: declare app.Ta")


def test_declaring_an_app_changes_nothing_of_the_logs_of_the_process():
    """Commands and tests import topologies: a worker sets its log up when it starts."""
    before, handlers = structlog.get_config(), list(logging.root.handlers)
    k2.App("logs")
    assert structlog.get_config() == before
    assert logging.root.handlers == handlers


def test_a_query_node_starts_its_web_server_and_nothing_of_kafka(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("K2_ROLE", "query")
    node = k2.App("surveillance")
    surveillance(node)
    assert node.delivered_topics == frozenset()
    started = {type(one).__name__ for one in node.boot_strategy.server()}
    assert started & {"BoundedWeb", "BatchConsumer", "AgentManager", "Conductor"} == {"BoundedWeb"}
