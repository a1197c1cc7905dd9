"""Every topic of a topology, and what each must be."""

from typing import Any

import pyarrow as pa
import pytest
from raw_agents import raw_agent, raw_topology

from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.records.source import QUOTES_INPUT, TRADES_INPUT
from k2_streams.core.records.stream import TRADES
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.topics import stream_topics
from k2_streams.runtime.control.topic_watch import TopicWatch
from k2_streams.runtime.settings.worker import from_environment
from k2_streams.runtime.topics import topics_of
from k2_streams.topology.declarations import (
    Agent,
    Output,
    StreamSource,
    Table,
    Topology,
)

SETTINGS = from_environment({"K2_APP_ID": "second", "K2_PARTITIONS": "3"})
SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("time_ns", pa.int64(), nullable=False),
    ]
)


def nothing(_batch: Any, _ctx: Any) -> None: ...


def bars_of(source: StreamSource) -> Topology:
    table, output = (
        Table("bars", int),
        Output.of("bars_1m", SCHEMA, key=("symbol",), time="time_ns"),
    )
    agent = Agent("bars", source, nothing, (table,), (output,))
    return Topology("analytics", (source,), (agent,), (table,), (output,))


BARS = bars_of(StreamSource(TRADES))


def test_a_topology_over_a_log_has_its_source_outputs_tables_and_dead_letters():
    found = {spec.name: spec for spec in topics_of(BARS, SETTINGS)}
    assert sorted(found) == [
        "k2.analytics.levels", "k2.analytics.trades.dead-letter", "k2.bars_1m", "k2.trades",
        "second-bars-changelog", "second-position-trades-changelog",
    ]  # fmt: skip
    assert {spec.partitions for spec in found.values()} == {3}
    for table in ("bars", "position-trades"):
        assert found[f"second-{table}-changelog"].config["cleanup.policy"] == "compact"
    assert found["k2.analytics.trades.dead-letter"].config["retention.ms"] == "-1"
    assert found["k2.bars_1m"].config == found["k2.trades"].config


@pytest.mark.parametrize("source", [TRADES_INPUT, QUOTES_INPUT], ids=lambda one: one.app_id)
def test_a_topology_of_a_raw_topic_has_the_topics_of_its_stream(source):
    """One place knows what they are: tools that make them ask it too."""
    topology = raw_topology("k2", source)
    assert topics_of(topology, SETTINGS) == stream_topics(source, "second", 3)


def test_a_log_is_the_same_for_the_app_that_writes_it_and_for_those_that_read_it():
    """Whichever starts first creates it; no other finds fault with it."""
    writer = topics_of(raw_topology("k2"), SETTINGS)
    (written,) = (spec for spec in writer if spec.name == "k2.trades")
    (read,) = (spec for spec in topics_of(BARS, SETTINGS) if spec.name == "k2.trades")
    assert read == written


def test_a_raw_topic_and_a_log_beside_it_are_both_read():
    log = StreamSource(TRADES)
    output = Output.of("spreads", SCHEMA, key=("symbol",), time="time_ns")
    quotes = raw_agent(QUOTES_INPUT)
    agents = (quotes, Agent("spreads", log, nothing, (), (output,)))
    topology = Topology("both", (quotes.source, log), agents, (), (output,))
    names = [spec.name for spec in topics_of(topology, SETTINGS)]
    assert len(set(names)) == len(names)
    assert {"k2.quotes.raw", "k2.quotes", "k2.trades", "k2.spreads"} <= set(names)


def test_the_broker_dates_the_records_of_a_raw_topic_and_no_others():
    """Those of a log are dated by the task that writes them: they are no reason to stand still."""
    topology = raw_topology("k2")
    for one, dated in ((topology, {"k2.trades.raw"}), (BARS, set())):
        watch = TopicWatch(
            KafkaConfig(),
            lambda: pytest.fail("not asked"),
            topics_of(one, SETTINGS),
            {},
            [source.topic for source in one.sources],
            SYSTEM_CLOCK,
        )
        assert set(watch.append_time_seen_s) == dated
