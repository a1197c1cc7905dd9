"""Whether the native decoder is used, and what is counted where it is not."""

import sys
from types import SimpleNamespace

import pytest
from metric_values import value
from structlog.testing import capture_logs

from k2_streams.feeds.feed import FEEDS
from k2_streams.feeds.native_feed import NativeFeed, with_native
from k2_streams.feeds.quote_feeds import QUOTE_FEEDS
from k2_streams.native import INTERFACE, Native, load_native
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.settings.worker import from_environment


class NotTaken(Exception):  # noqa: N818 - stands for the extension's
    pass


class Defect(Exception):  # noqa: N818 - the same
    pass


def extension(interface=INTERFACE, error=None):
    def decode(*_):
        raise error

    return SimpleNamespace(
        __version__="0.1.0",
        INTERFACE=interface,
        FEEDS=["canonical", "asx.csv"],
        NotTakenError=NotTaken,
        DefectError=Defect,
        RecordBatches=lambda *_: SimpleNamespace(read=decode),
        decode_trades=decode,
    )


@pytest.mark.parametrize(
    ("use", "module", "event", "level"),
    [
        ("auto", extension(), "native decoder used", "info"),
        ("auto", extension(INTERFACE + 1), "python decoder used", "warning"),
        ("auto", None, "python decoder used", "info"),
        ("off", extension(), "python decoder used", "info"),
    ],
)
def test_the_extension_is_used_where_it_is_wanted_installed_and_fits(
    monkeypatch, use, module, event, level
):
    monkeypatch.setitem(sys.modules, "k2_native", module)
    assert from_environment({"K2_NATIVE": use}).native == use
    with capture_logs() as logs:
        found = load_native(use)
    assert (found is not None) is (event == "native decoder used")
    assert [(one["event"], one["log_level"]) for one in logs] == [(event, level)]


@pytest.mark.parametrize(("error", "kind"), [(NotTaken("x"), "fetch"), (Defect("x"), "defect")])
def test_what_is_not_taken_and_what_fails_is_left_to_python_and_counted(error, kind):
    metrics = Metrics()
    found = Native(extension(error=error), metrics.left_to_python)
    assert found.batches(b"", 0, [], committed=True).read(1) is None
    name = "k2_native_decoder_fallbacks_total"
    counted = {
        one: value(metrics.registry, name, kind=one) for one in ("fetch", "record", "defect")
    }
    assert counted == {"fetch": 0, "record": 0, "defect": 0} | {kind: 1}


def test_only_feeds_of_trades_that_the_extension_knows_are_decoded_by_it():
    native = Native(extension())
    found = with_native({**FEEDS, "asx.csv": QUOTE_FEEDS["canonical"]}, native)
    assert [name for name, one in found.items() if isinstance(one, NativeFeed)] == ["canonical"]
    assert with_native(QUOTE_FEEDS, native) == QUOTE_FEEDS
    assert with_native(FEEDS, None) is FEEDS
    assert (found["canonical"].name, found["canonical"].description) == (
        "canonical",
        FEEDS["canonical"].description,
    )
