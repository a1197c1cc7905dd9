"""Builds a mutant in a folder of its own and runs the test that must notice it."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from mutants.registry import Change, Mutant

ROOT = Path(__file__).resolve().parents[2]
#: What a build and its tests are made of.
COPIED = ("k2_streams", "client", "topologies", "tests", "pyproject.toml", "Makefile")
#: A test that has not noticed by then has not.
TEST_TIMEOUT_S = 1_800


class ChangeDoesNotApplyError(Exception):
    """The source has moved on: the mutant must follow it, or go."""


@dataclass(frozen=True, slots=True)
class Caught:
    """What became of a mutant."""

    mutant: Mutant
    test: str | None  # the one that failed; None: nobody noticed
    output: str


def changed(source: str, change: Change) -> str:
    """The source with the change.

    Raises:
        ChangeDoesNotApplyError: the text to be replaced does not stand there exactly once.
    """
    count = source.count(change.old)
    if count != 1:
        raise ChangeDoesNotApplyError(
            f"{change.file}: expected {change.old!r} once, found it {count} times"
        )
    return source.replace(change.old, change.new)


def mutated(mutant: Mutant, root: Path = ROOT) -> dict[str, str]:
    """The files of `k2_streams` that the mutant changes, as they are in it.

    Raises:
        ChangeDoesNotApplyError: one of its changes does not apply.
    """
    files: dict[str, str] = {}
    for change in mutant.changes:
        source = files.get(change.file) or (root / "k2_streams" / change.file).read_text()
        files[change.file] = changed(source, change)
    return files


def build(mutant: Mutant, folder: Path) -> None:
    """The whole tree with the mutant's changes."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            # With the compiled modules: each is valid for the source of its time and size alone.
            shutil.copytree(source, folder / name)
        else:
            shutil.copy(source, folder / name)
    for file, text in mutated(mutant, folder).items():
        (folder / "k2_streams" / file).write_text(text)


def caught(mutant: Mutant, folder: Path) -> Caught:
    """Build it, and run the test that must notice.

    Raises:
        RuntimeError: the test could not be run, or it ran on another build.
    """
    build(mutant, folder)
    environment = {**os.environ, "PYTHONPATH": str(folder), "HYPOTHESIS_DATABASE_FILE": ""}
    where = subprocess.run(
        [sys.executable, "-c", "import k2_streams; print(k2_streams.__file__)"],
        cwd=folder, env=environment, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    if not where.startswith(str(folder)):
        raise RuntimeError(f"{mutant.name}: the tests would run on {where}")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider",
         "--hypothesis-profile=declared", *_asked(mutant)],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=TEST_TIMEOUT_S,
        check=False,
    )  # fmt: skip
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{mutant.name}: the test could not be run\n{done.stdout}{done.stderr}")
    failed = re.search(r"^FAILED (.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    return Caught(mutant, failed.group(1) if failed else None, done.stdout)


def _asked(mutant: Mutant) -> list[str]:
    return [mutant.caught_by.removesuffix("::")]
