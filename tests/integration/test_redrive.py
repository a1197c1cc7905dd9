"""A decoder with a bug, mended: its dead letters are redriven, killed in the middle, each once."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import Cluster, eventually, processed  # type: ignore[import-not-found]

from bench.stage import lake_rows

pytestmark = pytest.mark.integration
MESSAGES = 20_000


def redrive(k2: Cluster, *options: str, **environment: str) -> dict[str, Any]:
    done = k2.k2("dead-letters", "redrive", "--json", *options, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_dead_letters_of_a_mended_decoder_become_rows_once(k2: Cluster) -> None:
    """With kill -9 between what is sent and its commit; then every number agrees with the truth."""
    path = f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    refusing = k2.worker(app="refusing_app", PYTHONPATH=path)
    refusing.start().wait_ready()
    truth = k2.produce("--messages", str(MESSAGES), "--symbols", "3", "--seed", "7", "--late", "1%")
    eventually(lambda: processed(refusing) >= MESSAGES, what="all processed")
    foretold = redrive(k2, "--dry-run", "--reason", "wrong-type")
    letters = foretold["matched"]
    assert letters > 150
    assert (foretold["accepted"], foretold["refused"]) == (letters, {})
    refusing.stop()
    mended = k2.worker()
    mended.start()
    killed = k2.k2("dead-letters", "redrive", K2_FAILPOINTS="transfer.sent=crash@2")
    assert killed.returncode == -9
    first = redrive(k2)
    assert first["redriven_before"] > 0, "the first transaction was committed before the kill"
    assert first["redriven_before"] + first["sent"] == letters
    mended.wait_ready()
    eventually(lambda: lake_rows(mended) == MESSAGES, what="rows of what was redriven")
    k2.verify(mended, truth, also="--deep")
    second = redrive(k2)
    assert (second["sent"], second["redriven_before"]) == (0, letters)
    mended.stop()
