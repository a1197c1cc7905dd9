"""The example of the documentation is a feed that keeps what `fuzz_feed` asks, as it stands."""

import re
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from venue_records import decode

from k2_streams.feeds.decoding.decoded import Kind
from k2_streams.feeds.feed import feeds_of

DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference" / "feeds.md"
KEY = b"ACME:ABC"


@pytest.fixture
def blocks(tmp_path, monkeypatch):
    """The document's two Python blocks: the module, which can be imported, and its test."""
    module, test = re.findall(
        r"^ *```python\n(.*?)^ *```", DOCS.read_text(), re.DOTALL | re.MULTILINE
    )
    (tmp_path / "acme_feeds.py").write_text(module)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield module, re.sub(r"^ {3}", "", test, flags=re.MULTILINE)
    sys.modules.pop("acme_feeds", None)


def test_the_test_of_the_example_passes(blocks):
    space: dict = {}
    exec(compile(blocks[1], str(DOCS), "exec"), space)  # noqa: S102 - our own document
    space["test_acme"]()


def test_the_example_reads_numbers_as_they_are_written(blocks):
    space: dict = {}
    exec(compile(blocks[0], str(DOCS), "exec"), space)  # noqa: S102 - our own document
    feeds = feeds_of(space["Acme"]())
    said = b'{"type":"trade","seq":%d,"sym":"ABC","px":%s,"sz":"2","ts":1786310000000,"side":"?"}'
    prices = [b"0.30000000000000004", b'"1.5"', b"3.0000000000000004e-07", b"null", b"[]"]
    records = [(KEY, said % (number, price)) for number, price in enumerate(prices)]
    decoded = decode("acme.v1", records, feeds)
    found = decoded.rows.column("price").to_pylist()
    assert found == [Decimal("0.30000000000000004"), Decimal("1.5")]
    reasons = [bad.reason for bad in decoded.bad]
    assert reasons == ["too-precise", "missing-field", "wrong-type"]
    assert decoded.sequence.tolist() == [0, 1, 2, 3, 4]
    assert decoded.unknown == {"side": 2}
    novel = decode("acme.v1", [(b"ACME:@c", b'{"type":"novel"}')], feeds)
    assert novel.kind.tolist() == [Kind.CONTROL]
