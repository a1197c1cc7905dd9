"""The table of a run, and what its counts prove."""

import datetime as dt
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from faults.oracle import Outcome
from k2_streams.failpoints import WORKER_POINTS

RESULTS = Path(__file__).parent / "results"
#: The only counts that are the most of all groups; the others are sums.
_WORST = "at worst"


def keep(text: str, name: str) -> None:
    """Write a run's table to a file of `RESULTS`, under its time and name."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{dt.datetime.now(dt.UTC):%Y%m%d-%H%M%S}-{name}.md").write_text(text)


@dataclass(frozen=True, slots=True)
class Row:
    """A fault, how often, what came of it, how long each recovery took, and all of it."""

    fault: str
    times: int
    outcome: Outcome
    recovered_s: tuple[float, ...]
    took_s: float = 0.0

    def line(self) -> str:
        """In words."""
        found = self.outcome
        return (
            f"{self.fault}: {self.times} times, {found.records:,} records, {found.lost} lost, "
            f"{found.doubled} doubled, {found.wrong} wrong, in {self.took_s:.0f} s"
        )

    def cells(self) -> str:
        """In the table."""
        found, times_s = self.outcome, sorted(self.recovered_s)
        median = f"{statistics.median(times_s):.1f}" if times_s else ""
        p99 = f"{times_s[math.ceil(0.99 * len(times_s)) - 1]:.1f}" if times_s else ""
        worst = f"{times_s[-1]:.1f}" if times_s else ""
        return (
            f"| {self.fault} | {self.times} | {found.records:,} | {found.lost} | {found.doubled} "
            f"| {found.wrong} | {median} | {p99} | {worst} | {self.took_s:.0f} |"
        )


@dataclass(slots=True)
class Report:
    """What came of each group."""

    rows: dict[str, list[Row]] = field(default_factory=dict)  # the last of each is all of it
    skipped: dict[str, str] = field(default_factory=dict)
    _counts: Counter[str] = field(default_factory=Counter)
    _points: Counter[str] = field(default_factory=Counter)
    _notes: list[str] = field(default_factory=list)

    def add(
        self,
        group: str,
        rows: list[Row],
        counts: Mapping[str, int],
        points: Mapping[tuple[str, str], int],
        notes: Sequence[str],
    ) -> None:
        """One group more."""
        self.rows[group] = rows
        for what, count in counts.items():
            so_far = self._counts[what]
            self._counts[what] = max(so_far, count) if what.endswith(_WORST) else so_far + count
        for (point, _), count in points.items():
            self._points[point] += count
        self._notes += ["", *notes] if notes else []

    @property
    def well(self) -> bool:
        """Nothing differs."""
        return not any(row.outcome.differs for rows in self.rows.values() for row in rows)

    def rendered(self, seed: int, plan: str) -> str:
        """Markdown."""
        lines = [
            f"# Faults, plan {plan}, seed {seed}",
            "",
            (
                "| fault | times | records | lost | doubled | wrong | recovery median s | p99 s "
                "| worst s | took s |"
            ),
            "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        ]
        for group, rows in self.rows.items():
            lines.append(f"| **{group}** | | | | | | | | | |")
            lines += [row.cells() for row in rows]
        lines += [f"| **{group}** | skipped: {why} |" for group, why in self.skipped.items()]
        lines += [*self._notes, "", "| counted | |", "|---|---:|"]
        lines += [f"| {what} | {count} |" for what, count in sorted(self._counts.items())]
        if self._points:
            lines += self._failpoints()
        return "\n".join([*lines, "", *self._bounds()]) + "\n"

    def _failpoints(self) -> list[str]:
        never = [point for point in WORKER_POINTS if not self._points[point]]
        lines = ["", f"Failpoints hit: {len(WORKER_POINTS) - len(never)} of {len(WORKER_POINTS)}."]
        if never:
            lines.append(f"Never hit: {', '.join(never)}.")
        lines += ["", "| failpoint | times |", "|---|---:|"]
        return lines + [f"| {point} | {self._points[point]} |" for point in WORKER_POINTS]

    def _bounds(self) -> list[str]:
        """The rule of three: none seen in n tries, so below 3/n with 95 % confidence."""
        wholes = [rows[-1] for rows in self.rows.values()]
        faults = sum(row.times for row in wholes)
        records = sum(row.outcome.records for row in wholes)
        if not self.well or not faults or not records:
            return ["Something differs: no bound follows."]
        return [
            (
                f"No loss and no double in {faults} faults and {records:,} records: with 95 % "
                "confidence a fault of these kinds does harm in fewer than "
                f"{min(3 / faults, 1.0):.2%} of cases, and fewer than {3 / records:.1e} of the "
                "records sent through such faults are lost or doubled (rule of three; it holds for "
                "faults like these, not for those that were not tried)."
            )
        ]
