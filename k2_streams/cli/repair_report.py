"""What `k2 repair` prints."""

from collections.abc import Sequence

import click

from k2_streams.core.ledger.repairs import NO_NUMBER, RepairedRange
from k2_streams.runtime.repair.missing import RepairPlan
from k2_streams.runtime.repair.platform import RepairBy, Repaired

#: Ranges that are shown; `--json` has all.
SHOWN_RANGES = 100


def lines_of_plan(plan: RepairPlan) -> Sequence[str]:
    """The ranges of a plan, for people."""
    shown = [
        f"{one.scope} session {one.session}: {one.first} to {one.last}"
        for one in plan.ranges[:SHOWN_RANGES]
    ]
    return [*shown, *_more(len(plan.ranges))]


def lines_of_repair(done: Repaired, *, dry_run: bool) -> Sequence[str]:
    """What came of a repair, for people."""
    asked, received, filled = (
        sum(getattr(one, name) for one in done.ranges) for name in ("asked", "received", "filled")
    )
    what = "trades" if any(one.first == NO_NUMBER for one in done.ranges) else "numbers"
    if dry_run:
        return [f"{asked:,} {what} missing, {received:,} of them would be sent"]
    left = [line for one in done.ranges for line in _left_of(one)]
    head = f"{asked:,} {what} asked for, {received:,} sent, {filled:,} filled"
    abandoned = [
        f"abandoned meanwhile: {one.abandoned:,} of {one.scope} session {one.session}: "
        f"{one.first} to {one.last}"
        for one in done.ranges
        if one.abandoned
    ]
    lines = [*left, *abandoned]
    return [head, *lines[:SHOWN_RANGES], *_more(len(lines))]


def tell_what_stays(plan: RepairPlan, by_what: RepairBy = RepairBy.SEQUENCE) -> None:
    """What a repair cannot fill, and why."""
    what, lines = "trades", []
    if by_what == RepairBy.SEQUENCE:
        what, lines = "numbers", [f"{plan.numbers:,} numbers in {len(plan.ranges):,} ranges"]
    if plan.too_old:
        numbers = sum(one.numbers for one in plan.too_old)
        lines.append(
            f"{numbers:,} numbers are missing for longer than K2_LATE_HORIZON_S: they would be "
            "stale, and are not asked for"
        )
    if plan.abandoned:
        lines.append(
            f"{plan.abandoned:,} numbers of these scopes were abandoned (K2_LATE_HORIZON_S, or too "
            "many ranges): they stay so"
        )
    if plan.left_out:
        lines.append(f"{plan.left_out:,} {what} are beyond --max-numbers: run it again")
    for line in lines:
        click.echo(line, err=True)


def _left_of(one: RepairedRange) -> list[str]:
    of = f"still missing: {one.scope} session {one.session}: "
    if one.first == NO_NUMBER:
        return [f"{of}{one.asked - one.filled:,} trades"] if one.filled < one.asked else []
    return [f"{of}{first} to {last}" for first, last in one.still_missing]


def _more(ranges: int) -> list[str]:
    left_out = ranges - SHOWN_RANGES
    return [f"... and {left_out:,} more ranges: --json has all"] if left_out > 0 else []
