"""Another package's feed, found by its entry point: used like K2's own, or a clear error."""

import sys
from pathlib import Path

import pytest

from k2_streams.feeds.feed import FEEDS, feed
from k2_streams.feeds.plugins import GROUP, FeedPluginError, with_plugged_in
from k2_streams.feeds.quote_feeds import QUOTE_FEEDS

MODULE = '''
from k2_streams.core.sessions import SessionRule
from k2_streams.feeds.description import CountsOver, Description, Identity, TimeUnit
from k2_streams.feeds.keys import agreeing
from k2_streams.feeds.messages import Message, Trade, collect


class Acme:
    """Lines of `<number> <symbol> <price> <quantity> <ms>`."""

    name = "acme.v1"
    description = Description(
        counts_over=CountsOver.SYMBOL,
        number="the first column",
        session_rule=SessionRule.NEVER,
        session_starts="nothing",
        identity=Identity.SEQUENCE,
        trade_id=None,
        time="the last column",
        time_unit=TimeUnit.MILLISECONDS,
    )

    def decode(self, batch):
        return collect(batch, _read, ("price", "quantity", "time"))


def _read(value, key):
    number, symbol, price, quantity, time_ms = value.decode().split()
    agreeing(key, "ACME", symbol)
    return Message([Trade(price, quantity, int(time_ms) * 1_000_000)], int(number))


made = Acme()
nameless = object()


class NotMine(Acme):
    name = "acme.v2"


class NotDescribed:
    name = "acme.v1"




class Breaks(Acme):
    def __init__(self):
        raise RuntimeError("no licence")
'''


@pytest.fixture
def declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Install a package that declares feeds: name to attribute of its module."""

    def install(**feeds: str) -> None:
        (tmp_path / "acme_feeds.py").write_text(MODULE)
        about = tmp_path / "acme_feeds-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-feeds\nVersion: 1.0\n")
        lines = [f"{name.replace('__', '.')} = acme_feeds:{what}" for name, what in feeds.items()]
        (about / "entry_points.txt").write_text("\n".join([f"[{GROUP}.trades]", *lines, ""]))
        monkeypatch.syspath_prepend(str(tmp_path))

    yield install
    sys.modules.pop("acme_feeds", None)


@pytest.mark.parametrize("what", ["made", "Acme"], ids=["object", "class"])
def test_a_package_adds_a_feed(declare, what):
    """It decodes as K2's own do, beside them."""
    from venue_records import APPEND_MS, decode  # noqa: PLC0415 - after the fixture's path

    declare(acme__v1=what)
    feeds = with_plugged_in("trades", FEEDS)
    assert set(feeds) == {*FEEDS, "acme.v1"}
    assert with_plugged_in("quotes", QUOTE_FEEDS) == QUOTE_FEEDS
    value = b"5 ABC 1.5 2 %d" % APPEND_MS
    decoded = decode("acme.v1", [(b"ACME:ABC", value), (b"ACME:XYZ", value)], feeds)
    assert decoded.sequence.tolist() == [5, -1]
    assert decoded.rows.column("symbol").to_pylist() == ["ABC"]
    assert [bad.reason for bad in decoded.bad] == ["key-mismatch"]
    assert feed("canonical", feeds) is FEEDS["canonical"]


@pytest.mark.parametrize(
    ("name", "what", "expected"),
    [
        ("binance__spot", "made", "a name that no other feed has"),
        ("acme__v1", "NotMine", "the feed's own `name`"),
        ("acme__v1", "nameless", "the feed's own `name`"),
        ("acme__v1", "NotDescribed", "a `description`"),
        ("acme__v1", "Breaks", "no licence"),
        ("acme__v1", "absent", "something that can be loaded"),
    ],
)
def test_what_cannot_be_used_ends_the_start(declare, name, what, expected):
    """The error names the package, the feed and what was expected."""
    declare(**{name: what})
    with pytest.raises(FeedPluginError, match="acme-feeds") as caught:
        with_plugged_in("trades", FEEDS)
    assert expected in str(caught.value)
