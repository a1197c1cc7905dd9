"""The notebook runs from top to bottom on a worker of trades that answers about quotes, too."""

import os
import subprocess
import sys

import pytest
from conftest import Cluster  # type: ignore[import-not-found]
from documents import ROOT, blocks

pytestmark = pytest.mark.integration

NOTEBOOK = ROOT / "examples" / "notebook.md"
ADDRESS = "127.0.0.1:6066"


def test_the_notebook_runs(k2: Cluster) -> None:
    with k2.worker(K2_STREAMS="quotes") as trades, k2.worker(topology="quotes") as quotes:
        sent = ("--messages", "4000", "--symbols", "3", "--rate", "2000", "--start", "now")
        k2.verify(quotes, k2.produce(*sent, "--seed", "2", "--stream", "quotes"))
        k2.verify(trades, k2.produce(*sent, "--seed", "1", "--gaps", "0.5%"))
        text = "\n".join(block.text for block in blocks(NOTEBOOK) if block.run == "notebook")
        done = subprocess.run(
            [sys.executable, "-c", text.replace(ADDRESS, trades.url.removeprefix("http://"))],
            cwd=k2.directory,
            env=os.environ | {"PYTHONPATH": str(ROOT / "client")},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "of them lack something" in done.stdout
    assert "effective_bp" in done.stdout
    assert "the answer is not complete: SIM:S0001 lacks" in done.stdout
