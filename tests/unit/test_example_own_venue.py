"""The example `own_venue`: a feed from outside, found by its entry point, and all that K2 does."""

import tomllib
from collections.abc import Mapping
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from raw_agents import raw_topology

from k2_streams.feeds.feed import FEEDS
from k2_streams.feeds.plugins import with_plugged_in
from k2_streams.testing import fuzz_feed

pytestmark = pytest.mark.usefixtures("quiet_logs")

PACKAGE = Path(__file__).resolve().parents[2] / "topologies" / "examples" / "own_venue"
NOON_MS = 1_763_899_200_000


@pytest.fixture
def feeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Any]:
    """All feeds of trades, the package installed as its pyproject says."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    about = tmp_path / f"{project['name']}-{project['version']}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\n")
    (about / "entry_points.txt").write_text(
        "\n".join(
            line
            for group, points in project["entry-points"].items()
            for line in (f"[{group}]", *(f"{name} = {at}" for name, at in points.items()))
        )
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(PACKAGE))
    return with_plugged_in("trades", FEEDS)


def message(count: int, **more: Any) -> bytes:
    fields = {"n": count, "s": '"ABC"', "p": "1.50", "q": '"2"', "t": NOON_MS, "d": '"B"'} | more
    return ("{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}").encode()


def test_trades_of_the_venue_are_sequenced_and_stored_as_all_others(
    feeds: Mapping[str, Any], k2_driver: Any
) -> None:
    driver = k2_driver(raw_topology("own", feeds=feeds), partitions=1)
    raw = driver.input("k2.trades.raw")
    records = [
        message(1),
        message(1),
        b'{"n": 2, "s": "ABC"}',
        message(4, p="1.2345678901234567"),
        message(5, p='"many"'),
        message(6, d='"?"'),
    ]
    for record in records:
        raw.send(record, key="OWN:ABC", feed="own.v1")
    rows = driver.rows("trades", symbol="ABC").to_pylist()
    assert [(row["sequence"], row["price"], row["side"]) for row in rows] == [
        (1, Decimal("1.50"), "buy"),
        (4, Decimal("1.2345678901234567"), "buy"),
        (6, Decimal("1.50"), "unknown"),
    ]
    assert [(gap.first, gap.last) for gap in driver.gaps()] == [(3, 3)]
    (letter,) = driver.dead_letters()
    assert (letter.reason, letter.field) == ("not-a-number", "p")


def test_the_feed_keeps_what_a_feed_promises(feeds: Mapping[str, Any]) -> None:
    """Whatever a record holds."""
    assert feeds["own.v1"].name == "own.v1"
    made = import_module("own_venue").OwnVenue()
    fuzz_feed(made, [(b"OWN:ABC", message(5)), (b"OWN:ABC", b'{"n": 6, "s": "ABC"}')], rounds=200)
