"""`python -m bench [NAME [ARGUMENT=NUMBER...]...]`: without a name throughput, freshness, query.

`python -m bench lake_away seconds=30 rate=5000`: what can be given is in each `run`.
"""

import datetime as dt
import platform
import sys
from collections.abc import Callable
from pathlib import Path

from bench import (
    agents,
    bad_records,
    bars,
    client,
    cost,
    dedup,
    dedup_kills,
    freshness,
    kills,
    lake_away,
    ledger,
    maintenance,
    million,
    mixed,
    overload_cost,
    overload_kills,
    page,
    query,
    scale,
    small_files,
    start,
    stream,
    symbols,
    throughput,
    web_load,
)
from bench.peers import compare

BENCHMARKS: dict[str, Callable[..., dict[str, float]]] = {
    "agents": agents.run,
    "throughput": throughput.run,
    "freshness": freshness.run,
    "query": query.run,
    "bars": bars.run,
    "client": client.run,
    "cost": cost.run,
    "small_files": small_files.run,
    "peers": compare.run,
    "kills": kills.run,
    "overload_cost": overload_cost.run,
    "million": million.run,
    "mixed": mixed.run,
    "bad_records": bad_records.run,
    "lake_away": lake_away.run,
    "ledger": ledger.run,
    "maintenance": maintenance.run,
    "maintenance_month": maintenance.month,
    "overload_kills": overload_kills.run,
    "page": page.run,
    "scale": scale.run,
    "scale_changes": scale.changes,
    "start": start.run,
    "stream": stream.run,
    "symbols": symbols.run,
    "dedup": dedup.run,
    "dedup_kills": dedup_kills.run,
    "idle_connections": web_load.idle_connections,
    "stalled_readers": web_load.stalled_readers,
    "heavy_queries": web_load.heavy_queries,
}
DEFAULT = ("throughput", "freshness", "query")
RESULTS = Path(__file__).parent / "results"


def main(names: list[str]) -> int:
    """Run, print one table per benchmark, and write them to bench/results/."""
    asked: list[tuple[str, dict[str, int | float]]] = []
    for word in names or DEFAULT:
        name, given, value = word.partition("=")
        if given and asked:
            asked[-1][1][name] = float(value) if "." in value else int(value)
        else:
            asked.append((word, {}))
    unknown = [name for name, _ in asked if name not in BENCHMARKS]
    if unknown:
        print(f"expected some of {', '.join(BENCHMARKS)}, found {', '.join(unknown)}")
        return 2
    lines = [f"# {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC, Python {platform.python_version()}"]
    for name, arguments in asked:
        print(f"{name} {arguments or ''} ...", flush=True)
        figures = BENCHMARKS[name](**arguments)
        table = [f"\n## {name}\n", "| figure | |", "|---|---|"]
        table += [f"| {figure} | {value:,.2f} |" for figure, value in figures.items()]
        print("\n".join(table), flush=True)
        lines += table
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{dt.datetime.now(dt.UTC):%Y%m%d-%H%M%S}.md").write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
