"""Every setting of a worker, in groups. To add one, add a field to a group: the rest is derived.

Here are those of the process: where things are, who it is, what it answers and logs.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.subscription.limits import STREAMS_MAX
from k2_streams.failpoints import Entry
from k2_streams.kafka.client import KafkaConfig
from k2_streams.native import Use
from k2_streams.runtime.settings import parsing
from k2_streams.runtime.settings.declare import Group, setting
from k2_streams.runtime.settings.lake_groups import LakeSettings, MaintenanceSettings
from k2_streams.runtime.settings.load_groups import LoadSettings, SequencingSettings

_DAY_S = 86_400
_HTTP_URL = re.compile(r"https?://[^\s/]+(/\S*)?")
_APP_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")

_KAFKA = KafkaConfig()

Role = Literal["all", "work", "query"]


@dataclass(frozen=True, slots=True)
class Family:
    """Variables of one prefix whose names another library knows."""

    prefix: str
    heading: str
    purpose: str


class LocationSettings(Group):
    """Kafka, the local files and the lake."""

    heading: ClassVar[str] = "Where things are"

    bootstrap: Annotated[str, parsing.BOOTSTRAP] = setting(
        _KAFKA.bootstrap,
        "Kafka's address; several by comma. The default is the local broker's",
        expected="HOST:PORT, several by comma, with ports from 1 to 65535",
    )
    data_dir: Annotated[Path, parsing.ABSOLUTE] = setting(
        Path(".k2"),
        "Folder of everything local: RocksDB, the default catalog and warehouse, the local broker. "
        "The worker's own part is `worker-<id>`, which one process uses at a time",
        expected="a folder",
    )
    catalog_uri: str | None = setting(
        None,
        "The Iceberg catalog, which all workers share: `sqlite:///...` or another SQL address, or "
        "`http(s)://` of a REST catalog",
        expected="the address of a catalog",
        default_text="SQLite file `catalog.db` in the data directory",
    )
    warehouse: str | None = setting(
        None,
        "Where the Parquet files are: a folder, `file://` or `s3://` "
        "([object store](../how-to/use-an-object-store.md)); with a REST catalog its name for a "
        "warehouse",
        expected="a folder, file:// or s3://",
        default_text="folder `warehouse` in the data directory",
    )
    catalog_properties: dict[str, Any] = setting(
        {},
        "Properties under pyiceberg's own names: "
        '`{"rest.sigv4-enabled": "true", "ssl": {"cabundle": "/ca.pem"}}`. `ssl` and `auth`, whose '
        "values are objects, can be set here only",
        expected='a JSON object as {"rest.sigv4-enabled": "true"}',
        is_secret=True,
    )


class IdentitySettings(Group):
    """What tells one worker, and one application, from another."""

    heading: ClassVar[str] = "Identity and partitions"

    app_id: Annotated[str, parsing.matching(_APP_ID.fullmatch)] = setting(
        TRADES_INPUT.app_id,
        "Consumer group, and the beginning of the transactional ids, the member id and the names "
        "of the changelogs. The names of the other topics do not depend on it",
        expected="1 to 100 of A-Z a-z 0-9 . _ -",
        default_text="the app's name: trades `k2`, quotes `k2-quotes`",
    )
    worker_id: int = setting(
        0,
        "Each worker of an application needs its own. Static group member `<app>-<id>`, so that a "
        "restarted worker gets its partitions back without a rebalance",
        ge=0,
        le=999,
    )
    role: Role = setting(
        "all",
        "What this process does of a worker's work: `work` processes and writes, and answers no "
        "query; `query` answers, outside the consumer group and without state; `all` does both. "
        "See [scaling](../how-to/scaling.md)",
    )
    partitions: int = setting(
        4,
        "Partitions of every topic that K2 creates. The number is part of the state and cannot be "
        "changed in place",
        ge=1,
        le=1_000,
    )
    replication: int = setting(
        1,
        "Replicas of every topic that K2 creates. 1 suits the local broker; use 3 on a cluster",
        ge=1,
        le=9,
    )
    check_partition: bool = setting(
        True,  # noqa: FBT003 - a value, as the others
        "0 accepts a key in any partition. A symbol in two partitions then has two states: its "
        "gaps and duplicates are not found",
    )
    session_timeout_s: float = setting(
        6.0,
        "Time after which Kafka moves the partitions of a worker that sends no heartbeat; "
        "heartbeats are six times as frequent. 6 is the least that a broker accepts by default",
        unit="s",
        gt=0,
        le=_DAY_S,
    )


class WebSettings(Group):
    """The HTTP server of a worker."""

    heading: ClassVar[str] = "Web"

    web_host: str = setting(
        "127.0.0.1",
        "Address to listen on; one beyond loopback needs `K2_API_KEYS`",
        expected="a host name or an IP address",
    )
    web_base_port: int = setting(
        TRADES_INPUT.web_port,
        "Port to listen on, plus the worker id: worker 1 listens on 6067",
        variable="K2_WEB_PORT",
        default_text="the app's, else `6066`; quotes `6166`",
        ge=1,
        le=parsing.LAST_PORT,
    )
    web_cert_file: str | None = setting(
        None,
        "Certificate of the server, with its chain; with it, HTTPS alone is answered. A renewed "
        "file is used from the next connection on",
        expected="a PEM file, beside `K2_WEB_KEY_FILE`",
    )
    web_key_file: str | None = setting(
        None, "Key of that certificate", expected="a PEM file that is not encrypted"
    )
    api_keys: Annotated[tuple[str, ...], parsing.BY_COMMA] = setting(
        (),
        "Keys that requests must carry, by comma; each may read everything. Without keys only this "
        "machine is answered",
        expected="keys by comma",
        is_secret=True,
    )
    keys_file: Annotated[Path, parsing.ABSOLUTE] | None = setting(
        None,
        "Keys with names, exchanges, relations and rates, in TOML; read again when it changes: "
        "[API keys](../how-to/secure.md#api-keys). A file of one line is `K2_API_KEYS`",
        variable="K2_API_KEYS_FILE",
        expected="a TOML file of [[key]] tables, or one line of keys by comma",
    )
    streams: Annotated[tuple[Literal["trades", "quotes"], ...], parsing.BY_COMMA] = setting(
        (),
        "Logs of other apps that this worker reads beside its own and answers from too: "
        "[trades with quotes](../how-to/join-quotes.md). The other app has as many partitions "
        "and the same catalog",
        expected="trades, quotes",
    )
    streams_max: int = setting(
        STREAMS_MAX,
        "[Streams](../how-to/stream.md) that may be open at a time; one more gets 503",
        ge=0,
        le=192,
    )
    rate_limit_per_s: int = setting(
        60,
        "Requests per second and key, or per address where no keys are set",
        unit="per s",
        ge=1,
        le=1_000_000,
    )


class LogSettings(Group):
    """What a process logs."""

    heading: ClassVar[str] = "Log"

    log_format: Literal["console", "json"] = setting(
        "console", "Shape of a log line: fields as `name='value'`, or one JSON object per line"
    )


class TraceSettings(Group):
    """Spans of requests, checkpoints, lake commits and maintenance, by OpenTelemetry."""

    heading: ClassVar[str] = "Traces"

    traces_endpoint: Annotated[str, parsing.matching(_HTTP_URL.fullmatch)] | None = setting(
        None,
        "Collector that takes spans as OTLP over HTTP; install `k2-streams[traces]`. Sampling is "
        "OpenTelemetry's own (`OTEL_TRACES_SAMPLER`)",
        expected="an address as http://localhost:4318/v1/traces",
    )


class CalendarSettings(Group):
    """When exchanges trade."""

    heading: ClassVar[str] = "Exchange sessions"

    calendars: Annotated[dict[str, str], parsing.CALENDARS] = setting(
        {},
        "Calendars of exchanges whose silence is a fault while they trade: `NYSE=XNYS,ASX=XASX`, "
        "by the names of the package exchange-calendars; install `k2-streams[calendars]`. They are "
        "shown by `k2_session_open`, and [NoData](../runbooks/no-data.md) goes by it",
        expected="EXCHANGE=CALENDAR, several by comma, each exchange once",
        default_text="none",
    )


class DecodingSettings(Group):
    """What decodes records."""

    heading: ClassVar[str] = "Decoding"

    native: Use = setting(
        "auto",
        "`auto` uses the native decoder (package `k2-native`) where it is installed, `off` decodes "
        "in Python alone. Both give the same rows and dead letters",
    )


class KafkaSecuritySettings(Group):
    """How a worker, and every `k2` command, connects to Kafka."""

    heading: ClassVar[str] = "Kafka security"

    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = setting(
        "PLAINTEXT", "As Kafka's `security.protocol`"
    )
    kafka_ca_file: str | None = setting(
        None,
        "Certificates of the authority, for `SSL` and `SASL_SSL`",
        expected="a PEM file",
        default_text="the system's",
    )
    kafka_cert_file: str | None = setting(
        None,
        "Certificate that the broker knows K2 by, with its chain. It, its key and the authorities "
        "are read again when they change",
        expected="a PEM file, beside `K2_KAFKA_KEY_FILE`",
    )
    kafka_key_file: str | None = setting(
        None, "Key of that certificate", expected="a PEM file that is not encrypted"
    )
    # aiokafka knows one more: GSSAPI needs what no setting of K2's can give.
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = (
        setting("PLAIN", "As Kafka's `sasl.mechanism`")
    )
    kafka_sasl_username: str | None = setting(
        None, "Needed for `SASL_PLAINTEXT` and `SASL_SSL`, unless the mechanism is `OAUTHBEARER`"
    )
    kafka_sasl_password: str | None = setting(None, "As the user name", is_secret=True)
    kafka_oauth_token_file: str | None = setting(
        None,
        "The token of `OAUTHBEARER`, read at each login: whatever renews it writes the file",
        expected="a file that holds one token",
    )


class FailpointSettings(Group):
    """Faults on purpose: `k2_streams/failpoints.py` lists the points."""

    heading: ClassVar[str] = "Faults for tests"

    failpoints: Annotated[tuple[Entry, ...], parsing.FAILPOINTS] = setting(
        (),
        "Faults to inject at named points: `lake.committing=crash@3;...`",
        expected="POINT=ACTION[@NTH], several by semicolon",
    )
    failpoints_record: Path | None = setting(
        None, "File to which each of them is appended before it happens", expected="a file"
    )


class WorkerGroups(
    LocationSettings,
    IdentitySettings,
    WebSettings,
    LogSettings,
    TraceSettings,
    CalendarSettings,
    DecodingSettings,
    LakeSettings,
    MaintenanceSettings,
    LoadSettings,
    SequencingSettings,
    KafkaSecuritySettings,
    FailpointSettings,
):
    """All settings of a worker."""


FAMILIES = (
    Family(
        "K2_CATALOG_",
        LocationSettings.heading,
        "Properties of pyiceberg by their names, in capitals and with `_` for `.` and `-`: "
        "`K2_CATALOG_TOKEN=x` is `token`, `K2_CATALOG_REST_SIGV4_ENABLED=true` is "
        "`rest.sigv4-enabled`, `K2_CATALOG_HEADER_X_TENANT=a` is `header.x-tenant`. A name that "
        "pyiceberg does not read is an error",
    ),
    Family(
        "K2_S3_",
        LocationSettings.heading,
        "Access to an object store: `K2_S3_ACCESS_KEY_ID`, `K2_S3_SECRET_ACCESS_KEY`, "
        "`K2_S3_REGION`, `K2_S3_ENDPOINT`, and whatever else pyiceberg reads under `s3.*`",
    ),
)
