"""Production's tasks, sinks, tails and lake on a simulated log, catalog, disk and clock.

A few seeds here; `make simulate` runs as many as asked for. A seed that fails prints its trace.
"""

import os
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from simulation.world import Outcome, run

ROOT = Path(__file__).resolve().parents[2]
#: Seeds of the fast tests, in groups so that a failure is found soon.
GROUPS, GROUP_SEEDS = 10, 4
#: Seeds that run with maintenance as well.
MAINTAINED = (0, 8, 10, 11)
#: Seeds that run with a query node beside the workers as well.
WITH_QUERY_NODE = (2, 4, 7)
#: Seeds whose traces are compared: with kills, stops, late commits, lost answers.
COMPARED = (9,)


@cache
def outcome_of(seed: int) -> Outcome:
    """What came of a seed; each runs once per process of pytest."""
    return run(seed)


@pytest.mark.parametrize("group", range(GROUPS))
def test_nothing_is_violated(group):
    for seed in range(group * GROUP_SEEDS, (group + 1) * GROUP_SEEDS):
        outcome = outcome_of(seed)
        assert outcome.violation is None, outcome.text
        assert not outcome.counts.get("operator"), outcome.text  # so rare that these seeds lack it


def test_nothing_is_violated_beside_maintenance():
    """Small files are compacted and snapshots expire while workers are killed and catalogs fail."""
    compacted = 0
    for seed in MAINTAINED:
        outcome = run(seed, is_maintained=True)
        assert outcome.violation is None, outcome.text
        compacted += outcome.counts.get("compacted", 0)
    assert compacted > 0


def test_nothing_is_violated_beside_a_query_node():
    """It is killed and stopped as workers are, and its answers hold the committed rows."""
    answers = 0
    for seed in WITH_QUERY_NODE:
        outcome = run(seed, query_nodes=1)
        assert outcome.violation is None, outcome.text
        answers += outcome.counts["query_node_answers"]
    assert answers > 10


def test_the_same_seed_gives_the_same_trace_byte_for_byte():
    """In this process, and in one that orders its sets and dictionaries' hashes differently."""
    for seed in COMPARED:
        here = outcome_of(seed).text
        assert run(seed).text == here
        there = subprocess.run(
            [sys.executable, "-m", "simulation", "--trace", str(seed)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": "tests", "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout == here


def test_the_seeds_met_every_kind_of_fault():
    """A simulation in which nothing goes wrong proves nothing."""
    wanted = {
        *("kill", "stop", "rebalance", "slow", "lost_request", "lost_answer", "lost_batch"),
        *("catalog_away", "clock", "load", "levels", "fenced", "answers"),
        *("disk_full", "tail_full", "tail_room"),
        *("tail_from_memory", "sink_from_memory"),
        *("late", "beyond_horizon", "stale", "ids", "repeated_ids"),
    }
    met: Counter[str] = Counter()
    for seed in range(GROUPS * GROUP_SEEDS):
        met.update(outcome_of(seed).counts)
        if all(met[kind] for kind in wanted):
            break
    assert {kind for kind in wanted if not met[kind]} == set()
