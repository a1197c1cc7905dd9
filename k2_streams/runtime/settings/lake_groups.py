"""The settings of a worker that are about what it stores and answers: lake, tail, maintenance."""

from typing import Annotated, ClassVar

from k2_streams.core.load.circuit_breaker import BreakerPolicy
from k2_streams.core.load.tail_quota import DiskBound
from k2_streams.core.query.bars.conditions import ConditionRules
from k2_streams.runtime.settings import parsing
from k2_streams.runtime.settings.declare import Group, setting

_MIB = 1024 * 1024
_DAY_S = 86_400
_BREAKER = BreakerPolicy()


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
        "Rows that are committed at once, before the interval ends; bounds the sink's memory: the "
        "source is paused at two commits' worth, what is on its way to the lake included",
        unit="rows",
        ge=1,
        le=50_000_000,
    )
    ledger: bool = setting(
        True,  # noqa: FBT003 - a value, as the others
        "1 keeps gap events, dead letters, level changes and repairs in Iceberg tables too, and "
        "serves [coverage](../concepts/coverage.md); 0 saves their sinks and tails",
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
