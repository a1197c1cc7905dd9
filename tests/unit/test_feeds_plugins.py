"""Another package's feed, found by its entry point: used like K2's own, or a clear error."""

import sys
from pathlib import Path

import pytest

from k2_streams.feeds.feed import FEEDS, feed
from k2_streams.feeds.plugins import GROUP, FeedPluginError, with_plugged_in
from k2_streams.feeds.quote_feeds import QUOTE_FEEDS
from k2_streams.feeds.recordings.captures import RecordingError
from k2_streams.feeds.recordings.readers import read
from k2_streams.testing.load.plugged import reading_by_decoder
from k2_streams.testing.load.recorded import RecordedStream, items
from k2_streams.testing.load.recorded_trades import RecordedError
from k2_streams.testing.oracle.model import Expected
from k2_streams.testing.streams import SCALE

MODULE = '''
from k2_streams.core.sequence.sessions import SessionRule
from k2_streams.feeds.description import CountsOver, Description, Identity, TimeUnit
from k2_streams.feeds.decoding.keys import agreeing
from k2_streams.feeds.decoding.messages import Message, Trade, collect


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


def test_a_plugged_in_feed_is_sent_with_a_truth(declare, tmp_path):
    """From a file of keys and values; what must come of them is what the decoder says."""
    declare(acme__v1="made")
    acme = with_plugged_in("trades", FEEDS)["acme.v1"]
    file = tmp_path / "acme.txt"
    file.write_bytes(
        b"".join(
            b"%d\tACME:ABC\t%d ABC 1.5 2 1786310000000\r\n" % (10**18 + number, number)
            for number in (1, 2, 2, 5)
        )
    )
    told = reading_by_decoder("trades", acme, lambda: 1_786_310_000_000)
    stream = RecordedStream(
        "acme.v1",
        lambda: items(
            told.read, "acme.v1", ((one.key, one.value) for one in read("acme.v1", file))
        ),
        lambda _: 0,
        repeat=1,
    )
    expected = Expected()
    for chunk in stream.chunks():
        chunk.tell(expected, 0, len(chunk))
    (truth,) = expected.truths()
    assert (truth.scope, truth.rows, truth.opened) == ("ACME:ABC", [(1, 2), (5, 5)], [(3, 4)])
    assert (truth.count, truth.duplicate_count, truth.value) == (3, 1, 9 * 10**SCALE)
    sister = list(read("acme.v1", file, "SISTER"))
    assert {one.key for one in sister} == {b"SISTER:ABC"}
    assert sister[0].receive_time_ns == 10**18 + 1


def test_a_record_that_the_plugged_in_feed_refuses_has_no_truth(declare):
    """The text says why."""
    declare(acme__v1="made")
    acme = with_plugged_in("trades", FEEDS)["acme.v1"]
    told = reading_by_decoder("trades", acme, lambda: 1_786_310_000_000)
    with pytest.raises(RecordedError, match="not-positive, price"):
        told.read("ACME:ABC", b"1 ABC 0 2 1786310000000")


def test_a_line_without_a_key_is_named(tmp_path):
    """With its file and number."""
    file = tmp_path / "acme.txt"
    file.write_bytes(b"ACME:ABC\tx\nno key\n")
    with pytest.raises(RecordingError, match=r"acme.txt:2: expected EXCHANGE:SYMBOL, a tab"):
        list(read("acme.v1", file))
