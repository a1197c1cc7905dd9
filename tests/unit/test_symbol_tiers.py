"""Symbols in tiers: each tier has its share of the messages, and a worker sees the same tiers."""

from collections import Counter

import numpy as np
import pytest
from click.testing import CliRunner

from k2_streams.cli.produce import produce
from k2_streams.core.load.tiers import parse as tier_table
from k2_streams.testing.load.job import moments, settle
from k2_streams.testing.load.messages import Names
from k2_streams.testing.load.options import LoadOptions
from k2_streams.testing.load.pace import parse
from k2_streams.testing.load.symbol_tiers import SymbolTiers
from k2_streams.testing.load.synthetic import Plan, Synthetic
from k2_streams.testing.local.load_watch import LoadSample
from k2_streams.testing.oracle import truth_file as truth
from k2_streams.testing.oracle.truth_file import Header, Truth

TIERS = SymbolTiers((5, 20), (0.05, 0.25))


def messages(**options):
    plan = Plan(**{"seed": 1, "start_ns": 0, "messages": 60_000, "symbols": 100} | options)
    return np.concatenate(list(Synthetic(plan).chunks()))


@pytest.mark.parametrize("skew", [0.0, 1.0])
def test_each_tier_has_its_share_of_the_messages_and_its_skew(skew):
    symbols = messages(tiers=TIERS, skew=skew)["symbol"]
    shares = [
        np.mean(symbols < 5),
        np.mean((symbols >= 5) & (symbols < 25)),
        np.mean(symbols >= 25),
    ]
    assert shares == pytest.approx([0.05, 0.25, 0.70], abs=0.01)
    counts = np.bincount(symbols, minlength=100)
    if skew:
        assert counts[0] > 3 * counts[4]
        assert counts[25] > 3 * counts[40]
    else:
        assert counts[25:].min() > 0.7 * counts[25:].max()


def test_without_tiers_nothing_changed():
    symbols = messages()["symbol"]
    assert np.mean(symbols == 0) == pytest.approx(1 / np.sum(1 / np.arange(1, 101)), abs=0.01)


def test_the_table_says_the_same(tmp_path):
    names = Names("SIM", 100, None)
    TIERS.write(tmp_path / "tiers", names.scopes)
    table = tier_table((tmp_path / "tiers").read_text())
    assert [table.tier_of(scope) for scope in names.scopes] == [1] * 5 + [2] * 20 + [3] * 75
    assert [names.scopes[TIERS.first_of(tier)] for tier in (1, 2, 3)] == [
        "SIM:S0000",
        "SIM:S0005",
        "SIM:S0025",
    ]


@pytest.mark.parametrize(
    "tiers",
    [
        SymbolTiers((0, 5)),
        SymbolTiers((50, 50)),
        SymbolTiers((5, 5), (0.5, 0.5)),
        SymbolTiers((5, 5), (0.0, 0.5)),
    ],
)
def test_tiers_that_cannot_be_are_refused(tiers):
    with pytest.raises(ValueError, match="tiers: expected"):
        Plan(seed=1, start_ns=0, symbols=100, tiers=tiers)


def test_a_truth_says_what_was_asked_for_and_can_be_read_again(tmp_path, monkeypatch):
    monkeypatch.setenv("K2_MAX_RATE_PER_S", "100")
    context = produce.make_context(
        "produce", ["--rate", "1x:1,2x:1", "--tiers", "5:5%,20:0.25", "--symbols", "100"]
    )
    job = settle(LoadOptions(**context.params))
    assert job.plan.tiers == TIERS
    assert job.plan.messages == 300
    header = Header(topic="t", feed="canonical", options=job.options, sent=1)
    truth.write(tmp_path / "truth", Truth(header, [], Counter(), {}))
    assert truth.read(tmp_path / "truth").header.options["tiers"] == TIERS.text == "5:0.05,20:0.25"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rate", "10x"], "K2_MAX_RATE_PER_S"),
        (["--rate", "fast"], "expected a number, 10x, or steps"),
        (["--tiers", "5:5%"], "expected 20:5%"),
        (["--tiers-file", "x"], "give both"),
        (["--tiers", "5:5%,5:5%", "--symbols", "10"], "tiers: expected some symbols"),
    ],
)
def test_options_that_cannot_be_are_refused(arguments, said, monkeypatch):
    monkeypatch.delenv("K2_MAX_RATE_PER_S", raising=False)
    found = CliRunner().invoke(produce, arguments)
    assert found.exit_code == 2
    assert said in found.output


def test_event_time_follows_the_pace():
    pace = parse("100:10,1000:10", None)
    times = messages(messages=pace.messages, moments=moments(pace))["time_ns"]
    assert np.all(np.diff(times) >= 0)
    assert np.sum(times < 10e9) == pytest.approx(1_000, rel=0.01)
    assert times[-1] == pytest.approx(20e9, rel=0.01)


def test_a_look_in_a_line():
    fresh = {1: 0.25, 2: None, 3: 40.0}
    sample = LoadSample(
        at_s=0.0,
        level="GRACEFUL",
        ready=True,
        sent=5,
        processed=3,
        lag=1_200,
        deferred=7,
        memory_bytes=0,
        fresh_s=fresh,
        max_rate=100,
    )
    assert sample.waiting == 1_207
    assert sample.line() == (
        "lag 1,200  deferred 7  GRACEFUL  fresh by tier 1: 0.2 s  2: -  3: 40.0 s"
    )
