"""The settings of a worker that are about what becomes of records: load, sequence, trade ids."""

from pathlib import Path
from typing import Annotated, ClassVar

from k2_streams.core.load.checkpoint_pace import DEFAULT_PACE
from k2_streams.core.load.degradation import DEFAULT_TRIGGERS, Level, Policy
from k2_streams.core.sequence.horizon import LATE_HORIZON_MS
from k2_streams.core.sequence.sessions import CONFLICT_TOLERANCE_MS
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
_BY_MEMORY = tuple(DEFAULT_TRIGGERS)
#: A paused source cannot shrink its lag: the highest level is called for by memory alone.
_BY_LAG = _BY_MEMORY[:-1]
assert _BY_MEMORY[-1] is Level.CIRCUIT_BREAK  # noqa: S101 - the order of a constant


def _rising(count: int, most: float) -> str:
    return f"{count} numbers by comma, rising, above 0 and up to {most:g}"


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
