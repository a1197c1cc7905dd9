"""What a load is asked for with: the options of `k2 produce`, as values."""

from dataclasses import dataclass
from pathlib import Path

from k2_streams.clock import Clock
from k2_streams.testing.load.symbol_tiers import SymbolTiers

#: Of recordings faults can be made by editing: the shares of `LoadOptions` with these names.
EDITS = ("gaps", "duplicates", "disorder", "late")


class LoadOptionsError(ValueError):
    """Options that do not go together; the text names them and says what was expected."""


class LoadError(Exception):
    """The load cannot begin, or cannot go on; the text says why and what has been sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """One run of the load generator; each field is the option of that name.

    Shares (`gaps` to `invalid`) are of the messages, from 0 to 0.5. `resets` is a share below 1, a
    count from 1 on.
    """

    rate: str = "0"
    event_rate: float | None = None
    messages: int | None = None
    duration: float | None = None
    symbols: int = 1_000
    skew: float = 1.0
    tiers: SymbolTiers | None = None
    tiers_file: Path | None = None
    watch: str | None = None
    seed: int | None = None
    start: int | None = None  # nanoseconds since 1970
    exchange: str | None = None
    gaps: float = 0.0
    duplicates: float = 0.0
    disorder: float = 0.0
    late: float = 0.0
    invalid: float = 0.0
    invalid_kinds: tuple[int, ...] | None = None  # indices into `invalid.KINDS`
    ids: bool = False
    resets: float = 0.0
    session: str | None = None
    feed: str | None = None
    lines: bool = False
    repeat: int = 1
    truth: Path | None = None
    bootstrap: str | None = None
    stream: str = "trades"
    topic: str | None = None
    compression: str = "none"
    files: tuple[Path, ...] = ()


def whole_second(clock: Clock) -> int:
    """The second that has just begun, in nanoseconds since 1970."""
    return clock.time_ns() // 1_000_000_000 * 1_000_000_000
