"""Namespaces of the run: what it mounts and connects is seen by it alone, and gone with it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

from k2_streams.runtime.settings.tools import development_settings

_ENTERED = "K2_FAULTS_ISOLATED"
_COMMAND = ("unshare", "--mount", "--net", "--")


class UnavailableError(Exception):
    """This machine does not allow a fault; the text says what it takes."""


def enter(arguments: Sequence[str]) -> None:
    """Become the same run in new mount and network namespaces, if that is allowed here."""
    if development_settings().faults_isolated:
        run("ip", "link", "set", "lo", "up")
        return
    if not _allowed():
        return
    command = [*_COMMAND, sys.executable, "-m", "faults", *arguments]
    os.execvpe(command[0], command, {**os.environ, _ENTERED: "1"})  # noqa: S606 - no shell is meant


def _allowed() -> bool:
    if os.geteuid() or not all(map(shutil.which, ("unshare", "nsenter", "ip", "mount"))):
        return False
    return subprocess.run([*_COMMAND, "true"], capture_output=True, check=False).returncode == 0


def check() -> None:
    """Be in namespaces of the run's own.

    Raises:
        UnavailableError: it is not.
    """
    if not development_settings().faults_isolated:
        raise UnavailableError(
            "it takes root, and unshare, nsenter and mount of util-linux, and ip of iproute2"
        )


def run(*command: str) -> None:
    """A command that must succeed, and has nothing to say."""
    subprocess.run(command, check=True, capture_output=True)
