"""Station 6: a worker and a query node join; another engine reads the table; what it costs."""

import json

from k2_streams.demo.stations.tour import Tour
from k2_streams.demo.web import DemoError

RATES = ("10k", "1M", "10M")
QUERY_NODE = 2


def show(tour: Tour) -> None:
    """Share the partitions, compare every node's counts, and compute."""
    tour.page("operations")
    _join(tour)
    truth = tour.end_flow()
    code = tour.verify(truth, "--sql", node=QUERY_NODE)
    tour.expect(
        "the query node's answers, and the table as DuckDB reads its files, equal the truth",
        f"exit code {code}",
        holds=code == 0,
    )
    counts = {node: _rows(tour, node) for node in sorted(tour.stage.workers)}
    tour.expect(
        "every node counts the same rows",
        ", ".join(f"node {node}: {rows:,}" for node, rows in counts.items()),
        holds=len(set(counts.values())) == 1 and min(counts.values()) > 0,
    )
    _compute_costs(tour)


def _join(tour: Tour) -> None:
    partitions = _running(tour, 0)
    tour.say(f"Worker 0 has {partitions} partitions. Worker 1 joins the group:")
    tour.stage.start(1).wait_ready()

    def shared() -> bool:
        both = _running(tour, 0), _running(tour, 1)
        return min(both) > 0 and sum(both) == partitions

    tour.wait("the partitions are shared", shared)
    tour.expect(
        "the partitions are shared",
        ", ".join(f"worker {node}: {_running(tour, node)}" for node in (0, 1)),
        holds=True,
    )
    tour.say(f"Node {QUERY_NODE} answers queries alone (K2_ROLE=query), outside of the group:")
    tour.stage.start(QUERY_NODE, K2_ROLE="query").wait_ready()


def _running(tour: Tour, node: int) -> int:
    """How many tasks of a worker run."""
    return len(tour.stage.workers[node].running_partitions())


def _rows(tour: Tour, node: int) -> int:
    return sum(int(row["trades"]) for row in tour.rows("/v1/symbols", node))


def _compute_costs(tour: Tour) -> None:
    totals = []
    for rate in RATES:
        code, text = tour.command("cost", "--rate", rate, "--format", "json", shown_lines=0)
        if code:
            raise DemoError(f"k2 cost ended with {code}\n{text}")
        report = json.loads(text)["report"]
        total, parts = report["total"], sum(row["cost"] for row in report["rows"])
        tour.say(f"  {rate:>4} per second: {total:,.0f} USD per month, as listed")
        totals.append(total > 0 and abs(parts - total) < 0.005 * total)
    tour.expect("the rows of each add up to its total", ", ".join(RATES), holds=all(totals))
