"""Programs that check a release and a deployment: `make deploy-tools` fetches them."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".cache" / "deploy"
#: Programs from PyPI, of Go, and of Debian, each in a folder of its own.
PLACES = (FOLDER / "venv" / "bin", FOLDER / "bin", FOLDER / "debian" / "usr" / "sbin")
#: The longest step: an environment with all packages of K2.
STEP_WITHIN_S = 1_800.0
#: Lines of a failed program that are shown.
LAST_LINES = 30


class ToolAbsentError(Exception):
    """A program is not on this machine."""


class StepFailedError(Exception):
    """A program ended with another code than 0; the text has the command and its last lines."""


def tool(name: str) -> str:
    """Where a program is: fetched, or installed.

    Raises:
        ToolAbsentError: it is nowhere.
    """
    for place in PLACES:
        if (place / name).exists():
            return str(place / name)
    found = shutil.which(name)
    if found is None:
        raise ToolAbsentError(f"no {name}: `make deploy-tools` fetches it")
    return found


def run(
    command: Sequence[str | Path],
    *,
    folder: Path = ROOT,
    environment: Mapping[str, str] | None = None,
    text: str | None = None,
) -> str:
    """Run a program to its end; what it printed.

    Args:
        command: with its arguments.
        folder: where it runs.
        environment: all of it; None: this process's.
        text: its standard input.

    Raises:
        StepFailedError: it failed.
    """
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment,
        input=text if text is not None else "",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=STEP_WITHIN_S,
    )
    if done.returncode:
        shown = "\n".join(done.stdout.splitlines()[-LAST_LINES:])
        words = " ".join(str(word) for word in command)
        raise StepFailedError(f"{words} ended with {done.returncode}\n{shown}")
    return done.stdout
