"""A load above the capacity, from its beginning until its backlog is empty.

normal --`normal_s`--> overload --`overload_s`--> drain --NORMAL, empty backlog--> over

The producer sends on in the drain, a little, so that what is fresh can still be seen.
"""

import enum
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from k2_streams.clock import SYSTEM_CLOCK, Clock
from k2_streams.demo.web import DemoError
from k2_streams.testing.load.messages import Names
from k2_streams.testing.load.symbol_tiers import SymbolTiers
from k2_streams.testing.local.load_watch import LOOK_EVERY_S, TIERS, LoadSample, Watched

EXCHANGE = "SIM"
#: Looks in a row that must find level NORMAL and no backlog: one may fall between two bursts.
CALM_LOOKS = 3
#: Of the time that the capacity needs for what waits; a busy machine, kills and cool-downs.
DRAIN_PATIENCE = 3.0
DRAIN_EXTRA_S = 300.0
#: From the producer's end until its last records are processed.
PROCESSED_TIMEOUT_S = 120.0
FAULTS = {
    "--gaps": "0.1%",
    "--duplicates": "0.1%",
    "--disorder": "0.1%",
    "--late": "0.1%",
    "--invalid": "0.05%",
}


class OverloadPhase(enum.Enum):
    """Of the load; see the drawing above."""

    NORMAL = "normal load"
    OVERLOAD = "overload"
    DRAIN = "low load"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent. Rates are multiples of the worker's capacity.

    Args:
        capacity: `K2_MAX_RATE_PER_S`, records per second.
        times: the capacity, during the overload.
        overload_s: for how long.
        normal_s: before it.
        normal: rate before it.
        little: rate after it.
        symbols: in all.
        tiers: of them.
        seed: of all that is random.
    """

    capacity: int = 1_000
    times: float = 10.0
    overload_s: float = 60.0
    normal_s: float = 15.0
    normal: float = 0.5
    little: float = 0.1
    symbols: int = 1_000
    tiers: SymbolTiers = field(default_factory=SymbolTiers)
    seed: int = 7

    @property
    def drain_s(self) -> float:
        """What the capacity needs, at least, for the backlog."""
        return self.overload_s * (self.times - 1) / (1 - self.little)

    @property
    def drain_within_s(self) -> float:
        """How long it may take."""
        return DRAIN_PATIENCE * self.drain_s + DRAIN_EXTRA_S

    def arguments(self, tiers_file: Path) -> tuple[str, ...]:
        """Of `k2 produce`, but for the truth."""
        rate = (
            f"{self.normal:g}x:{self.normal_s:g},{self.times:g}x:{self.overload_s:g},"
            f"{self.little:g}x:{self.drain_within_s:g}"
        )
        faults = [part for fault in FAULTS.items() for part in fault]
        return (
            *("--rate", rate, "--start", "now", "--seed", str(self.seed)),
            *("--symbols", str(self.symbols), "--exchange", EXCHANGE),
            *("--tiers", self.tiers.text, "--tiers-file", str(tiers_file)),
            *faults,
        )

    def settings(self, tiers_file: Path) -> dict[str, str]:
        """Of the worker."""
        return {"K2_MAX_RATE_PER_S": str(self.capacity), "K2_TIERS_FILE": str(tiers_file)}

    def names(self) -> list[str]:
        """The symbols, by number."""
        return Names(EXCHANGE, self.symbols, None).symbols

    def watched(self, url: str) -> Watched:
        """The first symbol of each tier."""
        names = self.names()
        return Watched(url, EXCHANGE, {tier: names[self.tiers.first_of(tier)] for tier in TIERS})

    def busiest(self, tier: int, count: int) -> list[str]:
        """The first symbols of a tier."""
        begin = self.tiers.first_of(tier)
        sizes = (*self.tiers.symbols, self.symbols - sum(self.tiers.symbols))
        return self.names()[begin : begin + min(count, sizes[tier - 1])]


@dataclass(slots=True)
class OverloadRun:
    """Follows a producer and a worker.

    Attributes:
        samples: what was seen, in order; times in seconds since the first message was seen.
        overload: when the load was above the capacity, of the same clock.
        levels: (time, level) of each change that was seen.
    """

    load: Load
    watched: Watched
    producer: "subprocess.Popen[bytes]"
    clock: Clock = SYSTEM_CLOCK
    sleep: Callable[[float], None] = time.sleep
    samples: list[LoadSample] = field(default_factory=list)
    levels: list[tuple[float, str]] = field(default_factory=list)
    phase: OverloadPhase = OverloadPhase.NORMAL
    began_s: float = 0.0  # since 1970

    @property
    def overload(self) -> tuple[float, float]:
        """When the load was above the capacity, in seconds since the first message."""
        return self.load.normal_s, self.load.normal_s + self.load.overload_s

    def follow(self, see: Callable[["OverloadRun", LoadSample | None], None]) -> None:
        """Look until the backlog is empty, then end the producer and wait for its last records.

        Args:
            see: told after each look; None: no answer.

        Raises:
            DemoError: the producer failed, or it took too long.
        """
        calm = 0
        deadline = float("inf")
        while calm < CALM_LOOKS:
            self.sleep(LOOK_EVERY_S)
            sample = self._look()
            see(self, sample)
            if self.producer.poll() is not None:
                raise DemoError(f"k2 produce ended early, with {self.producer.returncode}")
            if self.phase is OverloadPhase.DRAIN:
                deadline = min(deadline, self.clock.monotonic() + self.load.drain_within_s)
                if sample is not None:
                    waits = sample.level != "NORMAL" or sample.waiting > self.load.capacity
                    calm = 0 if waits else calm + 1
            if self.clock.monotonic() > deadline:
                raise DemoError(
                    f"no level NORMAL without a backlog after {self.load.drain_within_s:.0f} s: "
                    f"{sample}"
                )
        self.phase = OverloadPhase.OVER
        self.producer.terminate()
        if self.producer.wait() != 0:
            raise DemoError(f"k2 produce ended with {self.producer.returncode}")
        deadline = self.clock.monotonic() + PROCESSED_TIMEOUT_S
        while (sample := self._look()) is None or sample.waiting:
            if self.clock.monotonic() > deadline:
                raise DemoError(
                    f"records wait {PROCESSED_TIMEOUT_S:.0f} s after the last: {sample}"
                )
            self.sleep(LOOK_EVERY_S)

    def at_s(self, sample: LoadSample) -> float:
        """When, in seconds since the first message."""
        return sample.at_s - self.began_s

    def highest(self) -> str:
        """The highest level that was seen."""
        return max((name for _, name in self.levels), key=LEVELS.index, default=LEVELS[0])

    def fresh(self, tier: int, begin: float, end: float) -> list[float]:
        """What was seen of a tier between two moments."""
        seen = [s.fresh_s[tier] for s in self.samples if begin <= self.at_s(s) <= end]
        return [value for value in seen if value is not None]

    def _look(self) -> LoadSample | None:
        sample = self.watched.look()
        if sample is None:
            return None
        if sample.sent and not self.began_s:
            self.began_s = sample.at_s
        if not self.began_s:
            return sample
        self.samples.append(sample)
        at_s = self.at_s(sample)
        if not self.levels or self.levels[-1][1] != sample.level:
            self.levels.append((at_s, sample.level))
        begin, end = self.overload
        if self.phase is not OverloadPhase.OVER:
            self.phase = OverloadPhase.NORMAL if at_s < begin else OverloadPhase.OVERLOAD
            if at_s >= end:
                self.phase = OverloadPhase.DRAIN
        return sample


LEVELS = ("NORMAL", "SOFT", "GRACEFUL", "AGGRESSIVE", "CIRCUIT_BREAK")
