"""Failpoints: each is in the code once, does what the plan says, and does it once."""

import ast
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from k2_streams import failpoints
from k2_streams.failpoints import (
    POINTS,
    FailpointError,
    arm,
    failpoint,
    failpoint_in_loop,
    failpoint_of_records,
    parse,
)
from k2_streams.runtime.settings.worker import SettingsError, from_environment

PACKAGE = Path(failpoints.__file__).parent


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    arm(())


def test_every_point_is_in_the_code_once_and_no_other() -> None:
    """The list is what a harness goes through: a point that is not in it is never tried."""
    found: Counter[str] = Counter()
    for path in PACKAGE.rglob("*.py"):
        if path.is_relative_to(PACKAGE / "testing"):
            continue  # in memory, what delivers records has the point that Faust's transport has
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in {"failpoint", "failpoint_in_loop", "failpoint_of_records"}
            ):
                name = node.args[0]
                assert isinstance(name, ast.Constant)
                found[name.value] += 1
    assert found == Counter(POINTS)


def test_without_a_plan_nothing_happens() -> None:
    """Off by default."""
    for point in POINTS:
        failpoint(point)
    failpoint_of_records("source.rows", 0, [1])


def test_an_error_on_a_record_is_raised_whenever_that_record_comes() -> None:
    """A record that K2 fails on stays so, however often and with whatever else it is read."""
    arm(parse("source.rows=raise-on:2/17"))
    failpoint_of_records("source.rows", 2, [16, 18])
    failpoint_of_records("source.rows", 1, [17])
    for offsets in ([16, 17], [17]):
        with pytest.raises(FailpointError):
            failpoint_of_records("source.rows", 2, offsets)
    for wrong in ("source.rows=raise-on:17", "lake.taken=raise-on:0/1", "source.rows=raise-on:"):
        with pytest.raises(ValueError, match="raise-on"):
            parse(wrong)


async def test_an_error_is_raised_the_nth_time_and_only_then(tmp_path: Path) -> None:
    """And it is written down, so that a harness can count it."""
    record = tmp_path / "hits"
    arm(parse("lake.taken=raise@2; checkpoint.begun=raise"), record)
    failpoint("lake.taken")
    failpoint("lake.committed")
    with pytest.raises(FailpointError, match=r"lake\.taken"):
        failpoint("lake.taken")
    failpoint("lake.taken")
    with pytest.raises(FailpointError):
        await failpoint_in_loop("checkpoint.begun")
    noted = [line.split()[1:] for line in record.read_text().splitlines()]
    process = str(os.getpid())
    assert noted == [[process, "lake.taken", "raise"], [process, "checkpoint.begun", "raise"]]


def test_a_crash_is_a_kill(tmp_path: Path) -> None:
    """No handler runs, nothing is flushed: only the record says that it was here."""
    record = tmp_path / "hits"
    code = (
        "from pathlib import Path\nfrom k2_streams.failpoints import *\n"
        f"arm(parse('tail.evicting=crash'), Path({str(record)!r}))\n"
        "try:\n    failpoint('tail.evicting')\nfinally:\n    print('alive')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == b""
    assert re.fullmatch(r"\d+ \d+ tail.evicting crash\n", record.read_text())


@pytest.mark.parametrize(
    "text",
    ["nowhere=crash", "lake.taken", "lake.taken=delay", "lake.taken=raise:2", "lake.taken=crash@0"],
)
def test_a_plan_that_says_nothing_is_refused(text: str) -> None:
    """A typing error must not make a run look as if it had passed the fault."""
    with pytest.raises(SettingsError, match="K2_FAILPOINTS"):
        from_environment({"K2_FAILPOINTS": text})
