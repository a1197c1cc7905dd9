"""What `python -m faults` goes through."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from faults import (
    acknowledgements,
    big_state,
    clock,
    disk,
    files,
    hour,
    maintenance,
    network,
    refusals,
    replicated,
    waits,
)
from faults import injections as at
from faults.segment import Group, Segment
from faults.stage import FaultStage
from k2_streams.failpoints import WORKER_POINTS

PLANS = ("short", "full", "long", "hour")
_EACH_POINT = {"full": len(WORKER_POINTS), "long": len(WORKER_POINTS)}


@contextmanager
def _one_broker(directory: Path, seed: int) -> Iterator[FaultStage]:
    stage = FaultStage(directory, seed)
    with stage.running():
        yield stage


_SHORT = {"short": 1, "full": 3}
GROUPS: tuple[Group[Any], ...] = (
    Group(
        "one broker",
        _one_broker,
        (
            Segment("kill -9 at random", at.kill_at_random, 8, _SHORT | {"full": 20, "long": 75}),
            Segment("kill -9 at a failpoint", at.crash_at_points, 16, _EACH_POINT),
            Segment("error at a failpoint", at.raise_at_points, 9, _EACH_POINT),
            Segment("SIGSTOP at random", at.stop_at_random, 13, _SHORT | {"long": 14}),
            Segment("SIGSTOP in mid-commit", at.stop_at_points, 20, {"full": 5, "long": 16}),
            Segment("broker kill -9", at.kill_broker, 16, _SHORT | {"full": 4, "long": 16}),
            Segment("rebalance storm", at.storm, 8, _SHORT | {"full": 5, "long": 10}),
            Segment("broker away at the start", waits.without_broker, 15, {"full": 1, "long": 2}),
            Segment("catalog locked", waits.locked_catalog, 60, {"full": 1, "long": 2}),
            Segment("slow sink", waits.slow_sink, 40, {"full": 1, "long": 2}),
            Segment("memory limit", waits.memory_limit, 30, {"full": 1, "long": 2}),
            Segment("maintenance racing commits", maintenance.racing, 40, {"full": 1, "long": 4}),
        ),
    ),
    files.GROUP,
    refusals.GROUP,
    replicated.GROUP,
    disk.GROUP,
    network.GROUP,
    clock.GROUP,
    acknowledgements.GROUP,
    acknowledgements.ON_S3,
    big_state.GROUP,
    hour.GROUP,
)
