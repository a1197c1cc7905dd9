"""Workers as child processes of demos, benchmarks and tests: start, wait, stop, kill."""

import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from k2_client.exchange import Reply
from k2_streams.core.records.source import INPUTS
from k2_streams.runtime.settings.environment import inherited
from k2_streams.testing import client
from k2_streams.testing.local.loopback import HOST, free_port
from k2_streams.testing.waiting import StuckError, wait_until

#: From the start of the process to answering queries, on a busy machine.
READY_WITHIN_S = 90.0
#: A worker ends by itself within 20 s of a signal; then it is killed.
STOP_WITHIN_S = 25.0

#: With which a worker refuses to start.
EXIT_REFUSED = 2
#: Begins the line of a worker that refuses to start.
_REFUSAL = "k2: "


class WorkerError(Exception):
    """A worker ended, or did not become ready; the text has its last words."""


class WorkerProcess(Protocol):
    """What a `subprocess.Popen` has."""

    @property
    def pid(self) -> int:
        """Its id."""

    @property
    def returncode(self) -> int | None:
        """Its exit code, or the signal that ended it, below 0; None: it runs."""

    def poll(self) -> int | None:
        """Look whether it has ended; its exit code."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; its exit code.

        Raises:
            subprocess.TimeoutExpired: it has not ended.
        """

    def send_signal(self, sig: int, /) -> None:
        """Send it a signal, unless it has ended."""


#: Starts a command with this environment; what it prints is appended to the file.
Launch = Callable[[Sequence[str], Mapping[str, str], Path], WorkerProcess]


def launch(command: Sequence[str], environment: Mapping[str, str], log_file: Path) -> WorkerProcess:
    """Start a program from nothing, in a session of its own."""
    with log_file.open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own command, no shell
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def last_lines(log_file: Path, lines: int = 25) -> str:
    """The end of a log."""
    if not log_file.exists():
        return "(no log)"
    return "\n".join(log_file.read_text(errors="replace").splitlines()[-lines:])


class LocalWorker:
    """`faust -A <module> worker`, on a port of its own.

    Args:
        directory: data of all workers (`K2_DATA_DIR`); logs go there too.
        bootstrap: the broker.
        worker_id: `K2_WORKER_ID`.
        settings: more of the environment.
        port: of its web; None: a free one.
        topology: which of the product's.
        app: a module with an app in its place; `PYTHONPATH` in the settings says where it is.
        host: where it is asked; another than loopback needs `K2_API_KEYS` in the settings.
        under: a command to run it under, which must become the worker itself.
        launch: starts the process.
    """

    def __init__(
        self,
        directory: Path,
        bootstrap: str,
        worker_id: int = 0,
        settings: Mapping[str, str] | None = None,
        port: int | None = None,
        topology: str = "trades",
        host: str = HOST,
        under: Sequence[str] = (),
        *,
        app: str | None = None,
        launch: Launch = launch,
    ) -> None:
        self._launch = launch
        self._module = app or f"topologies.{topology}"
        self._under = under
        self.port = port or free_port()
        self.url = f"http://{host}:{self.port}"
        self.directory = directory
        name = app or INPUTS[topology].folder
        self.log_file = directory / f"{name}-{worker_id}.log"
        given = {
            "K2_BOOTSTRAP": bootstrap,
            "K2_DATA_DIR": str(directory),
            "K2_WORKER_ID": str(worker_id),
            "K2_WEB_HOST": host,
            "K2_WEB_PORT": str(self.port - worker_id),
            "PYTHONUNBUFFERED": "1",
            **(settings or {}),
        }
        self._environment = inherited(given)
        self.process: WorkerProcess | None = None

    def start(self) -> Self:
        """Start the process; it is not ready yet."""
        self.directory.mkdir(parents=True, exist_ok=True)
        faust = [*self._under, str(Path(sys.executable).parent / "faust")]
        command = [*faust, "-A", self._module, "worker", "-l", "info"]
        self.process = self._launch(command, self._environment, self.log_file)
        return self

    def wait_ready(self, within_s: float = READY_WITHIN_S) -> Self:
        """Wait until it answers queries.

        Raises:
            WorkerError: it ended, or took longer.
        """

        def ready() -> bool:
            if self.is_ready():
                return True
            self._check_alive()
            return False

        try:
            wait_until(ready, "worker ready", within_s)
        except StuckError as error:
            raise WorkerError(f"not ready after {within_s:.0f} s\n{self.last_words()}") from error
        return self

    def _check_alive(self) -> None:
        if self.process is None or self.process.poll() is not None:
            code = self.process.returncode if self.process else None
            raise WorkerError(f"worker ended with {code}\n{self.why_it_ended(code)}")

    def is_ready(self) -> bool:
        """Whether `/health/ready` answers 200."""
        try:
            self.fetch("/health/ready", within_s=2.0)
        except OSError:
            return False
        return True

    def running_partitions(self, within_s: float = 30.0) -> set[str]:
        """The partitions whose tasks run here.

        Raises:
            StatusError: the answer's status is not 200.
            NoAnswerError: there is none.
        """
        partitions = self.get("/v1/status", within_s)["partitions"]
        return {one for one, task in partitions.items() if task["state"] == "running"}

    def get(self, path: str, within_s: float = 30.0) -> Any:
        """The JSON of an answer.

        Raises:
            StatusError: the answer's status is not 200.
            NoAnswerError: there is none.
        """
        return client.decode(self.fetch(path, within_s))

    def fetch(self, path: str, within_s: float = 30.0) -> Reply:
        """An answer, with the API key of the settings.

        Raises:
            StatusError: the answer's status is not 200.
            NoAnswerError: there is none.
        """
        keys = self._environment.get("K2_API_KEYS")
        return client.fetch(self.url + path, within_s, keys.split(",")[0] if keys else None)

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as a power failure of this process would."""
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def stop(self) -> int:
        """End it in order; its exit code."""
        if self.process is None:
            return 0
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise WorkerError(f"did not stop in {STOP_WITHIN_S} s\n{self.last_words()}") from None

    def why_it_ended(self, code: int | None) -> str:
        """One line where it refused to start, as it wrote it; else the end of its log."""
        refusals = [line for line in self.last_words().splitlines() if _REFUSAL in line]
        if code == EXIT_REFUSED and refusals:
            return refusals[-1].partition(_REFUSAL)[2].rstrip("'")
        return self.last_words()

    def last_words(self, lines: int = 25) -> str:
        """The end of its log."""
        return last_lines(self.log_file, lines)

    def __enter__(self) -> Self:
        """Start, and wait until ready."""
        self.start()
        try:
            return self.wait_ready()
        except BaseException:
            self.kill()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()
