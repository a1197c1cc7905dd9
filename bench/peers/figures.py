"""What is measured of a system, and the table of medians and ratios."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

#: What the others are compared with.
K2 = "K2"


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of one system.

    Attributes:
        rate_per_s: messages from the first commit to the last.
        cpu_s_per_million: of its process with all its threads, in the same time; no broker's.
        peak_mib: the largest resident set since the process began.
    """

    rate_per_s: float
    cpu_s_per_million: float
    peak_mib: float


def table(runs: Sequence[Mapping[str, Measured]]) -> dict[str, float]:
    """Medians of each system, then medians of the ratios of K2 to each other one.

    A ratio is one of two figures of the same run: what the machine does beside is in both.
    """
    found: dict[str, float] = {}
    for name in runs[0]:
        of_name = [run[name] for run in runs]
        found[f"{name}: msg/s"] = statistics.median(one.rate_per_s for one in of_name)
        found[f"{name}: CPU s/M"] = statistics.median(one.cpu_s_per_million for one in of_name)
        found[f"{name}: peak MiB"] = statistics.median(one.peak_mib for one in of_name)
    for name in runs[0]:
        if name != K2:
            found[f"K2 / {name}: msg/s"] = _ratio(runs, name, lambda one: one.rate_per_s)
            found[f"K2 / {name}: CPU s/M"] = _ratio(runs, name, lambda one: one.cpu_s_per_million)
    return found


def _ratio(
    runs: Sequence[Mapping[str, Measured]], name: str, figure: Callable[[Measured], float]
) -> float:
    return statistics.median(figure(run[K2]) / figure(run[name]) for run in runs)
