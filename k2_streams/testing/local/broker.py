"""A local Apache Kafka: one process in KRaft mode, on loopback ports, in a directory of its own.

    new -> start() -> running -> stop() -> stopped -> start() ...

Starting, in this order:
1. Take the directory's lock: two starters would format and write the same files.
2. A process that already runs here is the answer. What a dead one left is removed.
3. Format the storage, once. Its marker is written last, so an interrupted format is done again.
4. Choose ports, write the properties, start Java, and note its process id at once: whatever
   happens to the starter afterwards, `stop` finds the process.
5. Ready when it answers a metadata request. A process that ends before, or takes too long, is an
   error that ends with its last words.
"""

import base64
import contextlib
import fcntl
import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil
import structlog

from k2_streams.clock import SYSTEM_CLOCK, Clock
from k2_streams.testing.local import broker_files as files
from k2_streams.testing.local.broker_errors import (
    BrokerError,
    BrokerSetupError,
    BrokerStartError,
    PortBusyError,
)
from k2_streams.testing.local.loopback import HOST, free_ports, is_free
from k2_streams.testing.local.probe import is_ready

log = structlog.get_logger(__name__)

#: Ready in 3 s on two idle cores, in 26 s on two with ten other programs at work.
START_TIMEOUT_S = 120.0
#: Kafka hands over and flushes in 1 to 3 s; what it had not flushed is in its log anyway.
STOP_TIMEOUT_S = 15.0
#: Between two questions whether it is ready.
POLL_S = 0.05
#: A port that was free may be taken before Kafka binds it: choose again, but not for ever.
PORT_ATTEMPTS = 3
#: Lines of Kafka's log that an error shows.
LAST_WORDS_LINES = 6

_PORT_TAKEN = re.compile("Address already in use")
#: The lines of Kafka's log with the reason why it ended.
_REASON = re.compile(r" (ERROR|FATAL) |Exception|Error: |Caused by")

_STATE_NAME = "broker.json"
_LOCK_NAME = "broker.lock"
_FORMATTED_NAME = "formatted"


class _State(msgspec.Struct, frozen=True):
    """What is kept in `broker.json` of the process that was started."""

    pid: int
    port: int


@dataclass(frozen=True, slots=True)
class BrokerStatus:
    """Whether the broker of a directory runs and, if so, where."""

    pid: int | None
    bootstrap: str | None
    ready: bool
    log_file: Path

    @property
    def running(self) -> bool:
        """Its process is alive, ready or not."""
        return self.pid is not None


