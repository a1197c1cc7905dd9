"""Rows of a month's cost: a quantity, its unit, a price each, and how it grows with the rate.

Every row is quantity x price, the total is the sum of the rows, and the cost per million messages
is the total over the messages of the month. `contradictions` checks that of any report, whoever
made it.
"""

import math
from collections.abc import Iterator
from enum import StrEnum

import msgspec

from k2_streams.core.cost.inputs import MeasuredFigures, Prices, Workload

#: 365.25 days / 12.
MONTH_S = 2_629_800.0
HOUR_S = 3_600.0
DAY_S = 86_400.0
GB = 1e9
#: Processors are bought for peaks, and disks are not filled to the brim.
CPU_USED_SHARE = 0.6
DISK_USED_SHARE = 0.7
#: Copies are in zones of their own. Of three, two thirds of what a client reads or writes cross.
ZONES = 3
#: A compacted topic holds its last value per key, and what the cleaner has not reached yet.
CHANGELOG_DAYS = 1.0
#: One worker, one query node and one broker beyond the load, so that one of each may be lost.
SPARE_NODES, SPARE_NODE_VCPUS = 3, 2
#: Cores that one worker keeps busy: its event loop and its tasks share the interpreter's lock.
WORKER_CORES = 1.2
#: The least number of workers, so that partitions move when one is lost.
WORKERS_LEAST = 2
#: `K2_LAKE_COMMIT_ROWS`: above this rate commits come before their interval ends.
COMMIT_ROWS = 1_000_000
#: Of two texts of the same amount, in shares of it.
_ROUNDING = 1e-9


class Growth(StrEnum):
    """How a row follows the rate of messages."""

    LINEAR = "with the rate"
    QUERIES = "with the queries"
    STEPS = "with the workers"
    FIXED = "fixed"


class CostRow(msgspec.Struct, frozen=True):
    """One line of the bill.

    Attributes:
        name: what is paid for.
        quantity: of units per month.
        unit: of the quantity.
        unit_price: of one.
        growth: how it follows the rate.
        cost: per month.
    """

    name: str
    quantity: float
    unit: str
    unit_price: float
    growth: Growth
    cost: float


class CostReport(msgspec.Struct, frozen=True):
    """A month: its rows, their sum, and what a million messages cost.

    Attributes:
        worker_cores: busy on average; the machines have `1 / CPU_USED_SHARE` times as many.
        workers: processes.
        commits_per_s: to one Iceberg table.
    """

    rows: tuple[CostRow, ...]
    total: float
    messages: float
    per_million: float
    worker_cores: float
    workers: int
    commits_per_s: float


def estimate(load: Workload, measured: MeasuredFigures, prices: Prices) -> CostReport:
    """The cost of a month."""
    cores = load.rate_per_s * measured.worker_cpu_s_per_million / 1e6
    workers = max(WORKERS_LEAST, math.ceil(cores / WORKER_CORES))
    commits_per_s = max(workers / load.commit_interval_s, load.rate_per_s / COMMIT_ROWS)
    rows = (
        *_processors(load, measured, prices),
        *_bytes_kept(load, measured, prices),
        *_bytes_moved(load, measured, prices),
        *_requests(load, measured, prices, commits_per_s),
    )
    total = math.fsum(row.cost for row in rows)
    messages = load.rate_per_s * MONTH_S
    return CostReport(rows, total, messages, total / messages * 1e6, cores, workers, commits_per_s)


def _row(name: str, quantity: float, unit: str, price: float, growth: Growth) -> CostRow:
    return CostRow(name, quantity, unit, price, growth, quantity * price)


def _processors(load: Workload, measured: MeasuredFigures, prices: Prices) -> Iterator[CostRow]:
    per_million = {
        "worker processors": measured.worker_cpu_s_per_million,
        # Each further copy is fetched and appended by a broker: at most as much work as the first.
        "broker processors": measured.broker_cpu_s_per_million * load.replication,
        "query nodes reading the log": measured.reader_cpu_s_per_million * load.query_nodes,
    }
    for name, cpu_s in per_million.items():
        yield _vcpus(name, load.rate_per_s * cpu_s / 1e6, prices, Growth.LINEAR)
    queries = load.queries_per_s * measured.query_cpu_s
    yield _vcpus("query processors", queries, prices, Growth.QUERIES)
    spare_hours = SPARE_NODES * SPARE_NODE_VCPUS * MONTH_S / HOUR_S
    yield _row("spare nodes", spare_hours, "vCPU hours", prices.vcpu_hour, Growth.FIXED)


