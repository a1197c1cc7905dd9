"""The demo's own arithmetic: what it says must come out, its pictures, its choice of a snapshot."""

from collections import Counter
from pathlib import Path

import pytest

from k2_streams.demo import answers as demo_answers
from k2_streams.demo.input import Figures, injected, sources
from k2_streams.demo.pictures import BAR_WIDTH, bars, curve, slopes
from k2_streams.testing.oracle.truth_file import Header, SessionLine, Truth


def truth() -> Truth:
    lines = [
        SessionLine(
            scope="SIM:A",
            session="0",
            rows=[(1, 8)],
            count=7,
            value="1",
            opened=[(3, 4), (6, 6)],
            filled=[(6, 6)],
            abandoned=[(3, 3, 3, 4, "reset"), (4, 4, 3, 4, "reset")],
            late_events=[(6, 6), (10, 11)],
            duplicate_count=2,
        ),
        SessionLine(
            scope="SIM:A", session="1", rows=[], count=1, value="1", stale=[4], reset=(1, "0")
        ),
        SessionLine(scope="SIMILAR:A", session="0", rows=[], count=100, value="1"),
    ]
    header = Header(topic="t", feed="canonical", options={}, sent=1)
    return Truth(header, lines, Counter({"empty": 3}), {})


def test_what_must_come_of_an_exchange():
    assert injected([truth()], "SIM") == Figures(
        rows=8,
        duplicates=2,
        late=3,
        stale=1,
        resets=1,
        gaps_opened=2,
        gaps_filled=1,
        gaps_abandoned=1,  # one gap, given up in two parts
        reasons=Counter({"empty": 3}),
    )


def test_slopes_are_growth_a_unit_of_time():
    # 10 a second for two seconds, nothing for one, 40 in the last.
    points = [(0.0, 0.0), (2.0, 20.0), (3.0, 20.0), (4.0, 60.0)]
    assert slopes(points, 4) == pytest.approx([10.0, 10.0, 0.0, 40.0])
    assert curve(points, 4) == "▂▂ █"


@pytest.mark.parametrize("points", [[], [(1.0, 5.0)], [(1.0, 5.0), (1.0, 9.0)]])
def test_no_time_no_curve(points):
    assert curve(points) == ""


def test_nothing_grows_is_an_empty_curve():
    assert curve([(0.0, 7.0), (5.0, 7.0)]) == ""


def test_bars_show_small_numbers_beside_large_ones():
    table = bars([("many", 200_000, "red"), ("few", 5, "red"), ("none", 0, "red")])
    lengths = [len(cell) for cell in table.columns[2].cells]
    assert lengths[0] == BAR_WIDTH
    assert 0 < lengths[1] < BAR_WIDTH / 2
    assert lengths[2] == 0
    assert [len(cell) for cell in bars([("none", 0, "red")]).columns[2].cells] == [0]


def snapshot(number: int, rows: int, *, with_offsets: bool = True) -> dict:
    return {"id": number, "token": "t" if with_offsets else None, "rows_total": rows}


def test_an_earlier_snapshot_is_before_the_answers_and_has_rows():
    newest_first = [
        snapshot(9, 50),
        snapshot(8, 40),
        snapshot(7, 30),
        snapshot(6, 20, with_offsets=False),
    ]
    newest_first += [snapshot(5, 20), snapshot(4, 0)]
    earlier = demo_answers._earlier
    assert earlier(newest_first, 8)["id"] == 5
    assert earlier(newest_first, 9)["id"] == 7
    assert earlier(newest_first, 5)["id"] == 5, "there is none before it"
    assert earlier(newest_first, None)["id"] == 7


def test_rows_below_an_offset_of_their_own_partition():
    row = {"log_partition": 1, "log_offset": 10}
    assert demo_answers._is_below(row, {"0": 0, "1": 11})
    assert not demo_answers._is_below(row, {"0": 99, "1": 10})
    assert not demo_answers._is_below(row, {"0": 99})


def test_a_row_that_differs_is_a_difference():
    rows = [{"price": "1"}, {"price": "2"}]
    assert demo_answers._same("x", rows, list(rows)).agrees
    assert not demo_answers._same("x", rows, rows[:1]).agrees
    assert not demo_answers._same("x", rows, [rows[0], {"price": "2.0"}]).agrees


def test_without_recordings_there_is_synthetic_input_alone(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("k2_streams.demo.input.RECORDINGS", tmp_path)
    assert [source.exchange for source in sources(tmp_path, 5_000, 1)] == ["SIM"]
    (tmp_path / "spot-btcusdt_20240808.gz").touch()
    assert [source.exchange for source in sources(tmp_path, 5_000, 1)] == ["SIM", "BINANCE"]
