"""Processes that begin with K2's modules loaded: a worker starts with a tenth of the work.

To import what a worker is made of takes a processor two seconds. `multiprocessing`'s fork server
does it once, and each process here is a fork of it: alone, and killed, stopped and measured as any.
Nothing of K2 has run in the server: settings are read where an app is declared.

What `k2 up`, `k2 demo`, the README and `python -m faults` start begins from nothing, as a user's
does.
"""

import contextlib
import json
import multiprocessing
import os
import runpy
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "faust.cli.faust",
        "k2_streams.runtime.app",
        "k2_streams.runtime.faust_driver.worker_app",
        "k2_streams.cli.app",
        "k2_streams.cli.changelog",
        "k2_streams.cli.produce",
        "k2_streams.cli.verify",
    ]
)


class Forked:
    """A Python program with its arguments, as `subprocess.Popen` as far as tests use it.

    Args:
        command: the program's file, and its arguments.
        environment: all of it.
        output: what it prints is appended to this file.
        errors: the same of what it prints as an error; None: the same file.
        folder: where it runs; None: here.
        given: what it reads as its input.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        output: Path,
        errors: Path | None = None,
        folder: Path | None = None,
        given: Path = Path(os.devnull),
    ) -> None:
        self._command = list(command)
        self._output = output
        self._process = _SERVER.Process(
            target=_become,
            args=(self._command, dict(environment), (given, output, errors or output), folder),
            daemon=True,
        )
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self._command, timeout or 0.0)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        self.wait(timeout)
        return self._output.read_text(), None

    def send_signal(self, number: int) -> None:
        # It may have ended, and the server has not told yet.
        with contextlib.suppress(ProcessLookupError):
            if self.poll() is None:
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def run(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, within_s: float = 120.0
) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder to its end."""
    output, errors = (folder / f"{time.monotonic_ns()}.{kind}" for kind in ("out", "err"))
    code = Forked(command, environment, output, errors, folder).wait(within_s)
    return subprocess.CompletedProcess(command, code, output.read_text(), errors.read_text())


def run_text(
    program: str, environment: Mapping[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    """The same of the text of a program."""
    file = folder / f"program_{time.monotonic_ns()}.py"
    file.write_text(program)
    return run([str(file)], environment, folder)


#: Asks for a fork and ends as it does, in a hundredth of a second of work.
_ASK = Path(__file__).with_name("ask_fork.py")


@contextlib.contextmanager
def programs(*names: str) -> Iterator[Path]:
    """A folder for a shell's PATH: programs of this environment, each run of which is a fork."""
    installed = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as folder:
        address = Path(folder) / "forks"
        for name in names:
            program = Path(folder) / name
            asked = f"{sys.executable} -S -E {_ASK} {address} {installed / name}"
            program.write_text(f'#!/bin/sh\nexec {asked} "$@"\n')
            program.chmod(0o755)
        with socketserver.ThreadingUnixStreamServer(str(address), _Answer) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield Path(folder)
            finally:
                server.shutdown()
                thread.join()


class _Answer(socketserver.StreamRequestHandler):
    """Runs what was asked for; what the shell opened for it is opened here by its path."""

    def handle(self) -> None:
        asked = json.loads(self.rfile.readline())
        opened = [Path(f"/proc/{asked['pid']}/fd/{number}") for number in range(3)]
        given, output, errors = opened
        folder = Path(asked["folder"])
        process = Forked(asked["command"], asked["environment"], output, errors, folder, given)
        self.wfile.write(f"{process.wait()}\n".encode())


def _become(
    command: list[str],
    environment: dict[str, str],
    files: tuple[Path, Path, Path],
    folder: Path | None,
) -> None:
    """In the fork: be the program."""
    os.setsid()
    given, *printed = files
    to_append = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    opened = os.open(given, os.O_RDONLY), *(os.open(file, to_append) for file in printed)
    for number, file in enumerate(opened):
        os.dup2(file, number)
    # The server's own is closed: what is given would not be read.
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - as long as the process
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    if "PYTHONPATH" in environment:
        sys.path[:0] = environment["PYTHONPATH"].split(os.pathsep)
    if folder is not None:
        os.chdir(folder)
    sys.argv = command
    runpy.run_path(command[0], run_name="__main__")
