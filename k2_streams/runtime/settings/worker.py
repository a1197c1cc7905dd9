"""The settings of a worker: read from the environment once, checked, frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Self

from pydantic import Field, SkipValidation

from k2_streams.core.load.checkpoint_pace import PaceBounds
from k2_streams.core.load.circuit_breaker import BreakerPolicy
from k2_streams.core.load.degradation import DEFAULT_TRIGGERS, Policy, Trigger
from k2_streams.core.maintenance.compaction import CompactionPolicy
from k2_streams.kafka.client import KafkaConfig
from k2_streams.lake.config import LakeConfig
from k2_streams.runtime.settings import lake
from k2_streams.runtime.settings.api_keys import read_keys
from k2_streams.runtime.settings.app_defaults import TRADES_DEFAULTS, AppDefaults
from k2_streams.runtime.settings.conflicts import conflicts
from k2_streams.runtime.settings.declare import Declaration, Group, declarations
from k2_streams.runtime.settings.environment import Environment, SettingsError, read
from k2_streams.runtime.settings.groups import WorkerGroups
from k2_streams.runtime.settings.kafka import kafka_config
from k2_streams.runtime.settings.load_groups import IDLE_WORKER_BYTES
from k2_streams.runtime.settings.tools import DevelopmentSettings, LocalBrokerSettings

__all__ = [
    "IDLE_WORKER_BYTES",
    "OverloadSettings",
    "Settings",
    "SettingsError",
    "declared",
    "from_environment",
]

#: Every group of settings, in the order of the reference.
GROUPS: tuple[type[Group], ...] = (WorkerGroups, LocalBrokerSettings, DevelopmentSettings)


@dataclass(frozen=True, slots=True)
class OverloadSettings:
    """What a worker does when more comes than it can process."""

    enabled: bool = True  # False: the level is always NORMAL
    enrich: bool = True  # False: a query computes what is null
    max_rate: int | None = None  # processed records per second; None: what the machine can
    memory_limit_bytes: int | None = None  # None: the cgroups', else the machine's
    tiers_file: Path | None = None  # None: the ASX 20 are tier 1
    policy: Policy = field(default_factory=Policy)


def _overload(values: Mapping[str, Any]) -> OverloadSettings:
    memory: tuple[float, ...] = values["memory_triggers_share"]
    lag = zip(values["lag_triggers_records"], values["lag_triggers_s"], strict=True)
    triggers = {
        level: Trigger(share, *next(lag, ()))
        for level, share in zip(DEFAULT_TRIGGERS, memory, strict=True)
    }
    max_rate: int | None = values["max_rate_per_s"]
    return OverloadSettings(
        enabled=values["overload_enabled"],
        enrich=values["enrich_enabled"],
        max_rate=max_rate,
        memory_limit_bytes=values["memory_limit_bytes"],
        tiers_file=values["tiers_file"],
        policy=Policy(triggers, values["cool_down_s"]).scaled(max_rate),
    )


def _compaction(values: Mapping[str, Any]) -> CompactionPolicy:
    return CompactionPolicy(target_bytes=values["compact_target_mb"] << 20)


def _breaker(values: Mapping[str, Any]) -> BreakerPolicy:
    return BreakerPolicy(
        values["breaker_failures"], values["breaker_open_s"], values["breaker_successes"]
    )


class Settings(WorkerGroups):
    """What a worker is told from outside.

    `Settings(partitions=1, ...)` takes values by field, and the declared defaults for the rest.

    Attributes:
        folder: stem of the folder of a worker's own state, below the data directory.
        kafka: the cluster; by default made of the fields above, as are the others below.
        lake: the catalog and the warehouse.
        overload: what a worker does under load.
        breaker: when the circuit breakers of catalog and object store open and close.
        compaction: how large data files become.
    """

    folder: str = TRADES_DEFAULTS.state_folder
    kafka: SkipValidation[KafkaConfig] = Field(default_factory=kafka_config)
    lake: SkipValidation[LakeConfig] = Field(default_factory=lake.lake_config)
    overload: SkipValidation[OverloadSettings] = Field(default_factory=_overload)
    breaker: SkipValidation[BreakerPolicy] = Field(default_factory=_breaker)
    compaction: SkipValidation[CompactionPolicy] = Field(default_factory=_compaction)

    @property
    def web_port(self) -> int:
        """The port that this worker listens on."""
        return self.web_base_port + self.worker_id

    @property
    def processes(self) -> bool:
        """Whether it is in the consumer group, processes records and writes to the lake."""
        return self.role != "query"

    @property
    def answers(self) -> bool:
        """Whether it follows the logs and answers queries."""
        return self.role != "work"

    @property
    def pace(self) -> PaceBounds:
        """How far apart checkpoints are."""
        return PaceBounds(self.checkpoint_shortest_s, self.checkpoint_longest_s)

    @property
    def worker_dir(self) -> Path:
        """This worker's own state."""
        return self.data_dir / f"{self.folder}-{self.worker_id}"

    @property
    def member_id(self) -> str:
        """Static group membership: a restarted worker takes over at once (KIP-345).

        A query node, which is in no group, has another name than the worker of the same id.
        """
        node = "" if self.processes else "query-"
        return f"{self.app_id}-{node}{self.worker_id}"

    def is_set(self, name: str) -> bool:
        """Whether a field has been given a value."""
        return name in self.model_fields_set

    def with_kafka(self, kafka: KafkaConfig) -> Self:
        """The same settings of another cluster."""
        return self.model_copy(update={"kafka": kafka})


@cache
def declared() -> tuple[Declaration, ...]:
    """Every setting there is."""
    return tuple(one for group in GROUPS for one in declarations(group).values())


def from_environment(
    values: Mapping[str, str] | None = None, defaults: AppDefaults = TRADES_DEFAULTS
) -> Settings:
    """All settings, checked; some have a default of each app's own.

    Args:
        values: the variables; None: those of this process.
        defaults: of the app.

    Raises:
        SettingsError: some cannot be used, or a name that begins with `K2_` is not a setting. The
            text has a line for each.
    """
    environment = Environment(values)
    properties = lake.read_properties(environment)
    settings = read(
        Settings,
        environment,
        defaults={
            "app_id": defaults.app_id,
            "web_base_port": defaults.web_port,
            "folder": defaults.state_folder,
        },
        parsed={"catalog_properties": properties, **read_keys(environment)},
    )
    for group in (LocalBrokerSettings, DevelopmentSettings):  # theirs cannot be wrong either
        read(group, environment)
    for conflict in conflicts(settings):
        environment.refuse(conflict)
    environment.check({one.variable for one in declared()})
    return settings
