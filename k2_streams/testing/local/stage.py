"""Brokers, workers and `k2` commands on one data directory: what demos, benchmarks and faults use.

Every process is a real one with settings of its own. Whatever happens, all of them end with the
stage.
"""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from k2_streams.runtime.settings.environment import inherited
from k2_streams.testing.local import up_state
from k2_streams.testing.local.cluster import Cluster
from k2_streams.testing.local.installed import kafka_jars
from k2_streams.testing.local.loopback import HOST, free_port
from k2_streams.testing.local.processes import end_process
from k2_streams.testing.local.up_state import PlatformMember, UpState
from k2_streams.testing.local.workers import LocalWorker

#: A producer ends in order within a second or two of a signal: it waits for acknowledgements.
COMMAND_STOP_TIMEOUT_S = 10.0


class Stage:
    """Use as a context manager; nothing runs before `brokers.start` and `start`.

    Args:
        directory: `K2_DATA_DIR` of every process, made when missing. Brokers are in `broker`.
        settings: of every process, beside where its broker and its data are.
        brokers: 1, or 3 as a cluster.
        host: where clients connect to the brokers.
        under: a command to run each worker under, which must become the worker itself.
        detached: the brokers outlive the session and the terminal of the starter.
        jars: of Kafka; None: as the settings have them.

    Attributes:
        brokers: the cluster.
        settings: as given; changes reach the processes started after them.
        workers: by their id, as last started.
        truths: of the runs of `produce`, in order.
    """

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, str] | None = None,
        *,
        brokers: int = 1,
        host: str = HOST,
        under: Sequence[str] = (),
        detached: bool = False,
        jars: Path | None = None,
    ) -> None:
        self.directory = directory.resolve()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.settings = dict(settings or {})
        self.brokers = Cluster(
            self.directory / "broker", jars or kafka_jars(), brokers, host, detached=detached
        )
        self.workers: dict[int, LocalWorker] = {}
        self.truths: list[Path] = []
        self._under = under
        self._ports: dict[int, int] = {}
        self._commands: list[subprocess.Popen[bytes]] = []
        self._kept = False

    @property
    def bootstrap(self) -> str:
        """The brokers' addresses."""
        return self.brokers.bootstrap

    def environment(self, settings: Mapping[str, str] | None = None) -> dict[str, str]:
        """Of a command."""
        own = {"K2_BOOTSTRAP": self.bootstrap, "K2_DATA_DIR": str(self.directory)}
        return inherited({**own, **self.settings, **(settings or {})})

    # -- workers ---------------------------------------------------------------------------------

    def start(self, worker_id: int = 0, **settings: str) -> LocalWorker:
        """Start a worker, on the port that it had before if it ran; it is not ready yet."""
        port = self._ports.get(worker_id) or self._ports.setdefault(worker_id, free_port())
        worker = self._worker(worker_id, {**self.settings, **settings}, port)
        self.workers[worker_id] = worker.start()
        return worker

    def _worker(self, worker_id: int, settings: Mapping[str, str], port: int) -> LocalWorker:
        return LocalWorker(
            self.directory, self.bootstrap, worker_id, settings, port=port, under=self._under
        )

    # -- commands --------------------------------------------------------------------------------

    def run(self, *arguments: str, output: IO[str] | int | None = None) -> int:
        """A `k2` command to its end; its exit code.

        Args:
            arguments: of `k2`.
            output: where it prints; None: on this terminal.
        """
        sys.stdout.flush()
        return subprocess.run(  # noqa: S603 - our own command, no shell
            _command(arguments),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            check=False,
        ).returncode

    def produce(self, *arguments: str) -> Path:
        """`k2 produce` to its end; the truth file of what was sent.

        Raises:
            RuntimeError: it failed; the text has what it printed.
        """
        truth = self.next_truth()
        log_file = log_file_of(truth)
        with log_file.open("w") as log:
            code = self.run("produce", *arguments, "--truth", str(truth), output=log)
        if code:
            raise RuntimeError(f"k2 produce ended with {code}\n{log_file.read_text()}")
        self.truths.append(truth)
        return truth

    def start_produce(
        self, truth: Path, *arguments: str, settings: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """`k2 produce` beside what comes next; what it prints is in `log_file_of(truth)`."""
        with log_file_of(truth).open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - our own command, no shell
                _command(("produce", *arguments, "--truth", str(truth))),
                env=self.environment(settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._commands.append(process)
        return process

    def next_truth(self) -> Path:
        """A truth file that does not exist yet, by the number of those that do."""
        return self.directory / f"truth-{len(self.truths)}.jsonl.gz"

    def verify(
        self,
        *truths: Path,
        options: Sequence[str] = (),
        output: IO[str] | int | None = None,
        node: int | None = None,
    ) -> int:
        """`k2 verify` of these truth files by a worker (None: the first); its exit code."""
        named = [argument for truth in truths for argument in ("--truth", str(truth))]
        url = self.workers[min(self.workers) if node is None else node].url
        return self.run("verify", *named, "--url", url, *options, output=output)

    # -- the end ---------------------------------------------------------------------------------

    def keep(self) -> None:
        """Leave Kafka, worker and data as they are, for `k2 down` to stop."""
        worker = self.workers[0]
        if worker.process is None:
            raise RuntimeError("keep: worker 0 has not been started")
        member = PlatformMember(pid=worker.process.pid, url=worker.url)
        state = UpState(own_broker=True, bootstrap=self.bootstrap, members=(member,))
        up_state.remember(self.directory, state)
        self._kept = True

    @property
    def kept(self) -> bool:
        """Whether `keep` was called."""
        return self._kept

    def close(self) -> None:
        """End commands, workers and brokers, in this order."""
        for process in self._commands:
            end_process(process, COMMAND_STOP_TIMEOUT_S)
        for worker in self.workers.values():
            worker.kill()
        self.brokers.stop()

    def __enter__(self) -> Self:
        """Nothing runs yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all, unless it is kept and the block came to its end."""
        if error is not None:
            self._kept = False
        if not self._kept:
            self.close()


def log_file_of(truth: Path) -> Path:
    """Where a producer prints that writes this truth file."""
    return truth.with_name(f"{truth.name}.log")


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "k2_streams.cli.main", *arguments]
