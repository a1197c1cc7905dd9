"""The documents name the metrics that a worker has."""

import re
from pathlib import Path

from k2_streams.runtime.metrics.reference import declarations

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
SERIES = ("", "_bucket", "_sum", "_count")
#: Names of Python that look like a metric's.
NO_METRICS = re.compile(r"k2_(streams|client|driver)\b")


def unknown(text: str) -> set[str]:
    """Names like a metric's that no metric has."""
    known = {each.name + series for each in declarations() for series in SERIES}
    named = set(re.findall(r"\bk2_[a-z0-9_]+", text))
    return {name for name in named - known if not NO_METRICS.match(name)}


def test_every_metric_that_a_document_names_exists():
    assert {path: names for path in DOCUMENTS if (names := unknown(path.read_text()))} == {}


def test_a_metric_that_does_not_exist_is_found():
    assert unknown("k2_verdicts_total, k2_verdict_total, k2_streams") == {"k2_verdict_total"}
