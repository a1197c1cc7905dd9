"""Where settings go that no other test changes."""

import pytest

from k2_streams.core.load.circuit_breaker import BreakerPolicy
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.feeds.feed import FEEDS
from k2_streams.runtime.app import StreamApp
from k2_streams.runtime.settings.worker import from_environment
from k2_streams.runtime.task.tables import memory_of, window_of
from k2_streams.topology.declarations import RawSource, Topology


def test_heartbeats_are_six_times_as_frequent_as_the_session_timeout(tmp_path):
    settings = from_environment({"K2_SESSION_TIMEOUT_S": "12", "K2_DATA_DIR": str(tmp_path)})
    topology = Topology("k2", (RawSource(TRADES_INPUT, FEEDS),), ())
    app = StreamApp(topology, settings)
    assert app.conf.broker_session_timeout == 12
    assert app.conf.broker_heartbeat_interval == 2


def test_the_circuit_breakers_follow_the_settings():
    found = from_environment(
        {"K2_BREAKER_FAILURES": "1", "K2_BREAKER_OPEN_S": "3", "K2_BREAKER_SUCCESSES": "4"}
    ).breaker
    assert found == BreakerPolicy(failures=1, open_s=3.0, successes=4)


@pytest.mark.parametrize("partitions", [1, 4])
def test_the_dedup_window_and_its_filters_follow_the_settings(partitions):
    settings = from_environment(
        {
            "K2_PARTITIONS": str(partitions),
            "K2_DEDUP_TTL_S": "60",
            "K2_DEDUP_EXPECTED_IDS": "4000",
        }
    )
    assert window_of(settings).ttl_ms == 60_000
    more = from_environment({"K2_PARTITIONS": str(partitions), "K2_DEDUP_EXPECTED_IDS": "400000"})
    assert memory_of(more).size_bytes > memory_of(settings).size_bytes
