"""`python -m faults [--seed N] [--plan short|full|long|hour] [--only NAME ...]`: break it, compare.

Each group of faults has a stage: brokers, workers and a lake of its own. Each fault is a segment,
under load with 1 % of invalid records. After each segment the oracle compares what that segment
sent; at the end of a group, all of it. The same seed injects the same faults in the same order.
"""

import argparse
import logging
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from faults import isolation
from faults.isolation import UnavailableError
from faults.oracle import Outcome
from faults.plan import GROUPS, PLANS
from faults.report import Report, Row, keep
from faults.segment import Group, Segment
from faults.stage import FaultStage
from k2_streams.testing.waiting import StuckError

_NAMES = [segment.name for group in GROUPS for segment in group.segments]


def main(arguments: list[str]) -> int:
    """Run a plan, print its table and keep it in faults/results/; 1 if anything differs."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plan", choices=PLANS, default="full")
    parser.add_argument(
        "--only", nargs="*", choices=[*_NAMES, *(group.name for group in GROUPS)], metavar="NAME",
        help=f"segments ({', '.join(_NAMES)}) or groups ({', '.join(g.name for g in GROUPS)})",
    )  # fmt: skip
    parser.add_argument("--times", type=int, help="of each segment, instead of the plan's")
    parser.add_argument("--rate", type=float, default=3_000.0, help="messages per second")
    parser.add_argument("--minutes", type=float, help="for all segments; then fewer of each")
    parser.add_argument(
        "--keep",
        type=Path,
        help="keep logs and data here; by default they are kept only where something differs",
    )
    chosen = parser.parse_args(arguments)
    run = _Run(chosen)
    if any(group.isolated for group, _ in run.plan):
        isolation.enter(arguments)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # brokers are away on purpose
    # Whoever ends the run ends what it started, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = chosen.keep or Path(tempfile.mkdtemp(prefix="k2-faults-"))
    try:
        for number, (group, segments) in enumerate(run.plan):
            run.group(group, segments, folder / str(number))
    finally:  # a run that is interrupted leaves nothing behind, either
        if run.report.well and not chosen.keep:
            shutil.rmtree(folder)
        else:
            print(f"logs and data are in {folder}", flush=True)
    text = run.report.rendered(chosen.seed, chosen.plan)
    print(text, flush=True)
    keep(text, f"{chosen.plan}-seed-{chosen.seed}")
    return 0 if run.report.well else 1


class _Run:
    """The chosen segments and their outcomes."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        self._chosen = chosen
        self.report = Report()
        self.plan: list[tuple[Group[Any], list[Segment[Any]]]] = []
        for group in GROUPS:
            segments = [one for one in group.segments if self._wanted(group, one)]
            if segments:
                self.plan.append((group, segments))
        self._whole_s = sum(
            self._times(one) * one.takes_s for _, segments in self.plan for one in segments
        )

    def _wanted(self, group: Group[Any], segment: Segment[Any]) -> bool:
        only = self._chosen.only
        return bool(self._times(segment)) and (
            not only or segment.name in only or group.name in only
        )

    def _times(self, segment: Segment[Any]) -> int:
        planned: int = segment.times.get(self._chosen.plan, 0)
        if self._chosen.only and not planned:
            planned = max(segment.times.values())  # asked for by name
        return planned and (self._chosen.times or planned)

    def group(self, group: Group[Any], segments: list[Segment[Any]], folder: Path) -> None:
        """All of a group's segments on its stage, and all of it together."""
        print(f"-- {group.name}", flush=True)
        rows: list[Row] = []
        stage: FaultStage | None = None
        began = time.monotonic()
        try:
            with group.opened(folder, self._chosen.seed) as stage:
                for segment in segments:
                    try:
                        rows.append(self._segment(group, stage, segment))
                    except StuckError as error:  # as bad as a loss; the other segments run
                        traceback.print_exc(file=sys.stdout)
                        rows.append(Row(segment.name, 1, Outcome(0, 0, 0, 1, repr(error)), ()))
                        stage.restart_everything()
                    print(rows[-1].line(), flush=True)
                whole = _compared(group, stage, *stage.truths, deep=True)
                stage.counts["rebalances"] = stage.generations()
        except UnavailableError as error:
            print(f"skipped: {error}", flush=True)
            self.report.skipped[group.name] = str(error)
            return
        except Exception as error:  # noqa: BLE001 - as bad as a loss; the other groups go on
            traceback.print_exc(file=sys.stdout)
            whole = Outcome(0, 0, 0, 1, repr(error))
            rows.append(Row("stuck", 1, whole, ()))
        times = sum(row.times for row in rows)
        rows.append(Row("all of it together", times, whole, (), time.monotonic() - began))
        counts, hits = (stage.counts, stage.points_hit()) if stage else (Counter(), Counter())
        self.report.add(group.name, rows, counts, hits, stage.notes if stage else [])

    def _segment(self, group: Group[Any], stage: FaultStage, segment: Segment[Any]) -> Row:
        times = self._times(segment)
        budget_s = float("inf")
        if self._chosen.minutes is not None:
            share = times * segment.takes_s / self._whole_s
            budget_s = self._chosen.minutes * 60 * share
        recovered: list[float] = []
        print(f"{segment.name} x {times} ...", flush=True)
        seed = self._chosen.seed * 1_000 + len(stage.truths)
        began = time.monotonic()
        with stage.flow(self._chosen.rate, seed) as truth:
            for number in range(times):
                if time.monotonic() - began > budget_s:
                    break
                recovered.append(segment.injection(stage, number))
                print(f"  {number + 1:3} {recovered[-1]:6.1f} s", flush=True)
                time.sleep(stage.random.uniform(0.0, 0.5))
        stage.all_ready()
        outcome = _compared(group, stage, truth)
        took_s = time.monotonic() - began
        return Row(segment.name, len(recovered), outcome, tuple(recovered), took_s)


def _compared(group: Group[Any], stage: FaultStage, *truths: Path, deep: bool = False) -> Outcome:
    outcome = group.compare(stage, *truths, deep=deep)
    if outcome.differs:
        print(outcome.text, flush=True)
    return outcome


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
