"""The documents name the metrics that a worker has."""

import re
from pathlib import Path

import pytest

from k2_streams.runtime.metrics.reference import declarations

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
SERIES = ("", "_bucket", "_sum", "_count")
#: Names of Python that look like a metric's.
NO_METRICS = re.compile(r"k2_(streams|client|driver)\b")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_metric_that_a_document_names_exists(path):
    known = {each.name + series for each in declarations() for series in SERIES}
    named = set(re.findall(r"\bk2_[a-z0-9_]+", path.read_text()))
    assert {name for name in named - known if not NO_METRICS.match(name)} == set()
