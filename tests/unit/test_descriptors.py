"""The limit of open files is raised, or the worker says which number it needs."""

import resource
import subprocess
import sys

import pytest
from agent_world import FOUND, OUTPUT, SOURCE, TOTALS, totals
from raw_agents import raw_topology

from k2_streams.runtime.control import descriptors
from k2_streams.runtime.control.descriptors import DescriptorLimitError, needed, raise_limit
from k2_streams.topology.declarations import Agent, Output, Topology
from k2_streams.web.http.connections import BACKLOG, LEAST_CONNECTIONS

SOFT_AND_HARD = resource.RLIMIT_NOFILE


def limited(monkeypatch, soft, hard):
    limits = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: limits.append(pair))
    return limits


@pytest.mark.parametrize(
    ("soft", "hard", "found"),
    [
        (1_024, 4_096, 4_096),
        (1_024, 1 << 20, descriptors.RAISED_TO),
        (1_024, resource.RLIM_INFINITY, descriptors.RAISED_TO),
        (300, 300, 300),
        (1 << 20, 1 << 20, 1 << 20),
    ],
)
def test_the_soft_limit_is_raised_as_far_as_it_may_be(monkeypatch, soft, hard, found):
    limits = limited(monkeypatch, soft, hard)
    assert raise_limit(300) == found
    assert limits[-1] == (found, hard)


def test_too_low_a_limit_is_refused_with_the_number(monkeypatch):
    limited(monkeypatch, 1_024, 1_024)
    with pytest.raises(DescriptorLimitError, match=r"is 1024, .* need 1184 open.*ulimit -n 1184"):
        raise_limit(1_184)


def test_partitions_tables_and_further_logs_need_files_of_their_own():
    ticks = SOURCE
    of_trades = needed(raw_topology("k2", feeds={}), 60)
    assert of_trades == 84 + 2 * 8 * 60
    one = Agent("totals", ticks, totals, (TOTALS,), (OUTPUT,))
    of_ticks = Topology("app", (ticks,), (one,), (TOTALS,), (OUTPUT,))
    assert needed(of_ticks, 60) == of_trades, "the position and one table"
    further = Output.of("further", FOUND, key=("symbol",), time="time_ns")
    other = Agent("other", ticks, totals, outputs=(further,))
    two_logs = Topology("app", (ticks,), (one, other), (TOTALS,), (OUTPUT, further))
    assert needed(two_logs, 60, logs=2) == of_trades + 12


def test_a_worker_with_a_ledger_fits_a_small_limit():
    """With the default of 4 partitions and of what a web server may hold at least."""
    least = needed(raw_topology("k2", feeds={}), 4, logs=4) + LEAST_CONNECTIONS + BACKLOG
    assert least <= 300


def test_a_process_really_gets_what_it_is_told():
    code = (
        "import resource; from k2_streams.runtime.control.descriptors import raise_limit;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 600)); print(raise_limit(300));"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split("\n")[:2] == ["600", "(600, 600)"]
