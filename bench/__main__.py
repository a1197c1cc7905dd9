"""`python -m bench [NAME...]`: without a name throughput, freshness and query."""

import datetime as dt
import platform
import sys
from collections.abc import Callable
from pathlib import Path

from bench import freshness, kills, million, query, throughput

BENCHMARKS: dict[str, Callable[[], dict[str, float]]] = {
    "throughput": throughput.run,
    "freshness": freshness.run,
    "query": query.run,
    "kills": kills.run,
    "million": million.run,
}
DEFAULT = ("throughput", "freshness", "query")
RESULTS = Path(__file__).parent / "results"


def main(names: list[str]) -> int:
    """Run, print a table a benchmark, and keep it in bench/results/."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"expected some of {', '.join(BENCHMARKS)}, found {', '.join(unknown)}")
        return 2
    lines = [f"# {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC, Python {platform.python_version()}"]
    for name in names or DEFAULT:
        print(f"{name} ...", flush=True)
        figures = BENCHMARKS[name]()
        table = [f"\n## {name}\n", "| figure | |", "|---|---|"]
        table += [f"| {figure} | {value:,.2f} |" for figure, value in figures.items()]
        print("\n".join(table), flush=True)
        lines += table
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{dt.datetime.now(dt.UTC):%Y%m%d-%H%M%S}.md").write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
