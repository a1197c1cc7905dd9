"""Settings of what runs beside a worker: the local broker, and the tests of K2 itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from k2_streams.runtime.settings import parsing
from k2_streams.runtime.settings.declare import Group, setting
from k2_streams.runtime.settings.environment import Environment, GroupT, read


class LocalBrokerSettings(Group):
    """Read by `k2 up`, `k2 broker`, `k2 demo` and the tests."""

    heading: ClassVar[str] = "Local broker"

    broker_port: int = setting(
        parsing.DEFAULT_KAFKA_PORT,
        "Port on 127.0.0.1; 0 is any free one. On another port than the default, set "
        "`K2_BOOTSTRAP` for the other commands: `k2 up` prints it",
        ge=0,
        le=parsing.LAST_PORT,
    )
    kafka_jars: Annotated[Path, parsing.ABSOLUTE] | None = setting(
        None,
        "Folder of Kafka's jars, as `k2 broker fetch` fills it",
        expected="a folder",
        default_text="`.cache/kafka/lib` of the checkout, else `~/.cache/k2-streams/kafka/lib`",
    )
    java_home: Path | None = setting(
        None,
        "Java installation that runs the broker",
        variable="JAVA_HOME",
        expected="a folder",
        default_text="`java` on the path",
    )


class DevelopmentSettings(Group):
    """Read by tests, faults and benchmarks of K2. A worker ignores them."""

    heading: ClassVar[str] = "Development"

    fuzz_duration_s: float = setting(
        0.0,
        "Time to fuzz each feed's decoder; `make check-long` sets it",
        unit="s",
        ge=0,
        le=86_400,
    )
    faults_isolated: bool = setting(
        False,  # noqa: FBT003 - a value, as the others
        "1 says that `make faults` already runs in namespaces of its own",
    )
    rest_jars: Annotated[Path, parsing.ABSOLUTE] | None = setting(
        None,
        "Folder of a REST catalog's jars, as `make rest-jars` fills it",
        expected="a folder",
        default_text="`.cache/rest-catalog/lib` of the checkout",
    )
    store_jars: Annotated[Path, parsing.ABSOLUTE] | None = setting(
        None,
        "Folder of an S3-compatible server's jars, as `make store-jars` fills it",
        expected="a folder",
        default_text="`.cache/object-store/lib` of the checkout",
    )
    tests_lake: Literal["local", "s3"] = setting(
        "local", "Where the integration tests have their lake; `make test-s3` sets it"
    )
    tests_may_delete_topics: bool = setting(
        False,  # noqa: FBT003 - a value, as the others
        "1 allows the tests to delete topics on the Kafka that `K2_BOOTSTRAP` names",
    )
    test_control: int | None = setting(
        None, "Port at which a test controls a worker from outside", ge=1, le=parsing.LAST_PORT
    )


def local_broker_settings(values: Mapping[str, str] | None = None) -> LocalBrokerSettings:
    """Those of the local broker, whatever else is set.

    Raises:
        SettingsError: one of them cannot be used.
    """
    return _only(LocalBrokerSettings, values)


def development_settings(values: Mapping[str, str] | None = None) -> DevelopmentSettings:
    """Those of tests, faults and benchmarks, whatever else is set.

    Raises:
        SettingsError: one of them cannot be used.
    """
    return _only(DevelopmentSettings, values)


def _only(group: type[GroupT], values: Mapping[str, str] | None) -> GroupT:
    environment = Environment(values)
    found = read(group, environment)
    environment.check()
    return found
