"""A reader follows the README, then the guides, on a worker: every block that says so, in order."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import forked
import pytest
from conftest import reset_topics
from documents import ROOT, Block, blocks, pages

from k2_streams.testing.local.workers import free_port

pytestmark = pytest.mark.integration

#: What the README's pages print as the worker's address.
ADDRESS = "127.0.0.1:6066"
#: The README starts the worker and sends the first trades; then the guides, in this order.
FIRST = (ROOT / "README.md",)
#: The blocks of a page: some seconds, but each command takes half a minute to start on a machine
#: that is busy with other tests, and `k2 verify` waits for the lake.
WITHIN_S = 300.0


def followed(run: str) -> list[Block]:
    """The blocks of all pages that a reader follows."""
    order = [*FIRST, *(page for page in pages() if page not in FIRST)]
    return [block for page in order for block in blocks(page) if block.run == run]


class Reader:
    """A shell in a checkout, with the broker that is there, where `make` has installed everything.

    Args:
        folder: where the reader works.
        bootstrap: the broker.
    """

    def __init__(self, folder: Path, bootstrap: str) -> None:
        self._folder = folder
        self._port = free_port()
        programs = folder / "bin"
        programs.mkdir()
        installed = Path(sys.executable).parent
        (folder / ".venv" / "bin").mkdir(parents=True)
        (folder / ".venv" / "bin" / "activate").write_text("")  # this process has done it
        self._program("make", 'case "$1" in up|down) exec k2 "$1";; *) exit 64;; esac')
        # An error of a worker ends the block, as a reader would stop there: one who has waited for
        # the rows that were just sent. The answers before that are not printed: only one is JSON.
        patient = "--fail --retry 30 --retry-delay 1 --retry-all-errors"
        self._program("curl", f'exec {shutil.which("curl")} {patient} "$@"')
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("K2_")},
            "PATH": f"{programs}:{installed}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "K2_BOOTSTRAP": bootstrap,
            "K2_WEB_PORT": str(self._port),
            "K2_LAKE_COMMIT_INTERVAL_S": "1",
            "K2_RATE_LIMIT_PER_S": "100000",
            "NO_COLOR": "1",
        }

    def _program(self, name: str, text: str) -> None:
        file = self._folder / "bin" / name
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)

    @contextmanager
    def with_forks(self) -> Iterator[None]:
        """Run commands of `k2` as forks of a process that has imported it: a tenth of the work."""
        path = self._environment["PATH"]
        with forked.programs("k2") as folder:
            self._environment["PATH"] = f"{folder}:{path}"
            try:
                yield
            finally:
                self._environment["PATH"] = path

    def follow(self, page: list[Block]) -> str:
        """Run the blocks of one page: those of the shell share its variables; what they print."""
        printed = ""
        for block in page:
            if block.language == "python":
                text = self._here(block.text)
                printed += checked(block, forked.run_text(text, self._environment, self._folder))
        shell = [block for block in page if block.language == "sh"]
        if shell:
            printed += checked(shell[0], self._run("\n".join(block.text for block in shell)))
        return printed

    def _here(self, text: str) -> str:
        return text.replace(ADDRESS, f"127.0.0.1:{self._port}")

    def _run(self, script: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", "-euo", "pipefail", "-c", self._here(script)]
        return subprocess.run(
            command,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )


def checked(block: Block, done: subprocess.CompletedProcess[str]) -> str:
    """What a block printed that ended well."""
    printed = done.stdout + (done.stderr or "")
    assert done.returncode == 0, f"{block.where}: {done.returncode}\n{printed}"
    return printed


def by_page(found: list[Block]) -> list[list[Block]]:
    grouped: dict[Path, list[Block]] = {}
    for block in found:
        grouped.setdefault(block.page, []).append(block)
    return list(grouped.values())


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl: a reader needs it as well")
def test_a_reader_can_follow_the_readme_and_the_guides(broker, tmp_path):
    """The README from nothing, as a user does; the guides with forked commands."""
    reset_topics(broker)
    reader = Reader(tmp_path, broker)
    readme, *guides = by_page(followed("kafka"))
    try:
        printed = {"README.md": reader.follow(readme)}
        with reader.with_forks():
            for guide in guides:
                printed[str(guide[0].page.relative_to(ROOT))] = reader.follow(guide)
    finally:
        for page in by_page(followed("kafka-end")):
            reader.follow(page)
    assert "differs" not in printed["README.md"]
    assert "agrees" in printed["README.md"]
    assert '"symbol": "S0001"' in printed["README.md"]
    assert re.search(r"^[1-9]\d* rows, ", printed["docs/how-to/query-over-http.md"], re.MULTILINE)
    assert re.search(r"^[1-9]\d* rows; ", printed["docs/how-to/read-the-table.md"], re.MULTILINE)
    assert "differs" not in printed["docs/how-to/verify-a-run.md"]
