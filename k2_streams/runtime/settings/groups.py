"""Every setting of a worker. To add one, add a field here: the rest is derived."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from k2_streams.core.load.checkpoint_pace import DEFAULT_PACE
from k2_streams.core.load.circuit_breaker import BreakerPolicy
from k2_streams.core.load.degradation import DEFAULT_TRIGGERS, Level, Policy
from k2_streams.core.load.tail_quota import DiskBound
from k2_streams.core.query.bars.conditions import ConditionRules
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.sequence.horizon import LATE_HORIZON_MS
from k2_streams.core.sequence.sessions import CONFLICT_TOLERANCE_MS
from k2_streams.core.subscription.limits import STREAMS_MAX
from k2_streams.failpoints import Entry
from k2_streams.kafka.client import KafkaConfig
from k2_streams.native import Use
from k2_streams.runtime.settings import parsing
from k2_streams.runtime.settings.declare import Group, setting

_MIB = 1024 * 1024
_DAY_S = 86_400
#: Below the deadline of a checkpoint, and far below a session's time-out.
_CHECKPOINT_S_MAX = 5
#: An idle worker with default settings has a resident set of 232 to 250 MiB (measured). With a
#: lower limit its source would be paused from its start on, for ever.
IDLE_WORKER_BYTES = 256 * _MIB
_MEMORY_MAX_BYTES = 1 << 50
_HTTP_URL = re.compile(r"https?://[^\s/]+(/\S*)?")
_APP_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")

_KAFKA, _BREAKER = KafkaConfig(), BreakerPolicy()
_BY_MEMORY = tuple(DEFAULT_TRIGGERS)
#: A paused source cannot shrink its lag: the highest level is called for by memory alone.
_BY_LAG = _BY_MEMORY[:-1]
assert _BY_MEMORY[-1] is Level.CIRCUIT_BREAK  # noqa: S101 - the order of a constant


def _rising(count: int, most: float) -> str:
    return f"{count} numbers by comma, rising, above 0 and up to {most:g}"


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


class DecodingSettings(Group):
    """What decodes records."""

    heading: ClassVar[str] = "Decoding"

    native: Use = setting(
        "auto",
        "`auto` uses the native decoder (package `k2-native`) where it is installed, `off` decodes "
        "in Python alone. Both give the same rows and dead letters",
    )


class LakeSettings(Group):
    """Commits to Iceberg, the tail in front of it, and the memory of queries."""

    heading: ClassVar[str] = "Lake and tail"

    lake_commit_interval_s: float = setting(
        10.0,
        "Longest time from a row's arrival at the sink to the commit that contains it. Queries do "
        "not wait for commits, so they can be rare and files large",
        unit="s",
        gt=0,
        le=_DAY_S,
    )
    lake_commit_rows: int = setting(
        1_000_000,
        "Rows that are committed at once, before the interval ends; bounds the sink's memory, "
        "which pauses the source at two commits' worth",
        unit="rows",
        ge=1,
        le=50_000_000,
    )
    ledger: bool = setting(
        True,  # noqa: FBT003 - a value, as the others
        "1 keeps gap events, dead letters and level changes in Iceberg tables too, and serves "
        "[coverage](../concepts/coverage.md); 0 saves their sinks and tails",
    )
    tail_memory_bytes: int = setting(
        256 * _MIB,
        "Memory for rows of the tail; above it the oldest are written to disk. The tails of "
        "several logs have equal parts of it, but for each of the ledger a sixteenth",
        unit="bytes",
        ge=_MIB,
        le=1 << 40,
    )
    tail_disk_limit: Annotated[DiskBound, parsing.DISK_BOUND] = setting(
        DiskBound(),
        "Disk space for rows of the tail while the lake does not accept them: a share of the disk "
        "space that is free or already the tail's, or bytes. At four fifths of it the source is "
        "paused. The tails of several logs have equal parts of it",
        expected="bytes from 1 MiB, or a share as 50%",
        default_text="`50%`",
    )
    query_memory_bytes: int | None = setting(
        None,
        "Memory for queries; what they leave holds the footers of the lake's files, some 50 KiB "
        "each, which makes the next query two to six times as fast",
        unit="bytes",
        default_text="512 MiB; where the process may use less than 4 GiB "
        "(`K2_MEMORY_LIMIT_BYTES`) an eighth of that, but at least 64 MiB",
        ge=16 * _MIB,
        le=1 << 40,
    )
    conditions_file: Annotated[ConditionRules | None, parsing.CONDITIONS] = setting(
        None,
        "Which trades count in [bars](../how-to/bars.md), by their conditions. Without it all do",
        expected="a CSV file",
    )
    breaker_failures: int = setting(
        _BREAKER.failures,
        "Consecutive failed calls to catalog or object store that open the circuit breaker",
        ge=1,
        le=1_000,
    )
    breaker_open_s: float = setting(
        _BREAKER.open_s,
        "Time that the circuit breaker stays open; then one call at a time is tried",
        unit="s",
        gt=0,
        le=_DAY_S,
    )
    breaker_successes: int = setting(
        _BREAKER.successes,
        "Consecutive successful trials that close the circuit breaker",
        ge=1,
        le=1_000,
    )


class MaintenanceSettings(Group):
    """Compaction and expiry of the Iceberg tables, in the background."""

    heading: ClassVar[str] = "Maintenance"

    maintenance: bool = setting(
        False,  # noqa: FBT003 - a value, as the others
        "1 lets this worker keep the tables small in the background: the table of each log of "
        "which it owns partition 0. See [maintenance](../how-to/maintain-the-lake.md)",
    )
    maintenance_interval_s: float = setting(
        60.0,
        "Time between two looks at what is to be done",
        unit="s",
        gt=0,
        le=_DAY_S,
    )
    compact_target_mb: int = setting(
        256,
        "Size up to which data files are merged, in MiB. Files above three quarters of it stay as "
        "they are",
        unit="MiB",
        ge=1,
        le=4_096,
    )
    delete_delay_s: float = setting(
        3_600.0,
        "Time from the expiry of snapshots to the deletion of the files that they alone reached. A "
        "query that reads one for longer is planned again",
        unit="s",
        ge=0,
        le=30 * _DAY_S,
    )


class LoadSettings(Group):
    """Behaviour under load: [degradation](../concepts/degradation.md)."""

    heading: ClassVar[str] = "Load and enrichment"

    checkpoint_shortest_s: float = setting(
        DEFAULT_PACE.shortest_s,
        "Shortest time between two checkpoints of a partition, where they are quick. Rows are "
        "visible this much later at the most, plus the checkpoint itself",
        unit="s",
        gt=0,
        le=_CHECKPOINT_S_MAX,
    )
    checkpoint_longest_s: float = setting(
        DEFAULT_PACE.longest_s,
        "Longest time between two checkpoints of a partition: of one with a backlog, and where "
        "checkpoints are slow",
        unit="s",
        gt=0,
        le=_CHECKPOINT_S_MAX,
    )
    instruments_file: Annotated[Path, parsing.ABSOLUTE] | None = setting(
        None,
        "Reference data of instruments, for `notional` and for prices at or below zero: "
        "[instruments](../how-to/describe-instruments.md). Without it every multiplier is 1, and "
        "every price is above zero",
        expected="a CSV file",
    )
    tiers_file: Annotated[Path, parsing.ABSOLUTE] | None = setting(
        None,
        "Tiers of keys, which say what is deferred first and what never; read again when it "
        "changes. Without it the ASX 20 are tier 1",
        expected="a CSV file",
    )
    memory_limit_bytes: Annotated[
        int | None, parsing.whole_or_none(IDLE_WORKER_BYTES, _MEMORY_MAX_BYTES)
    ] = setting(
        None,
        "Memory that the process may use; at 95 % of it the source is paused",
        unit="bytes",
        expected=f"bytes, {IDLE_WORKER_BYTES} ({IDLE_WORKER_BYTES // _MIB} MiB) or more, as an "
        "idle worker takes nearly that",
        default_text="the lowest limit of the process's cgroups (its own up to the root, versions "
        "1 and 2), else the machine's memory",
    )
    max_rate_per_s: Annotated[int | None, parsing.whole_or_none(1, 100_000_000)] = setting(
        None,
        "Greatest rate of processed records, for demonstrations; `K2_LAG_TRIGGERS_RECORDS` scales "
        "with it (100,000 is the rate that its default is made for). Deferring is not limited",
        unit="per s",
        expected="a whole number from 0 to 100000000; 0 is no limit",
    )
    cool_down_s: float = setting(
        Policy().cool_down_s,
        "Shortest time at a degradation level before it falls by one",
        unit="s",
        gt=0,
        le=_DAY_S,
    )
    lag_triggers_records: Annotated[
        tuple[float, ...], parsing.BY_COMMA, parsing.rising(len(_BY_LAG), 1e12)
    ] = setting(
        tuple(DEFAULT_TRIGGERS[level].lag_records or 0 for level in _BY_LAG),
        "Lag at which `SOFT`, `GRACEFUL` and `AGGRESSIVE` begin",
        unit="records",
        expected=_rising(len(_BY_LAG), 1e12),
        default_text="`100000,500000,1000000`",
    )
    lag_triggers_s: Annotated[
        tuple[float, ...], parsing.BY_COMMA, parsing.rising(len(_BY_LAG), _DAY_S)
    ] = setting(
        tuple(DEFAULT_TRIGGERS[level].lag_s or 0 for level in _BY_LAG),
        "The same in seconds",
        unit="s",
        expected=_rising(len(_BY_LAG), _DAY_S),
    )
    memory_triggers_share: Annotated[
        tuple[float, ...], parsing.BY_COMMA, parsing.rising(len(_BY_MEMORY), 10.0)
    ] = setting(
        tuple(DEFAULT_TRIGGERS[level].memory_share for level in _BY_MEMORY),
        "Share of the memory at which these and `CIRCUIT_BREAK` begin",
        unit="share",
        expected=_rising(len(_BY_MEMORY), 10.0),
    )
    overload_enabled: bool = setting(
        True,  # noqa: FBT003 - a value, as the others
        "0 keeps the level at `NORMAL`; a backlog from before is still processed",
        variable="K2_OVERLOAD",
    )
    enrich_enabled: bool = setting(
        True,  # noqa: FBT003 - a value, as the others
        "0 leaves `notional` and `tick_direction` to the queries",
        variable="K2_ENRICH",
    )


class SequencingSettings(Group):
    """Late records, and trade ids of feeds without sequence numbers.

    All workers of an application need the same values.
    """

    heading: ClassVar[str] = "Sequencing and deduplication"

    late_horizon_s: int = setting(
        LATE_HORIZON_MS // 1_000,
        "A missing sequence number that arrives within this time is accepted as late and fills its "
        "gap. Then the gap is abandoned, and the number becomes a dead letter (`stale`)",
        unit="s",
        ge=1,
        le=3_660 * _DAY_S,
    )
    conflict_tolerance_ms: int = setting(
        CONFLICT_TOLERANCE_MS,
        "A sequence number that was received before is a duplicate if its event time is at most "
        "this much later than every event time of its session. Otherwise it is another message: "
        "a new session, or a dead letter (`conflicting-duplicate`)",
        unit="ms",
        ge=1,
        le=_DAY_S * 1_000,
    )
    dedup_ttl_s: int = setting(
        _DAY_S,
        "A repeated trade id that arrives within this time of its first copy is dropped. Where the "
        "topic `<app>-dedup-changelog` exists already, its retention must be 8 days and twice this",
        unit="s",
        ge=1,
        le=30 * _DAY_S,
    )
    dedup_expected_ids: int = setting(
        10_000_000,
        "Trade ids expected within that time, of all partitions together: 21 bits of memory each "
        "at the default rate. More ids cost look-ups, never a wrong verdict",
        unit="ids",
        ge=1,
        le=10**12,
    )
    dedup_false_positive_rate: float = setting(
        0.001,
        "Share of new ids that may be looked up in vain",
        unit="share",
        gt=0,
        lt=1,
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
