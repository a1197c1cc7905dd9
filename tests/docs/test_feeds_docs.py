"""The example of the documentation is a feed that keeps what `fuzz_feed` asks, as it stands."""

import sys
from decimal import Decimal

import pytest
from documents import ROOT, blocks
from venue_records import decode

from k2_streams.feeds.decoding.decoded import Kind
from k2_streams.feeds.feed import feeds_of

DOCS = ROOT / "docs" / "how-to" / "add-a-venue.md"
KEY = b"ACME:ABC"


@pytest.fixture
def samples(tmp_path, monkeypatch):
    """The feed of the document, as a module that can be imported."""
    (module,) = (block.text for block in blocks(DOCS) if "file" in block.options)
    (tmp_path / "acme_feeds.py").write_text(module)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield module
    sys.modules.pop("acme_feeds", None)


def test_the_example_reads_numbers_as_they_are_written(samples):
    space: dict = {}
    exec(compile(samples, str(DOCS), "exec"), space)  # noqa: S102 - our own document
    feeds = feeds_of(space["Acme"]())
    text = b'{"type":"trade","seq":%d,"sym":"ABC","px":%s,"sz":"2","ts":1786310000000,"side":"?"}'
    prices = [b"0.30000000000000004", b'"1.5"', b"3.0000000000000004e-07", b"null", b"[]"]
    records = [(KEY, text % (number, price)) for number, price in enumerate(prices)]
    decoded = decode("acme.v1", records, feeds)
    found = decoded.rows.column("price").to_pylist()
    assert found == [Decimal("0.30000000000000004"), Decimal("1.5")]
    reasons = [bad.reason for bad in decoded.bad]
    assert reasons == ["too-precise", "missing-field", "wrong-type"]
    assert decoded.sequence.tolist() == [0, 1, 2, 3, 4]
    assert decoded.unknown == {"side": 2}
    novel = decode("acme.v1", [(b"ACME:@c", b'{"type":"novel"}')], feeds)
    assert novel.kind.tolist() == [Kind.CONTROL]