class LocalBroker:
    """The Kafka of one directory: its data, settings, process id and logs are all in there.

    Args:
        directory: made when missing; data in it survive a stop and a kill.
        jars: the folder that `k2 broker fetch` fills.
        port: where clients connect; 0 takes any free one.
        java: the program to run.
        heap_mb: the limit of Java's heap.
        detached: the process outlives the session and the terminal of its starter.
        clock: measures how long it took.
        host: where clients connect.
        member: its place in a cluster, whose nodes must be started together: a node is ready when
            most of them are. None: it is alone.
        secured: its listeners beside the plain one; None: it has none.
    """

    def __init__(
        self,
        directory: Path,
        jars: Path,
        *,
        port: int = 0,
        java: str = "java",
        heap_mb: int = files.HEAP_MB,
        detached: bool = False,
        clock: Clock = SYSTEM_CLOCK,
        host: str = HOST,
        member: files.Member | None = None,
        secured: files.SecuredListeners | None = None,
    ) -> None:
        self.directory = directory.resolve()
        self.log_file = self.directory / files.LOG_NAME
        self._jars = jars.resolve()
        self._port = port
        self._java = java
        self._heap_mb = heap_mb
        self._detached = detached
        self._clock = clock
        self._host = host
        self._member = member
        self._secured = secured
        self._properties = self.directory / files.PROPERTIES_NAME
        self._state_file = self.directory / _STATE_NAME
        self._log_began = 0  # where in the log this run began

    def start(self) -> str:
        """Start Kafka unless it runs already, wait until it is ready, and give its address.

        Raises:
            BrokerSetupError: no Java, or no jars.
            PortBusyError: the port asked for is taken.
            BrokerStartError: Kafka ended or was not ready within `START_TIMEOUT_S`.
            BrokerError: it already runs here on another port than the one asked for.
        """
        with self._locked():
            found = self._find()
            if found is not None:
                process, state = found
                if self._port not in {0, state.port}:
                    raise BrokerError(
                        f"the broker in {self.directory} already runs on port {state.port}, "
                        f"not {self._port}: stop it first"
                    )
                self._wait_until_ready(process, state.port)
                return self._bootstrap(state.port)
            self._state_file.unlink(missing_ok=True)
            self._check_setup()
            self._format()
            return self._bootstrap(self._launch())

    def stop(self) -> bool:
        """End the process by its id and wait for it; False if none was running.

        Kafka is asked to end, and killed only if it has not after `STOP_TIMEOUT_S`.
        """
        if not self.directory.is_dir():
            return False
        with self._locked():
            found = self._find()
            if found is not None:
                _end(found[0])
                log.info("broker stopped", pid=found[1].pid, directory=str(self.directory))
            self._state_file.unlink(missing_ok=True)
            return found is not None

    def status(self) -> BrokerStatus:
        """What is true now; changes nothing."""
        found = self._find()
        if found is None:
            return BrokerStatus(None, None, ready=False, log_file=self.log_file)
        port = found[1].port
        return BrokerStatus(
            found[1].pid,
            self._bootstrap(port),
            ready=is_ready(self._host, port),
            log_file=self.log_file,
        )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone among starters and stoppers of this directory; waits for its turn."""
        (self.directory / files.LOG_NAME).parent.mkdir(parents=True, exist_ok=True)
        with (self.directory / _LOCK_NAME).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _find(self) -> tuple[psutil.Process, _State] | None:
        """The live process of this directory, or None.

        A process id alone proves nothing, since the system gives it out again: the process must
        have been started with this directory's properties.
        """
        try:
            state = msgspec.json.decode(self._state_file.read_bytes(), type=_State)
            process = psutil.Process(state.pid)
            ours = str(self._properties) in process.cmdline()
        except (FileNotFoundError, msgspec.DecodeError, psutil.Error):
            return None
        return (process, state) if ours else None

    def _check_setup(self) -> None:
        if shutil.which(self._java) is None:
            raise BrokerSetupError(f"Java 17 or newer is needed, found none as '{self._java}'")
        if not any(self._jars.glob("kafka_*.jar")):
            raise BrokerSetupError(f"no Kafka jars in {self._jars}: run `k2 broker fetch`")
        if self._port and not is_free(self._port):
            raise PortBusyError(self._port)

    def _format(self) -> None:
        marker = self.directory / _FORMATTED_NAME
        if marker.exists():
            return
        own = self._member.controller_port if self._member else 9093
        self._write_files(port=9092, controller_port=own)  # formatting binds no port
        tool = ["kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", self._cluster_id()]
        for user in self._secured.users if self._secured else ():
            tool += ["--add-scram", user]
        done = subprocess.run(  # noqa: S603 - the program is Java, the arguments are ours
            [*self._java_command(), *tool, "-c", str(self._properties)],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            last = "\n".join((done.stdout + done.stderr).splitlines()[-LAST_WORDS_LINES:])
            raise BrokerStartError(
                f"formatting its storage ended with {done.returncode}", self.log_file, last
            )
        marker.write_text(f"{self._cluster_id()}\n")

    def _launch(self) -> int:
        """Steps 4 and 5; gives the port."""
        for attempt in range(1, PORT_ATTEMPTS + 1):
            port, controller_port = free_ports(2)
            port = self._port or port
            controller_port = self._member.controller_port if self._member else controller_port
            try:
                self._run(port, controller_port)
            except BrokerStartError as error:
                if not _PORT_TAKEN.search(error.last_words) or attempt == PORT_ATTEMPTS:
                    raise
                log.warning("port taken", port=port, controller_port=controller_port)
            else:
                return port
        raise AssertionError("the last attempt returns or raises")

    def _run(self, port: int, controller_port: int) -> None:
        self._write_files(port, controller_port)
        began = self._clock.monotonic()
        self._log_began = self.log_file.stat().st_size if self.log_file.exists() else 0
        console = (self.directory / files.CONSOLE_NAME).open("wb")
        with console:
            process = psutil.Popen(
                [*self._java_command(), "kafka.Kafka", str(self._properties)],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=self._detached,
            )
        try:
            self._state_file.write_bytes(msgspec.json.encode(_State(process.pid, port)))
            self._wait_until_ready(process, port)
        except BaseException:
            _end(process)
            self._state_file.unlink(missing_ok=True)
            raise
        log.info(
            "broker ready",
            bootstrap=self._bootstrap(port),
            pid=process.pid,
            seconds=round(self._clock.monotonic() - began, 1),
        )

    def _wait_until_ready(self, process: psutil.Process, port: int) -> None:
        deadline = self._clock.monotonic() + START_TIMEOUT_S
        while not is_ready(self._host, port):
            with contextlib.suppress(psutil.TimeoutExpired):
                code = process.wait(POLL_S)
                raise BrokerStartError(
                    f"the process ended with {code}", self.log_file, self._last_words()
                )
            if self._clock.monotonic() > deadline:
                raise BrokerStartError(
                    f"not ready after {START_TIMEOUT_S:.0f} s", self.log_file, self._last_words()
                )

    def _java_command(self) -> list[str]:
        return [self._java, *files.java_options(self._heap_mb), "-cp", f"{self._jars}/*"]

    def _write_files(self, port: int, controller_port: int) -> None:
        properties = files.server_properties(
            port, controller_port, self._host, self._member, self._secured
        )
        self._properties.write_text(properties)
        (self.directory / files.LOGGING_NAME).write_text(files.logging_properties())

    def _cluster_id(self) -> str:
        """16 bytes in 22 characters, the same for the same directory or cluster."""
        name = self._member.cluster if self._member else str(self.directory)
        digest = hashlib.sha256(name.encode()).digest()[:16]
        # Kafka reserves the ids that begin with a dash.
        return base64.urlsafe_b64encode(digest).decode().rstrip("=").replace("-", "_")

    def _last_words(self) -> str:
        """Why this run ended, as far as Kafka's log and Java's own output tell."""
        text = (self.directory / files.CONSOLE_NAME).read_text(errors="replace")
        if self.log_file.exists():
            logged = self.log_file.read_bytes()
            # A log shorter than it was has been rolled since: all of it is of this run.
            began = self._log_began if self._log_began <= len(logged) else 0
            text += logged[began:].decode(errors="replace")
        lines = text.splitlines()
        reasons = [line for line in lines if _REASON.search(line)]
        return "\n".join(reasons[:LAST_WORDS_LINES] or lines[-LAST_WORDS_LINES:])

    def _bootstrap(self, port: int) -> str:
        return f"{self._host}:{port}"


def _end(process: psutil.Process) -> None:
    """Terminate, wait, and kill if need be. The process is gone when this returns."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except psutil.TimeoutExpired:
            log.warning("broker killed", pid=process.pid, after_s=STOP_TIMEOUT_S)
            process.kill()
            process.wait(STOP_TIMEOUT_S)
