"""The format of an answer: the parameter first, then the header, then JSON."""

import pytest

from k2_streams.web.http.formats import Format
from k2_streams.web.http.negotiation import choose

ARROW = "application/vnd.apache.arrow.stream"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", Format.JSON),
        ("*/*", Format.JSON),
        ("application/json", Format.JSON),
        ("text/csv", Format.CSV),
        ("TEXT/CSV; charset=utf-8", Format.CSV),
        (ARROW, Format.ARROW),
        ("application/vnd.apache.parquet", Format.PARQUET),
        ("text/markdown", Format.MARKDOWN),
        ("text/csv;q=0.5, application/json;q=0.4", Format.CSV),
        (f"text/csv;q=0.5, {ARROW};q=0.9, */*;q=0.1", Format.ARROW),
        ("text/csv;q=0", Format.JSON),
        ("text/csv;q=nonsense", Format.JSON),
        ("image/png", Format.JSON),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format.JSON),
        (",,;;q,=", Format.JSON),
    ],
)
def test_accept(accept, expected):
    assert choose(None, accept) is expected


def test_the_parameter_wins():
    assert choose("arrow", "text/csv") is Format.ARROW
    assert choose("parquet", "text/csv") is Format.PARQUET
    assert choose("markdown", "text/csv") is Format.MARKDOWN
    assert choose("json", "text/csv") is Format.JSON
