"""What the demo starts and stops: a Kafka, a worker, `k2` commands, in a directory of its own."""

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from k2_streams.runtime.settings.environment import forget_settings, inherited
from k2_streams.testing.local import up_state
from k2_streams.testing.local.broker import LocalBroker
from k2_streams.testing.local.installed import java_program, kafka_jars
from k2_streams.testing.local.up_state import UpState
from k2_streams.testing.local.workers import LocalWorker

#: A producer ends in order within a second or two of being asked: it waits for acknowledgements.
PRODUCER_STOP_WITHIN_S = 10.0
#: A livelier story than the default of 10 s: lake and tail change places while one watches.
COMMIT_EVERY_S = 2


class Stage:
    """Use as a context manager: whatever happens, all that was started is stopped at its end.

    The settings of the caller's environment are removed: the demo must touch neither the
    caller's Kafka nor the caller's lake.
    """

    def __init__(self) -> None:
        jars = kafka_jars()
        forget_settings()
        self.directory = Path(tempfile.mkdtemp(prefix="k2-demo-")).resolve()
        self._keep = False
        self._undo = contextlib.ExitStack()
        self._undo.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self.broker = LocalBroker(
            self.directory / "broker", jars, java=java_program(), detached=True
        )
        self.bootstrap = ""
        self.worker: LocalWorker

    def start_broker(self) -> str:
        """Start Kafka on free ports; its address.

        Raises:
            BrokerError: it does not start.
        """
        self._undo.callback(self.broker.stop)
        self.bootstrap = self.broker.start()
        return self.bootstrap

    def start_worker(self, settings: Mapping[str, str] | None = None) -> LocalWorker:
        """Start a worker, and wait until it answers.

        Args:
            settings: of it, beside where things are.

        Raises:
            WorkerError: it does not.
        """
        settings = {"K2_LAKE_COMMIT_INTERVAL_S": str(COMMIT_EVERY_S), **(settings or {})}
        self.worker = LocalWorker(self.directory, self.bootstrap, settings=settings)
        self._undo.callback(self.worker.stop)
        return self.worker.start().wait_ready()

    def spawn(
        self, log_file: Path, *arguments: str, settings: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """A `k2` command beside the demo, what it prints in a file."""
        with log_file.open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - our own command, no shell
                self._command(arguments),
                env={**self._environment(), **(settings or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._undo.callback(_end, process)
        return process

    def run(self, *arguments: str) -> int:
        """A `k2` command to its end, on this terminal; its exit code."""
        sys.stdout.flush()
        return subprocess.run(  # noqa: S603 - our own command, no shell
            self._command(arguments), env=self._environment(), stdin=subprocess.DEVNULL, check=False
        ).returncode

    def keep(self) -> None:
        """Leave Kafka, worker and data as they are, for `k2 down` to stop."""
        assert self.worker.process is not None  # noqa: S101 - it runs
        state = UpState(
            own_broker=True,
            bootstrap=self.bootstrap,
            url=self.worker.url,
            pid=self.worker.process.pid,
        )
        up_state.remember(self.directory, state)
        self._keep = True

    def _environment(self) -> dict[str, str]:
        ours = {"K2_BOOTSTRAP": self.bootstrap, "K2_DATA_DIR": str(self.directory)}
        return inherited(ours)

    @staticmethod
    def _command(arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "k2_streams.cli.main", *arguments]

    def __enter__(self) -> Self:
        """Nothing runs yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop in the reverse order of the start, and remove the directory, unless kept."""
        if self._keep and error is None:
            self._undo.pop_all()
        else:
            self._undo.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(PRODUCER_STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
