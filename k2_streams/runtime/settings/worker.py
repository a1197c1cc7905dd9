"""Settings: read from the environment once, checked, frozen. Each is a line in the README."""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from k2_streams.core.load.circuit_breaker import BreakerPolicy
from k2_streams.core.load.degradation import DEFAULT_TRIGGERS, Level, Policy, Trigger
from k2_streams.core.load.tail_quota import DiskBound
from k2_streams.core.records.source import TRADES_INPUT, RawInput
from k2_streams.core.sequence.horizon import LATE_HORIZON_MS
from k2_streams.core.sequence.sessions import CONFLICT_TOLERANCE_MS
from k2_streams.failpoints import Entry
from k2_streams.kafka.client import KafkaConfig
from k2_streams.lake.config import LakeConfig
from k2_streams.runtime.settings import kafka as kafka_settings
from k2_streams.runtime.settings import lake as lake_settings
from k2_streams.runtime.settings.environment import Environment, SettingsError

__all__ = ["OverloadSettings", "Settings", "SettingsError", "from_environment"]

_MIB = 1024 * 1024
_LAST_PORT = 65_535
#: An idle worker with default settings has a resident set of 232 to 250 MiB (measured). With a
#: lower limit its source would be paused from its start on, for ever.
IDLE_WORKER_BYTES = 256 * _MIB


@dataclass(frozen=True, slots=True)
class OverloadSettings:
    """What a worker does when more comes than it can do."""

    enabled: bool = True  # False: the level is always NORMAL
    enrich: bool = True  # False: a query computes what is null
    max_rate: int | None = None  # parsed records a second; None: what the machine can
    memory_limit_bytes: int | None = None  # None: the cgroups', else the machine's
    tiers_file: Path | None = None  # None: the ASX 20 are tier 1
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a worker is told from outside."""

    kafka: KafkaConfig
    lake: LakeConfig
    app_id: str = "k2"
    worker_id: int = 0
    data_dir: Path = Path(".k2")
    folder: str = "worker"
    partitions: int = 4
    replication: int = 1
    web_host: str = "127.0.0.1"
    web_port: int = 6066
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    rate_limit_per_s: int = 60
    check_partition: bool = True
    tail_memory_bytes: int = 256 * _MIB
    query_memory_bytes: int | None = None  # None: by what the process may take
    tail_disk: DiskBound = field(default_factory=DiskBound)
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)
    lake_commit_interval_s: float = 10.0
    lake_commit_rows: int = 1_000_000
    session_timeout_s: float = 6.0
    instruments_file: Path | None = None
    failpoints: tuple[Entry, ...] = ()
    failpoints_record: Path | None = None
    overload: OverloadSettings = field(default_factory=OverloadSettings)
    late_horizon_s: int = LATE_HORIZON_MS // 1000
    conflict_tolerance_ms: int = CONFLICT_TOLERANCE_MS
    dedup_ttl_s: int = 86_400
    dedup_expected_ids: int = 10_000_000
    dedup_false_positive_rate: float = 0.001

    @property
    def worker_dir(self) -> Path:
        """This worker's own state."""
        return self.data_dir / f"{self.folder}-{self.worker_id}"

    @property
    def member_id(self) -> str:
        """Static group membership: a restarted worker takes over at once (KIP-345)."""
        return f"{self.app_id}-{self.worker_id}"


