"""`import k2_streams as k2`: the public names, each imported when it is first used."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import k2_streams as k2

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", k2.__all__)
def test_every_public_name_can_be_used_and_says_what_it_is(name: str) -> None:
    found = getattr(k2, name)
    assert name in dir(k2)
    assert isinstance(found, k2.Stream | k2.RawInput) or found.__doc__


def test_a_name_that_is_not_public_is_named() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Apq'"):
        _ = k2.Apq


def test_nothing_of_faust_is_imported_before_an_app_is_made() -> None:
    """A feed of another package declares itself, and a client asks, without a stream processor."""
    program = (
        "import sys, k2_streams as k2; k2.TRADES; k2.Context; k2.Table; k2.TopologyError; "
        "heavy = {'faust', 'aiokafka', 'rocksdict', 'pyiceberg', 'duckdb'} & set(sys.modules); "
        "assert not heavy, heavy; k2.App; assert 'faust' in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
