"""Where incidents happen: Kafka, a worker and a Prometheus that evaluates the compressed rules."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import yaml

from deploy.runbooks.compressed import compressed
from k2_streams.runtime.settings.worker import Settings, from_environment
from k2_streams.testing.local.installed import java_program, kafka_jars
from k2_streams.testing.local.prometheus import Prometheus
from k2_streams.testing.local.stage import Stage
from k2_streams.testing.local.workers import LocalWorker
from k2_streams.testing.waiting import wait_until

#: What the runbooks print as the worker's address.
_ADDRESS = "127.0.0.1:6066"
#: Kafka's own tools, by the names that they have in its distribution.
_KAFKA_TOOLS = {"kafka-configs.sh": "kafka.admin.ConfigCommand"}
#: The longest: a repair or a redrive, on a busy machine.
COMMANDS_WITHIN_S = 120.0
#: From a cause to its alert, and from its remedy to the end of it: the longest window is an hour.
ALERT_WITHIN_S = 240.0
#: The exchange that has a calendar; the others trade in no session that K2 knows.
OF_CALENDAR = "OPEN"
_SETTINGS = {
    "K2_CALENDARS": f"{OF_CALENDAR}=24/7",
    "K2_RATE_LIMIT_PER_S": "100000", "K2_LAKE_COMMIT_INTERVAL_S": "1", "K2_BREAKER_OPEN_S": "3",
    "K2_COOL_DOWN_S": "1", "K2_MAINTENANCE": "1", "K2_MAINTENANCE_INTERVAL_S": "1", "NO_COLOR": "1",
}  # fmt: skip


class CommandsFailedError(Exception):
    """The commands of a runbook failed, or did not end; the text has what they printed."""


class Scene:
    """One worker with a log, a lake and rules over it. Use `stage` within its own block.

    Args:
        folder: of all files.
        stage: the processes.
        prometheus: scrapes the worker.
        commands_within_s: the commands of one page are ended after this long.
    """

    def __init__(
        self,
        folder: Path,
        stage: Stage,
        prometheus: Prometheus,
        commands_within_s: float = COMMANDS_WITHIN_S,
    ) -> None:
        self.stage = stage
        self.prometheus = prometheus
        self._commands_within_s = commands_within_s
        self._printed = folder / "printed.txt"
        self._programs = folder / "bin"
        self._programs.mkdir()
        jars = kafka_jars().resolve()
        for name, java_class in _KAFKA_TOOLS.items():
            program = self._programs / name
            program.write_text(
                f"#!/bin/sh\nexec {java_program()} -cp '{jars}/*' {java_class} \"$@\"\n"
            )
            program.chmod(0o755)

    @property
    def worker(self) -> LocalWorker:
        """The one that there is."""
        return self.stage.workers[0]

    def settings(self) -> Settings:
        """Of the worker."""
        return from_environment(self.stage.environment())

    def restart(self, **settings: str) -> None:
        """Stop the worker and start it with these settings beside the usual ones, until ready."""
        self.worker.stop()
        self.stage.start(0, **settings).wait_ready()

    def is_firing(self, alert: str) -> bool:
        """Whether Prometheus says so."""
        return bool(self.prometheus.query(f'ALERTS{{alertname="{alert}",alertstate="firing"}}'))

    def wait_firing(self, alert: str, *, firing: bool = True) -> None:
        """Until the alert fires, or does not any more.

        Raises:
            StuckError: it took longer than `ALERT_WITHIN_S`.
        """
        what = f"{alert} {'fires' if firing else 'resolves'}"
        wait_until(lambda: self.is_firing(alert) is firing, what, ALERT_WITHIN_S)

    def wait_series(self, expression: str) -> None:
        """Until Prometheus has a series of this expression.

        Raises:
            StuckError: it took longer than `ALERT_WITHIN_S`.
        """
        wait_until(lambda: bool(self.prometheus.query(expression)), expression, ALERT_WITHIN_S)

    def follow(self, commands: str) -> None:
        """Run commands of a runbook as an operator's shell does.

        Raises:
            CommandsFailedError: one ended with an error, or they took longer than two minutes.
        """
        here = commands.replace(_ADDRESS, f"127.0.0.1:{self.worker.port}")
        paths = [str(self._programs), str(Path(sys.executable).parent), os.environ["PATH"]]
        with self._printed.open("w") as printed:
            shell = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", here],  # noqa: S607 - the machine's own
                env=self.stage.environment({"PATH": ":".join(paths)}),
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = shell.wait(self._commands_within_s)
                problem = f"ended with {code}" if code else ""
            except subprocess.TimeoutExpired:
                os.killpg(shell.pid, signal.SIGKILL)
                shell.wait()
                problem = f"did not end within {self._commands_within_s:g} s"
        if problem:
            raise CommandsFailedError(f"{here}{problem}\n{self._printed.read_text()}")

    def differences(self) -> str:
        """What `k2 verify` says of all that was sent; empty: it agrees."""
        with self._printed.open("w") as printed:
            code = self.stage.verify(*self.stage.truths, output=printed)
        return f"k2 verify ended with {code}\n{self._printed.read_text()}" if code else ""


def new_stage(folder: Path) -> Stage:
    """The processes of a scene; none runs yet."""
    return Stage(folder / "data", _SETTINGS)


def prometheus_of(folder: Path, worker: LocalWorker) -> Prometheus:
    """It scrapes the worker each second, and evaluates the compressed rules as often.

    Raises:
        NoPrometheusError: there is none.
    """
    rules = folder / "rules.yml"
    rules.write_text(yaml.safe_dump(compressed()))
    return Prometheus(folder / "prometheus", worker.url, rules)
