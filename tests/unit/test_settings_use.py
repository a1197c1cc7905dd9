"""Where settings go that no other test changes."""

import pytest

from k2_streams.core.load.circuit_breaker import BreakerPolicy
from k2_streams.runtime.app import App
from k2_streams.runtime.settings.worker import from_environment
from k2_streams.runtime.task.market import memory_of, window_of


def test_heartbeats_are_six_times_as_frequent_as_the_session_timeout(tmp_path, monkeypatch):
    monkeypatch.setenv("K2_SESSION_TIMEOUT_S", "12")
    monkeypatch.setenv("K2_DATA_DIR", str(tmp_path))
    app = App("heartbeats")
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
