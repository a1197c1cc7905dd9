"""A cost report for people."""

from collections.abc import Iterator, Sequence

import msgspec

from k2_streams.core.cost.inputs import MeasuredFigures, Prices, Workload
from k2_streams.core.cost.model import CostReport
from k2_streams.core.cost.triggers import FiredTrigger


def markdown(
    load: Workload,
    measured: MeasuredFigures,
    prices: Prices,
    report: CostReport,
    triggers: Sequence[FiredTrigger],
) -> str:
    """Cost, triggers and inputs. The total is the sum of the rows as they are printed."""
    return "\n".join(
        [
            *_costs(load, prices, report),
            *_triggers(triggers),
            *_inputs(load, measured, prices),
        ]
    )


def _costs(load: Workload, prices: Prices, report: CostReport) -> Iterator[str]:
    yield f"# {load.rate_per_s:,.0f} messages per second, per month, in {prices.currency}\n"
    yield "| what | quantity | unit | price each | cost | share | grows |"
    yield "|---|---:|---|---:|---:|---:|---|"
    total = sum(round(row.cost, 2) for row in report.rows)
    for row in report.rows:
        share = row.cost / report.total if report.total else 0.0
        yield (
            f"| {row.name} | {row.quantity:,.1f} | {row.unit} | {row.unit_price:g} "
            f"| {row.cost:,.2f} | {share:.1%} | {row.growth} |"
        )
    yield f"| total | | | | {total:,.2f} | | |"
    yield f"\n{report.messages / 1e6:,.0f} million messages: {report.per_million:.5f} per million."
    yield (
        f"Busy worker cores: {report.worker_cores:.2f}, in {report.workers} workers; "
        f"{report.commits_per_s:.2f} commits per second."
    )


def _triggers(triggers: Sequence[FiredTrigger]) -> Iterator[str]:
    yield "\n## What to change\n"
    for one in triggers:
        yield f"- {one.name}: {one.value:.2f}, above {one.bound:g}: {one.advice}."
    if not triggers:
        yield "Nothing is above its bound."


def _inputs(load: Workload, measured: MeasuredFigures, prices: Prices) -> Iterator[str]:
    for title, inputs in (("Load", load), ("Measured", measured), ("Prices", prices)):
        yield f"\n## {title}\n"
        yield "| input | value |"
        yield "|---|---|"
        for name, value in msgspec.structs.asdict(inputs).items():
            yield f"| {name} | {f'{value:,g}' if isinstance(value, float) else value} |"
    yield ""