def _vcpus(name: str, busy: float, prices: Prices, growth: Growth) -> CostRow:
    hours = busy / CPU_USED_SHARE * MONTH_S / HOUR_S
    return _row(name, hours, "vCPU hours", prices.vcpu_hour, growth)


def _raw_bytes(load: Workload, measured: MeasuredFigures) -> float:
    """Of one message of this load in the raw topic: compressed as well as the measured ones."""
    return measured.raw_bytes * load.message_bytes / measured.payload_bytes


def _bytes_kept(load: Workload, measured: MeasuredFigures, prices: Prices) -> Iterator[CostRow]:
    per_day = load.rate_per_s * DAY_S / GB
    on_disk = {
        "broker disks, raw topic": (_raw_bytes(load, measured), load.retention_days),
        "broker disks, log": (measured.log_bytes, load.retention_days),
        "broker disks, changelogs": (measured.changelog_bytes, CHANGELOG_DAYS),
    }
    for name, (size, days) in on_disk.items():
        kept = per_day * size * days * load.replication / DISK_USED_SHARE
        yield _row(name, kept, "GB months", prices.disk_gb_month, Growth.LINEAR)
    lake = per_day * measured.lake_bytes * load.lake_days
    yield _row("lake storage", lake, "GB months", prices.object_gb_month, Growth.LINEAR)


def _bytes_moved(load: Workload, measured: MeasuredFigures, prices: Prices) -> Iterator[CostRow]:
    raw = _raw_bytes(load, measured)
    written = raw + measured.log_bytes + measured.changelog_bytes
    crossing = (ZONES - 1) / ZONES
    # The sink takes the rows of its own tasks from memory.
    client_bytes = written + raw + load.query_nodes * measured.log_bytes
    moved = {
        "traffic between zones, copies": (load.replication - 1) * written,
        "traffic between zones, clients": crossing * client_bytes,
    }
    for name, size in moved.items():
        sent = load.rate_per_s * MONTH_S * size / GB
        yield _row(name, sent, "GB", prices.zone_gb, Growth.LINEAR)


def _requests(
    load: Workload, measured: MeasuredFigures, prices: Prices, commits_per_s: float
) -> Iterator[CostRow]:
    for name, per_s, writes, reads, growth in (
        ("commits", commits_per_s, measured.commit_writes, measured.commit_reads, Growth.STEPS),
        (
            "queries",
            load.queries_per_s,
            measured.query_writes,
            measured.query_reads,
            Growth.QUERIES,
        ),
    ):
        thousands = per_s * MONTH_S / 1_000
        for kind, count, price in (
            ("writes", writes, prices.write_requests_1000),
            ("reads", reads, prices.read_requests_1000),
        ):
            text = f"store requests of {name}, {kind}"
            yield _row(text, thousands * count, "1,000 requests", price, growth)


def contradictions(report: CostReport) -> list[str]:
    """What in a report does not follow from the rest of it; empty: it agrees with itself."""
    found = [
        f"{row.name}: {row.quantity:g} x {row.unit_price:g} is {row.quantity * row.unit_price:g}, "
        f"not {row.cost:g}"
        for row in report.rows
        if not _agree(row.cost, row.quantity * row.unit_price)
    ]
    summed = math.fsum(row.cost for row in report.rows)
    if not _agree(report.total, summed):
        found.append(f"the rows sum to {summed:g}, the total is {report.total:g}")
    units = report.per_million * report.messages / 1e6
    if not _agree(report.total, units):
        found.append(
            f"{report.messages:g} messages at {report.per_million:g} per million cost {units:g}, "
            f"the total is {report.total:g}"
        )
    return found


def _agree(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_ROUNDING)
