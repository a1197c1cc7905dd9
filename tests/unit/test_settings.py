"""Settings: read once, checked, with the name of the one that cannot be used."""

from pathlib import Path

import pytest

from k2_streams.core.load.degradation import Level, Policy, Trigger
from k2_streams.runtime.control.memory import query_limit_bytes
from k2_streams.runtime.settings.worker import SettingsError, from_environment


def test_defaults_are_a_worker_on_loopback() -> None:
    """Without any setting: a local broker, a sqlite catalog in the data directory, no keys."""
    found = from_environment({})
    assert found.kafka.bootstrap == "127.0.0.1:9092"
    assert found.web_host == "127.0.0.1"
    assert found.web_port == 6066
    assert found.lake.catalog_uri.startswith("sqlite:///")
    assert found.member_id == "k2-0"


def test_a_second_worker_has_its_own_port_and_folder() -> None:
    """K2_WORKER_ID moves both, and the static member id."""
    found = from_environment({"K2_WORKER_ID": "2", "K2_DATA_DIR": "/srv/k2"})
    assert found.web_port == 6068
    assert found.worker_dir == Path("/srv/k2/worker-2")
    assert found.member_id == "k2-2"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("K2_WEB_PORT", "no"),
        ("K2_WEB_PORT", "0"),
        ("K2_PARTITIONS", "-1"),
        ("K2_WORKER_ID", "1000"),
        ("K2_CHECK_PARTITION", "maybe"),
        ("K2_LAKE_COMMIT_INTERVAL_S", "nan"),
        ("K2_LAKE_COMMIT_INTERVAL_S", "0"),
        ("K2_TAIL_MEMORY_BYTES", "12"),
        ("K2_QUERY_MEMORY_BYTES", "0"),
        ("K2_MAX_RATE_PER_S", "-1"),
        ("K2_LAG_TRIGGERS_RECORDS", "1,2"),
        ("K2_LAG_TRIGGERS_RECORDS", "3,2,4"),
        ("K2_LAG_TRIGGERS_S", "0,1,2"),
        ("K2_MEMORY_TRIGGERS_SHARE", "0.1,0.2,0.3,x"),
        ("K2_OVERLOAD", "perhaps"),
    ],
)
def test_a_bad_setting_is_named(name: str, value: str) -> None:
    """The text names the setting, what was expected and what was found."""
    with pytest.raises(SettingsError, match=f"{name}: expected .*, found"):
        from_environment({name: value})


def test_a_host_beyond_loopback_needs_keys() -> None:
    """Refused without keys, taken with them."""
    with pytest.raises(SettingsError, match="K2_API_KEYS"):
        from_environment({"K2_WEB_HOST": "0.0.0.0"})  # noqa: S104 - the point of the test
    found = from_environment({"K2_WEB_HOST": "0.0.0.0", "K2_API_KEYS": "a,b"})  # noqa: S104
    assert found.api_keys == ("a", "b")


def test_secrets_come_from_files_and_are_not_shown(tmp_path: Path) -> None:
    """`*_FILE` names a file; no secret is part of an object's text."""
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    found = from_environment(
        {
            "K2_API_KEYS_FILE": str(secret),
            "K2_KAFKA_SASL_PASSWORD_FILE": str(secret),
            "K2_S3_SECRET_ACCESS_KEY_FILE": str(secret),
            "K2_CATALOG_TOKEN": "hunter2",
        }
    )
    assert found.api_keys == ("hunter2",)
    assert found.kafka.sasl_password == "hunter2"  # noqa: S105 - a test's
    assert found.lake.properties == {"s3.secret-access-key": "hunter2", "token": "hunter2"}
    assert "hunter2" not in repr(found)
    with pytest.raises(SettingsError, match="cannot be read"):
        from_environment({"K2_API_KEYS_FILE": str(tmp_path / "absent")})


def test_triggers_of_the_levels_are_settings_and_scale_with_the_capped_rate() -> None:
    """A fiftieth of the reference rate: a fiftieth of the records, the same seconds and shares."""
    found = from_environment(
        {
            "K2_MAX_RATE_PER_S": "2000",
            "K2_LAG_TRIGGERS_RECORDS": "100,200,300",
            "K2_LAG_TRIGGERS_S": "1,2,3",
            "K2_MEMORY_TRIGGERS_SHARE": "0.1,0.2,0.3,0.4",
            "K2_COOL_DOWN_S": "5",
        }
    ).overload
    assert found.max_rate == 2_000
    assert found.policy == Policy(
        {
            Level.SOFT: Trigger(0.1, 2.0, 1.0),
            Level.GRACEFUL: Trigger(0.2, 4.0, 2.0),
            Level.AGGRESSIVE: Trigger(0.3, 6.0, 3.0),
            Level.CIRCUIT_BREAK: Trigger(0.4),
        },
        5.0,
    )
    assert from_environment({}).overload.policy == Policy()


def test_an_object_store_of_ones_own_has_a_region() -> None:
    """Whoever signs a request names one; without it Amazon would be asked of our bucket."""

    def region(**more: str) -> str | None:
        return from_environment(more).lake.properties.get("s3.region")

    assert region(K2_S3_ENDPOINT="http://127.0.0.1:9000") == "us-east-1"
    assert region(K2_S3_ENDPOINT="http://127.0.0.1:9000", K2_S3_REGION="local") == "local"
    assert region(K2_S3_ACCESS_KEY_ID="x") is None


@pytest.mark.parametrize(
    ("limit_mib", "queries_mib"), [(64, 64), (512, 64), (2_048, 256), (4_096, 512), (1 << 20, 512)]
)
def test_queries_leave_a_small_worker_its_room(limit_mib, queries_mib):
    assert query_limit_bytes(limit_mib << 20) == queries_mib << 20
