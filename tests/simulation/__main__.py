"""Many seeds: `python -m simulation --seeds 20000`. One thread a seed, a process a core.

Exit code 1 and the trace of each seed that violates something; 0 if none does.
"""

import argparse
import gc
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import pyarrow as pa

from simulation.world import Outcome, run

#: Traces printed: after the first the others seldom say more.
TRACES_MAX = 3
#: Seeds handed to a process at once.
CHUNK = 8
#: Objects made until a collection: a world makes many that live as long as it.
GC_THRESHOLD = 50_000
#: Seeds between two lines of progress.
PROGRESS = 1_000
#: A partition may need its operator once in so many seeds (ADR 0006): more often is a violation.
SEEDS_PER_OPERATOR = 500


def outcome(seed: int, query_nodes: int) -> Outcome:
    """Of one seed; without its trace if nothing was violated."""
    try:
        found = run(seed, query_nodes=query_nodes)
    except Exception as error:  # noqa: BLE001 - a run that breaks is a finding, with its seed
        return Outcome(seed, f"{type(error).__name__}: {error}")
    return found if found.violation else Outcome(seed, None, [], found.counts)


def one_thread() -> None:
    """Arrow starts threads of its own, which only wait for each other here.

    What was imported is never garbage: to look at it again and again took a tenth of the time.
    """
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


def many(first: int, seeds: int, jobs: int, query_nodes: int) -> int:
    """Run seeds [first, first + seeds); how many violations were found."""
    started_s = time.monotonic()
    totals: Counter[str] = Counter()
    violated: list[int] = []
    with ProcessPoolExecutor(jobs, initializer=one_thread) as pool:
        of_seed = partial(outcome, query_nodes=query_nodes)
        found = pool.map(of_seed, range(first, first + seeds), chunksize=CHUNK)
        for done, each in enumerate(found, 1):
            totals.update(each.counts)
            if each.violation is not None:
                violated.append(each.seed)
                if len(violated) <= TRACES_MAX:
                    print(each.text, flush=True)
            if done % PROGRESS == 0 or done == seeds:
                a_minute = done / (time.monotonic() - started_s) * 60
                print(
                    f"{done} seeds, {len(violated)} violations, {a_minute:,.0f} seeds a minute",
                    flush=True,
                )
    print("in all: " + ", ".join(f"{kind} {count:,}" for kind, count in sorted(totals.items())))
    if violated:
        print(f"violated: {violated[:50]}; `python -m simulation --trace SEED` prints one")
    allowed = 1 + seeds // SEEDS_PER_OPERATOR
    if totals["operator"] > allowed:
        print(f"an operator was needed {totals['operator']} times: at most {allowed} are expected")
        return len(violated) + 1
    return len(violated)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many (default: 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default: 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--trace", type=int, metavar="SEED", help="print one seed's trace instead")
    parser.add_argument("--query-nodes", type=int, default=0, help="beside the workers")
    asked = parser.parse_args()
    if asked.trace is not None:
        one_thread()
        found = run(asked.trace, query_nodes=asked.query_nodes)
        sys.stdout.write(found.text)
        return int(found.violation is not None)
    return int(many(asked.first, asked.seeds, asked.jobs, asked.query_nodes) > 0)


if __name__ == "__main__":
    raise SystemExit(main())
