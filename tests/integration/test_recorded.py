"""Recorded trades, sent through the whole platform, come out as measured from the files."""

import json
from pathlib import Path

import pytest
from conftest import Cluster, eventually, verdicts  # type: ignore[import-not-found]

pytestmark = [pytest.mark.integration, pytest.mark.recorded]

BINANCE_TRADES = 19_904
BHP_TRADES = 91_631


def binance(recordings: Path) -> list[str]:
    folder = recordings / "binance-2024-08-08"
    return [str(folder / f"spot-btcusdt_2024080{day}.gz") for day in (8, 9)]


def events(truth: Path) -> int:
    """Events that the truth file expects, duplicates apart."""
    lines = [json.loads(line) for line in truth.read_text().splitlines()]
    kinds = ("opened", "filled", "abandoned", "late", "stale")
    return sum(len(line[kind]) for line in lines if line["type"] == "session" for kind in kinds)


def test_binance_spot_twice_is_once_and_midnight_is_no_reset(k2: Cluster, recordings: Path) -> None:
    """Two days, sent twice: 19,904 rows, no event, and as many duplicates counted."""
    with k2.worker() as worker:
        truth = k2.produce(
            "--feed", "binance.spot", *binance(recordings), "--repeat", "2", "--seed", "1"
        )
        assert events(truth) == 0
        k2.verify(worker, truth)
        assert eventually(lambda: verdicts(worker).get("duplicate")) == BINANCE_TRADES
        assert verdicts(worker)["in_order"] == BINANCE_TRADES - 1
        assert worker.get("/v1/gaps")["data"] == []


def test_binance_with_recorded_edits_gives_exactly_their_events(
    k2: Cluster, recordings: Path
) -> None:
    """Drops, repeats, swaps, late arrivals made from the recording: no more, no less."""
    with k2.worker() as worker:
        truth = k2.produce(
            "--feed", "binance.spot", *binance(recordings), "--seed", "3",
            "--gaps", "0.01", "--duplicates", "0.01", "--disorder", "0.01", "--late", "0.01",
        )  # fmt: skip
        assert events(truth) > 500
        k2.verify(worker, truth)


@pytest.mark.long
def test_equal_fills_of_bhp_are_kept_and_a_replay_adds_no_row(
    k2: Cluster, recordings: Path
) -> None:
    """91,631 rows, of which 3,193 repeat an earlier one to the letter; sent twice, no row more."""
    with k2.worker() as worker:
        file = recordings / "asx-2014-03" / "trades" / "7078.csv"
        truth = k2.produce("--feed", "asx.csv", str(file), "--repeat", "2", "--seed", "1")
        k2.verify(worker, truth)
        (symbol,) = worker.get("/v1/symbols")["data"]
        assert symbol["trades"] == BHP_TRADES
        assert verdicts(worker)["duplicate"] == BHP_TRADES
