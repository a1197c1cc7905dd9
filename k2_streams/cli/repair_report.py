"""What `k2 repair` prints."""

from collections.abc import Sequence

import click

from k2_streams.runtime.repair.missing import RepairPlan
from k2_streams.runtime.repair.platform import Repaired

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
    received = sum(one.received for one in done.ranges)
    if dry_run:
        return [f"{done.plan.numbers:,} numbers missing, {received:,} of them would be sent"]
    filled = sum(one.filled for one in done.ranges)
    left = [
        f"still missing: {one.scope} session {one.session}: {first} to {last}"
        for one in done.ranges
        for first, last in one.still_missing
    ]
    head = f"{done.plan.numbers:,} numbers asked for, {received:,} sent, {filled:,} filled"
    abandoned = [
        f"abandoned meanwhile: {one.abandoned:,} of {one.scope} session {one.session}: "
        f"{one.first} to {one.last}"
        for one in done.ranges
        if one.abandoned
    ]
    lines = [*left, *abandoned]
    return [head, *lines[:SHOWN_RANGES], *_more(len(lines))]


def tell_what_stays(plan: RepairPlan) -> None:
    """What a repair cannot fill, and why."""
    click.echo(f"{plan.numbers:,} numbers in {len(plan.ranges):,} ranges", err=True)
    if plan.too_old:
        numbers = sum(one.numbers for one in plan.too_old)
        click.echo(
            f"{numbers:,} numbers are missing for longer than K2_LATE_HORIZON_S: they would be "
            "stale, and are not asked for",
            err=True,
        )
    if plan.abandoned:
        click.echo(
            f"{plan.abandoned:,} numbers of these scopes were abandoned (K2_LATE_HORIZON_S, or too "
            "many ranges): they stay so",
            err=True,
        )
    if plan.left_out:
        click.echo(f"{plan.left_out:,} numbers are beyond --max-numbers: run it again", err=True)


def _more(ranges: int) -> list[str]:
    left_out = ranges - SHOWN_RANGES
    return [f"... and {left_out:,} more ranges: --json has all"] if left_out > 0 else []
