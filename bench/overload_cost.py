"""What levels, tiers, deferral and enrichment cost while nothing is deferred: on and off in turn.

On: levels, a table of tiers and enrichment, with triggers that the backlog does not reach. Off:
`K2_OVERLOAD=0` and `K2_ENRICH=0`. Each run has a stage of its own, on and off take turns, and the
ratio is of the medians of one call.
"""

import statistics

from bench import throughput
from bench.stage import stage

RUNS = 5
OFF = {"K2_OVERLOAD": "0", "K2_ENRICH": "0"}
TIERS = "SIM:S000*,1\nSIM:S00*,2\n*,3\n"


def run(messages: int = 1_000_000, runs: int = RUNS) -> dict[str, float]:
    """Throughput and CPU with and without, and what it costs in percent (goal: under 3)."""
    found: dict[str, list[dict[str, float]]] = {"on": [], "off": []}
    for turn in range(runs):
        # Who is first in a turn changes: a machine that warms up favours neither.
        for name in ("on", "off") if turn % 2 else ("off", "on"):
            with stage() as at:
                tiers = at.directory / "tiers.csv"
                tiers.write_text(TIERS)
                settings = OFF if name == "off" else {"K2_TIERS_FILE": str(tiers)}
                found[name].append(throughput.once(at, messages, settings=settings))
    figures: dict[str, float] = {}
    for figure in ("msg/s", "CPU s/M", "peak MiB"):
        on, off = (statistics.median(one[figure] for one in found[name]) for name in ("on", "off"))
        figures |= {f"{figure} on": on, f"{figure} off": off}
    figures["throughput lost %"] = 100 * (1 - figures["msg/s on"] / figures["msg/s off"])
    figures["CPU added %"] = 100 * (figures["CPU s/M on"] / figures["CPU s/M off"] - 1)
    return figures
