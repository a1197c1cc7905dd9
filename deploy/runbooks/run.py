"""One incident after the other on one scene; after one that failed, on a new one."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.runbooks.incidents import Incident
from deploy.runbooks.pages import commands_of
from deploy.runbooks.scene import CommandsFailedError, Scene, new_stage, prometheus_of
from k2_streams.testing.local.workers import WorkerError
from k2_streams.testing.waiting import StuckError

#: Sent before each incident: its rows must not be touched by what comes.
_BEFORE = ("--messages", "500", "--start", "now")
#: Of one alert alone: the others of its incident go on.
_OF_AN_ALERT = (StuckError, CommandsFailedError)
#: Of the scene: a process that does not start or answer.
_OF_THE_SCENE = (StuckError, WorkerError, OSError, RuntimeError)


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


@contextmanager
def new_scene() -> Iterator[Scene]:
    """With a worker that is ready, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="k2-runbooks-") as name, ExitStack() as stack:
        folder = Path(name)
        stage = stack.enter_context(new_stage(folder))
        stage.brokers.start()
        worker = stage.start().wait_ready()
        yield Scene(folder, stage, stack.enter_context(prometheus_of(folder, worker)))


def run(
    incidents: Iterable[Incident],
    new_scene: Callable[[], AbstractContextManager[Scene]] = new_scene,
) -> Iterator[Outcome]:
    """Cause each, follow the runbooks of its alerts, and compare with all that was sent.

    Args:
        incidents: in this order.
        new_scene: makes one.

    Raises:
        NoPrometheusError: there is none.
    """
    with ExitStack() as stack:
        scene: Scene | None = None
        for incident in incidents:
            outcomes = [Outcome(alert, incident.cause) for alert in incident.alerts]
            try:
                scene = scene or stack.enter_context(new_scene())
                _follow(scene, incident, outcomes)
            except _OF_THE_SCENE as error:
                for one in outcomes:
                    one.problem = one.problem or str(error)
            if any(one.problem for one in outcomes):
                stack.close()
                scene = None
            yield from outcomes


def _follow(scene: Scene, incident: Incident, outcomes: list[Outcome]) -> None:
    """1 calm, 2 cause, 3 alert, 4 diagnosis, 5 remedy, 6 end of the alert, 7 comparison."""
    scene.stage.produce("--exchange", f"B{len(scene.stage.truths):03}", *_BEFORE)
    # 1. An alert that fires already would be none of this cause.
    _each(outcomes, lambda one: scene.wait_firing(one.alert, firing=False))
    began = time.monotonic()
    with incident.happening(scene):
        _each(outcomes, lambda one: _wait_fired(scene, one, began))
        _each(outcomes, lambda one: scene.follow(commands_of(one.alert, "Diagnosis")))
        mended = time.monotonic()
    _each(outcomes, lambda one: _remedy(scene, incident, one))
    _each(outcomes, lambda one: _wait_resolved(scene, one, mended))
    scene.worker.wait_ready()
    differences = scene.differences()
    for one in outcomes:
        one.problem = one.problem or differences


def _each(outcomes: list[Outcome], step: Callable[[Outcome], None]) -> None:
    """A step of every alert without a problem; one that fails ends none but its own."""
    for one in outcomes:
        if not one.problem:
            try:
                step(one)
            except _OF_AN_ALERT as error:
                one.problem = str(error)


def _wait_fired(scene: Scene, one: Outcome, began: float) -> None:
    scene.wait_firing(one.alert)
    one.fired_s = time.monotonic() - began


def _remedy(scene: Scene, incident: Incident, one: Outcome) -> None:
    commands = commands_of(one.alert, "Remedy")
    scene.follow(commands)
    shown = " ".join(commands.replace("\\\n", "").split())
    one.remedy = "; ".join(part for part in (incident.remedy, shown) if part)


def _wait_resolved(scene: Scene, one: Outcome, mended: float) -> None:
    scene.wait_firing(one.alert, firing=False)
    one.resolved_s = time.monotonic() - mended
