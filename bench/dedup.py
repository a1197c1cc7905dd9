"""Trade ids instead of numbers: what the dedup costs, and whether its filters keep their rate.

Messages are already in Kafka, with 1 % of them repeats; one worker; first record to last row
committed in Iceberg. With a sequence and with ids in turn, so that both see the same machine.
"""

import statistics

import numpy as np

from bench.stage import stage
from bench.throughput import RUNS, once
from k2_streams.core.dedup.bloom import Bloom, positions
from k2_streams.core.dedup.ids import BUCKETS, Memory, hashes_of
from k2_streams.testing.client import fetch

#: Asked of a full filter: enough that the measured rate is within a few percent of its true one.
ASKED = 2_000_000
RATE = 0.001
PARTITIONS = 4


def outcomes(url: str) -> dict[str, float]:
    """A worker's metrics of ids by outcome, and the bytes of its filters."""
    found: dict[str, float] = {}
    for line in fetch(f"{url}/metrics", 30.0).body.decode().splitlines():
        name, _, number = line.rpartition(" ")
        if name.startswith("k2_dedup_ids_total"):
            found[name.split('"')[1]] = float(number)
        elif name == "k2_dedup_false_positives_total":
            found["false positives"] = float(number)
        elif name.startswith("k2_dedup_filter_bytes"):
            found["filter bytes"] = found.get("filter bytes", 0.0) + float(number)
    return found


def _formula(ids: int, memory: Memory) -> float:
    """The expected rate over a filter's life from empty to so many ids."""
    return float(np.mean([memory.shape.rate_at(round(n)) for n in np.linspace(0, ids, 1_000)]))


def full_filter(ids: int) -> tuple[float, float]:
    """A filter as full as it is made for: the measured rate, and the formula's."""
    shape = Memory.of(BUCKETS * ids, RATE).shape
    bloom = Bloom(shape)
    for start in range(0, ids, 100_000):
        part = [b"in-%d" % number for number in range(start, min(start + 100_000, ids))]
        bloom.add(positions(shape, hashes_of(part)))
    found = 0
    for start in range(0, ASKED, 100_000):
        asked = hashes_of([b"out-%d" % number for number in range(start, start + 100_000)])
        found += int(bloom.maybe(positions(shape, asked)).sum())
    return found / ASKED, shape.rate_at(ids)


def run(messages: int = 2_000_000, runs: int = RUNS) -> dict[str, float]:
    """Medians over the runs, each on a stage of its own; the rates, measured and by formula."""
    plain, with_ids, counted = [], [], []
    # All of a run falls into one bucket, so one must be made for all of it.
    expected = BUCKETS * messages
    for _ in range(runs):
        with stage() as at:
            plain.append(once(at, messages, "--duplicates", "0.01"))
        with stage() as at:
            settings = {
                "K2_DEDUP_EXPECTED_IDS": str(expected),
                "K2_DEDUP_FALSE_POSITIVE_RATE": str(RATE),
            }
            arguments = ("--ids", "--duplicates", "0.01")
            with_ids.append(
                once(
                    at,
                    messages,
                    *arguments,
                    settings=settings,
                    last_look=lambda url: counted.append(outcomes(url)),
                )
            )
    memory = Memory.of(expected // PARTITIONS, RATE)
    measured, formula = full_filter(messages // PARTITIONS)
    figures = {
        "msg/s by number": statistics.median(one["msg/s"] for one in plain),
        "msg/s by id": statistics.median(one["msg/s"] for one in with_ids),
        "by id, of by number": statistics.median(
            one["msg/s"] / other["msg/s"] for one, other in zip(with_ids, plain, strict=True)
        ),
        "CPU s/M by number": statistics.median(one["CPU s/M"] for one in plain),
        "CPU s/M by id": statistics.median(one["CPU s/M"] for one in with_ids),
        "peak MiB by number": statistics.median(one["peak MiB"] for one in plain),
        "peak MiB by id": statistics.median(one["peak MiB"] for one in with_ids),
        "filters MiB": statistics.median(one["filter bytes"] for one in counted) / 2**20,
        "repeats found": statistics.median(one["duplicate"] for one in counted),
    }
    new = sum(one["new"] for one in counted)
    false_positives = sum(one["false positives"] for one in counted)
    return figures | {
        "false positives per 1 M new ids": false_positives / new * 1e6,
        "by formula": _formula(messages // PARTITIONS, memory) * 1e6,
        "by a full filter, of 1 M": measured * 1e6,
        "by formula, full": formula * 1e6,
    }
