"""Where `promtool` is."""

import shutil
from pathlib import Path

import pytest

FETCHED = Path(__file__).parents[1] / ".cache" / "prometheus" / "usr" / "bin" / "promtool"


def promtool() -> str:
    """The program; the test is skipped where there is none."""
    found = str(FETCHED) if FETCHED.exists() else shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool: `make prometheus` fetches it from Debian's packages")
    return found
