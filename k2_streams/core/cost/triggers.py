"""When a deployment should be changed, as data: a figure of the report, its bound, what to do."""

from collections.abc import Callable

import msgspec

from k2_streams.core.cost.model import CostReport


class CostTrigger(msgspec.Struct, frozen=True):
    """Fires where the figure is above its bound.

    Attributes:
        name: of the figure.
        bound: above which something should change.
        figure: computed from a report.
        advice: what to change.
    """

    name: str
    bound: float
    figure: Callable[[CostReport], float]
    advice: str


class FiredTrigger(msgspec.Struct, frozen=True):
    """A trigger above its bound."""

    name: str
    value: float
    bound: float
    advice: str


def fired(report: CostReport) -> list[FiredTrigger]:
    """The triggers of a report that are above their bound."""
    found = [(one, one.figure(report)) for one in TRIGGERS]
    return [
        FiredTrigger(one.name, value, one.bound, one.advice)
        for one, value in found
        if value > one.bound
    ]


def _share_of(*beginnings: str) -> Callable[[CostReport], float]:
    """The share of the total of the rows whose names begin so."""

    def share(report: CostReport) -> float:
        cost = sum(row.cost for row in report.rows if row.name.startswith(beginnings))
        return cost / report.total if report.total else 0.0

    return share


def _query_share_of_processors(report: CostReport) -> float:
    hours = {row.name: row.quantity for row in report.rows if row.unit == "vCPU hours"}
    return hours["query processors"] / sum(hours.values())


TRIGGERS = (
    CostTrigger(
        "lake storage, share of the cost",
        0.5,
        _share_of("lake storage"),
        "move old partitions to a cheaper storage class, and raise K2_COMPACT_TARGET_MB: larger "
        "files compress better",
    ),
    CostTrigger(
        "broker disks, share of the cost",
        0.5,
        _share_of("broker disks"),
        "shorten the topics' retention: the lake has the rows, and Kafka's tiered storage the rest",
    ),
    CostTrigger(
        "traffic between zones, share of the cost",
        0.25,
        _share_of("traffic between zones"),
        "let clients fetch from the replica of their zone, and put producers beside the leaders",
    ),
    CostTrigger(
        "store requests, share of the cost",
        0.1,
        _share_of("store requests"),
        "raise K2_LAKE_COMMIT_INTERVAL_S: queries do not wait for commits",
    ),
    CostTrigger(
        "queries, share of the processors",
        0.5,
        _query_share_of_processors,
        "add query nodes, and ask with a token what is asked often: its answer never changes",
    ),
    CostTrigger(
        "commits per second to one table",
        1.0,
        lambda report: report.commits_per_s,
        "raise K2_LAKE_COMMIT_INTERVAL_S with the number of workers: each commit is a "
        "compare-and-set on the table",
    ),
)
