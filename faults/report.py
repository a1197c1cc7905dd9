"""The table of a run, and what its counts prove."""

import datetime as dt
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from faults.oracle import Outcome
from k2_streams.failpoints import POINTS

RESULTS = Path(__file__).parent / "results"


def keep(text: str, name: str) -> None:
    """Write a run's table to a file of `RESULTS`, under its time and name."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{dt.datetime.now(dt.UTC):%Y%m%d-%H%M%S}-{name}.md").write_text(text)


@dataclass(frozen=True, slots=True)
class Row:
    """A fault, how often, what came of it, and how long each recovery took."""

    fault: str
    times: int
    outcome: Outcome
    recovered_s: tuple[float, ...]


def rendered(
    rows: Sequence[Row],
    counts: Mapping[str, int],
    points: Counter[tuple[str, str]],
    seed: int,
    plan: str,
) -> str:
    """Markdown."""
    lines = [
        f"# Faults, plan {plan}, seed {seed}",
        "",
        "| fault | times | records | lost | doubled | wrong | recovery median s | worst s |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        found, times_s = row.outcome, row.recovered_s
        median = f"{statistics.median(times_s):.1f}" if times_s else ""
        worst = f"{max(times_s):.1f}" if times_s else ""
        lines.append(
            f"| {row.fault} | {row.times} | {found.records:,} | {found.lost} | {found.doubled} "
            f"| {found.wrong} | {median} | {worst} |"
        )
    lines += ["", "| counted | |", "|---|---:|"]
    lines += [f"| {what} | {count} |" for what, count in sorted(counts.items())]
    hit = Counter[str]()
    for (point, _), count in points.items():
        hit[point] += count
    never = [point for point in POINTS if not hit[point]]
    lines += ["", f"Failpoints hit: {len(POINTS) - len(never)} of {len(POINTS)}."]
    if never:
        lines.append(f"Never hit: {', '.join(never)}.")
    lines += ["", "| failpoint | times |", "|---|---:|"]
    lines += [f"| {point} | {hit[point]} |" for point in POINTS]
    lines += ["", *_bounds(rows)]
    return "\n".join(lines) + "\n"


def _bounds(rows: Sequence[Row]) -> list[str]:
    """The rule of three: none seen in n tries, so below 3/n with 95 % confidence."""
    faults = sum(row.times for row in rows[:-1])
    records = rows[-1].outcome.records
    found = rows[-1].outcome
    if found.lost or found.doubled or found.wrong or not faults or not records:
        return ["Something differs: no bound follows."]
    return [
        (
            f"No loss and no double in {faults} faults and {records:,} records: with 95 % "
            f"confidence a fault of these kinds does harm in fewer than {3 / faults:.2%} of cases, "
            f"and fewer than {3 / records:.1e} of the records sent through such faults are lost "
            "or doubled (rule of three; it holds for faults like these, not for those that were "
            "not tried)."
        )
    ]
