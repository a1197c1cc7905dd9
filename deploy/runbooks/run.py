"""One incident after the other, each to its end and on a scene of its own."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.runbooks.incidents import Incident
from deploy.runbooks.pages import commands_of
from deploy.runbooks.scene import CommandsFailedError, Scene, new_stage, prometheus_of
from k2_streams.testing.local.workers import WorkerError
from k2_streams.testing.waiting import StuckError

#: Sent before each incident: its rows must not be touched by what comes.
_BEFORE = ("--messages", "500", "--start", "now")


@dataclass(slots=True)
class Outcome:
    """What became of an alert; in seconds of the run, which are compressed.

    Attributes:
        alert: its name.
        cause: as the incident has it.
        fired_s: from the cause to the alert; None: it did not fire.
        resolved_s: from the begin of the remedy to the end of the alert; None: it did not end.
        remedy: what was done.
        problem: what went wrong; empty: nothing, and `k2 verify` agrees with all that was sent.
    """

    alert: str
    cause: str
    fired_s: float | None = None
    resolved_s: float | None = None
    remedy: str = ""
    problem: str = ""


def run(incident: Incident) -> list[Outcome]:
    """Cause it, and follow the runbooks of its alerts.

    Raises:
        NoPrometheusError: there is none.
    """
    outcomes = [Outcome(alert, incident.cause) for alert in incident.alerts]
    try:
        with _scene() as scene:
            _follow(scene, incident, outcomes)
    except (StuckError, CommandsFailedError, WorkerError) as error:
        for one in outcomes:
            one.problem = one.problem or str(error)
    return outcomes


@contextmanager
def _scene() -> Iterator[Scene]:
    with tempfile.TemporaryDirectory(prefix="k2-runbooks-") as name, ExitStack() as stack:
        folder = Path(name)
        stage = stack.enter_context(new_stage(folder))
        stage.brokers.start()
        worker = stage.start().wait_ready()
        yield Scene(folder, stage, stack.enter_context(prometheus_of(folder, worker)))


def _follow(scene: Scene, incident: Incident, outcomes: list[Outcome]) -> None:
    """1 cause, 2 alert, 3 diagnosis, 4 remedy, 5 end of the alert, 6 comparison with the truth."""
    scene.stage.produce("--exchange", "BEFORE", *_BEFORE)
    began = time.monotonic()
    with incident.happening(scene):
        for one in outcomes:
            scene.wait_firing(one.alert)
            one.fired_s = time.monotonic() - began
        for one in outcomes:
            scene.follow(commands_of(one.alert, "Diagnosis"))
        mended = time.monotonic()
    for one in outcomes:
        commands = commands_of(one.alert, "Remedy")
        scene.follow(commands)
        shown = " ".join(commands.replace("\\\n", "").split())
        one.remedy = "; ".join(part for part in (incident.remedy, shown) if part)
    for one in outcomes:
        scene.wait_firing(one.alert, firing=False)
        one.resolved_s = time.monotonic() - mended
    scene.worker.wait_ready()
    differences = scene.differences()
    for one in outcomes:
        one.problem = differences
