"""`python -m faults [--seed N] [--plan short|full|long] [--only NAME ...]`: break it, and compare.

One broker and one lake for the whole run; a segment a fault, with load and 1 % of poison under it.
After each segment the oracle compares what that segment sent; at the end, all of it.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from faults import injections
from faults.oracle import Outcome, judge
from faults.report import Row, keep, rendered
from faults.stage import Stage
from k2_streams.failpoints import POINTS

#: A segment: what happens, and how often in each plan.
SEGMENTS: dict[str, tuple[injections.Injection, dict[str, int]]] = {
    "kill -9 at random": (injections.kill_at_random, {"short": 2, "full": 20, "long": 110}),
    "kill -9 at a failpoint": (
        injections.crash_at_points,
        {"short": 0, "full": len(POINTS), "long": len(POINTS)},
    ),
    "error at a failpoint": (
        injections.raise_at_points,
        {"short": 0, "full": len(POINTS), "long": len(POINTS)},
    ),
    "SIGSTOP at random": (injections.stop_at_random, {"short": 1, "full": 3, "long": 15}),
    "SIGSTOP in mid-commit": (injections.stop_at_points, {"short": 0, "full": 5, "long": 16}),
    "broker kill -9": (injections.kill_broker, {"short": 1, "full": 4, "long": 30}),
    "rebalance storm": (injections.storm, {"short": 1, "full": 5, "long": 25}),
}
#: Seconds a fault, with its recovery.
TAKES_S = {
    "kill -9 at random": 8,
    "kill -9 at a failpoint": 16,
    "error at a failpoint": 9,
    "SIGSTOP at random": 13,
    "SIGSTOP in mid-commit": 20,
    "broker kill -9": 16,
    "rebalance storm": 8,
}


def main(arguments: list[str]) -> int:
    """Run a plan, print its table and keep it in faults/results/; 1 if anything differs."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plan", choices=("short", "full", "long"), default="full")
    parser.add_argument("--only", nargs="*", choices=list(SEGMENTS), default=list(SEGMENTS))
    parser.add_argument("--rate", type=float, default=3_000.0, help="messages a second")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--minutes", type=float, help="for all segments; then fewer of each")
    parser.add_argument("--keep", type=Path, help="a folder to leave everything in")
    chosen = parser.parse_args(arguments)
    # Whoever ends the run ends what it started, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="k2-faults-") as folder:
        stage = Stage(chosen.keep or Path(folder), chosen.seed)
        try:
            text, well = _run(stage, chosen)
        finally:
            stage.close()
    print(text, flush=True)
    keep(text, f"{chosen.plan}-seed-{chosen.seed}")
    return 0 if well else 1


def _run(stage: Stage, chosen: argparse.Namespace) -> tuple[str, bool]:
    rows: list[Row] = []
    for worker_id in range(chosen.workers):
        stage.start(worker_id)
    stage.all_ready()
    for name in chosen.only:
        injection, times = SEGMENTS[name]
        if times[chosen.plan]:
            budget_s = _budget_s(name, chosen)
            rows.append(_segment(stage, name, injection, times[chosen.plan], budget_s, chosen))
            print(_line(rows[-1]), flush=True)
    whole = judge(stage, *stage.truths)
    if _differs(whole):
        print(whole.text, flush=True)
    rows.append(Row("all of it together", sum(row.times for row in rows), whole, ()))
    stage.counts["rebalances"] = stage.generations()
    text = rendered(rows, stage.counts, stage.points_hit(), chosen.seed, chosen.plan)
    return text, not any(_differs(row.outcome) for row in rows)


def _budget_s(name: str, chosen: argparse.Namespace) -> float:
    """This segment's share of the minutes, by what its faults take on two busy cores."""
    if chosen.minutes is None:
        return float("inf")
    weights = {one: SEGMENTS[one][1][chosen.plan] * TAKES_S[one] for one in chosen.only}
    return float(chosen.minutes * 60 * weights[name] / sum(weights.values()))


def _segment(
    stage: Stage,
    name: str,
    injection: Callable[[Stage, int], float],
    times: int,
    budget_s: float,
    chosen: argparse.Namespace,
) -> Row:
    recovered: list[float] = []
    print(f"{name} x {times} ...", flush=True)
    with stage.flow(chosen.rate, chosen.seed * 1_000 + len(stage.truths)) as truth:
        began = time.monotonic()
        for number in range(times):
            if time.monotonic() - began > budget_s:
                break
            recovered.append(injection(stage, number))
            print(f"  {number + 1:3} {recovered[-1]:6.1f} s", flush=True)
            time.sleep(stage.random.uniform(0.0, 0.5))
    stage.all_ready()
    outcome = judge(stage, truth)
    if _differs(outcome):
        print(outcome.text, flush=True)
    return Row(name, len(recovered), outcome, tuple(recovered))


def _line(row: Row) -> str:
    found = row.outcome
    return (
        f"{row.fault}: {row.times} times, {found.records:,} records, {found.lost} lost, "
        f"{found.doubled} doubled, {found.wrong} wrong"
    )


def _differs(outcome: Outcome) -> bool:
    return bool(outcome.lost or outcome.doubled or outcome.wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