def _flag(value: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    try:
        return known[value.lower()]
    except KeyError:
        raise ValueError from None


def _memory_limit(value: str) -> int | None:
    """Bytes; 0: whatever the cgroups or the machine allow."""
    limit_bytes = int(value)
    if limit_bytes and not IDLE_WORKER_BYTES <= limit_bytes <= 1 << 50:
        raise ValueError
    return limit_bytes or None


def _disk_bound(value: str) -> DiskBound:
    """`50%` of the disk, or bytes."""
    if value.endswith("%"):
        percent = float(value.removesuffix("%"))
        if not 0 < percent <= 100:
            raise ValueError
        return DiskBound(share=percent / 100)
    size_bytes = int(value)
    if size_bytes < _MIB:
        raise ValueError
    return DiskBound(size_bytes=size_bytes)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _overload(env: Environment) -> OverloadSettings:
    levels, by_lag = list(DEFAULT_TRIGGERS), list(DEFAULT_TRIGGERS)[:3]
    defaults = DEFAULT_TRIGGERS
    memory = env.rising(
        "K2_MEMORY_TRIGGERS_SHARE", [defaults[lv].memory_share for lv in levels], 10.0
    )
    lag = env.rising(
        "K2_LAG_TRIGGERS_RECORDS", [defaults[lv].lag_records or 0 for lv in by_lag], 1e12
    )
    lag_s = env.rising("K2_LAG_TRIGGERS_S", [defaults[lv].lag_s or 0 for lv in by_lag], 86_400)
    triggers = {Level.CIRCUIT_BREAK: Trigger(memory[-1])}
    for level, *trigger in zip(by_lag, memory, lag, lag_s, strict=False):
        triggers[level] = Trigger(*trigger)
    max_rate = env.whole("K2_MAX_RATE_PER_S", 0, 0, 100_000_000) or None
    tiers_file = env.text("K2_TIERS_FILE")
    return OverloadSettings(
        enabled=env.parsed("K2_OVERLOAD", default=True, parse=_flag, expected="0 or 1"),
        enrich=env.parsed("K2_ENRICH", default=True, parse=_flag, expected="0 or 1"),
        max_rate=max_rate,
        memory_limit_bytes=env.parsed(
            "K2_MEMORY_LIMIT_BYTES",
            None,
            _memory_limit,
            f"bytes, {IDLE_WORKER_BYTES} ({IDLE_WORKER_BYTES // _MIB} MiB) or more, as an idle "
            "worker takes nearly that",
        ),
        tiers_file=Path(tiers_file).absolute() if tiers_file else None,
        policy=Policy(triggers, env.seconds("K2_COOL_DOWN_S", 30.0)).scaled(max_rate),
    )


def from_environment(
    values: Mapping[str, str] | None = None, source: RawInput = TRADES_INPUT
) -> Settings:
    """All settings, checked; some have a default of each stream's own.

    Raises:
        SettingsError: some cannot be used, or nobody reads a name that begins with `K2_`. The text
            has a line for each.
    """
    env = Environment(os.environ if values is None else values)
    data_dir = Path(env.text("K2_DATA_DIR", ".k2") or ".k2").absolute()
    worker_id = env.whole("K2_WORKER_ID", 0, 0, 999)
    keys = tuple(key for key in (env.text("K2_API_KEYS") or "").split(",") if key)
    web_host = env.text("K2_WEB_HOST", "127.0.0.1") or "127.0.0.1"
    if not keys and not _is_loopback(web_host):
        env.refuse(
            f"K2_WEB_HOST={web_host} is not loopback: set K2_API_KEYS, or listen on 127.0.0.1"
        )
    instruments = env.text("K2_INSTRUMENTS_FILE")
    record = env.text("K2_FAILPOINTS_RECORD")
    settings = Settings(
        kafka=kafka_settings.read(env),
        lake=lake_settings.read(env, data_dir),
        app_id=env.text("K2_APP_ID") or source.app_id,
        worker_id=worker_id,
        data_dir=data_dir,
        folder=source.folder,
        partitions=env.whole("K2_PARTITIONS", 4, 1, 1_000),
        replication=env.whole("K2_REPLICATION", 1, 1, 9),
        web_host=web_host,
        web_port=env.whole("K2_WEB_PORT", source.web_port, 1, _LAST_PORT) + worker_id,
        api_keys=keys,
        rate_limit_per_s=env.whole("K2_RATE_LIMIT_PER_S", 60, 1, 1_000_000),
        check_partition=env.parsed(
            "K2_CHECK_PARTITION", default=True, parse=_flag, expected="0 or 1"
        ),
        tail_memory_bytes=env.whole("K2_TAIL_MEMORY_BYTES", 256 * _MIB, _MIB, 1 << 40),
        query_memory_bytes=env.whole("K2_QUERY_MEMORY_BYTES", 0, 16 * _MIB, 1 << 40) or None,
        tail_disk=env.parsed(
            "K2_TAIL_DISK_LIMIT", DiskBound(), _disk_bound, "bytes from 1 MiB, or a share as 50%"
        ),
        breaker=BreakerPolicy(
            failures=env.whole("K2_BREAKER_FAILURES", 5, 1, 1_000),
            open_s=env.seconds("K2_BREAKER_OPEN_S", 60.0),
            successes=env.whole("K2_BREAKER_SUCCESSES", 2, 1, 1_000),
        ),
        lake_commit_interval_s=env.seconds("K2_LAKE_COMMIT_INTERVAL_S", 10.0),
        lake_commit_rows=env.whole("K2_LAKE_COMMIT_ROWS", 1_000_000, 1, 50_000_000),
        instruments_file=Path(instruments).absolute() if instruments else None,
        session_timeout_s=env.seconds("K2_SESSION_TIMEOUT_S", 6.0),
        failpoints=env.failpoints("K2_FAILPOINTS"),
        failpoints_record=Path(record) if record else None,
        overload=_overload(env),
        late_horizon_s=env.whole("K2_LATE_HORIZON_S", LATE_HORIZON_MS // 1000, 1, 3_660 * 86_400),
        conflict_tolerance_ms=env.whole(
            "K2_CONFLICT_TOLERANCE_MS", CONFLICT_TOLERANCE_MS, 1, 86_400_000
        ),
        dedup_ttl_s=env.whole("K2_DEDUP_TTL_S", 86_400, 1, 30 * 86_400),
        dedup_expected_ids=env.whole("K2_DEDUP_EXPECTED_IDS", 10_000_000, 1, 10**12),
        dedup_false_positive_rate=env.share("K2_DEDUP_FALSE_POSITIVE_RATE", 0.001),
    )
    if settings.web_port > _LAST_PORT:
        env.refuse(
            f"K2_WEB_PORT + K2_WORKER_ID: expected {_LAST_PORT} at most, found {settings.web_port}"
        )
    _check_memory(env, settings)
    env.check()
    return settings


def _check_memory(env: Environment, settings: Settings) -> None:
    """What is set of the memory's parts must fit into what is set of the whole."""
    limit_bytes = settings.overload.memory_limit_bytes
    parts = {
        "K2_TAIL_MEMORY_BYTES": settings.tail_memory_bytes,
        "K2_QUERY_MEMORY_BYTES": settings.query_memory_bytes or 0,
    }
    given = {name: size_bytes for name, size_bytes in parts.items() if env.is_set(name)}
    if limit_bytes and sum(given.values()) >= limit_bytes:
        env.refuse(
            f"{' and '.join(given)}: expected less than K2_MEMORY_LIMIT_BYTES={limit_bytes} "
            f"in all, found {sum(given.values())}"
        )
