"""The ten-minute demo's frame: its clock, what fails is named, and what its stations compute."""

import datetime as dt
import io
import re
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console

from k2_streams.demo.stations.alerting import ALERT, RULES, impatient
from k2_streams.demo.stations.questions import last_tuesday
from k2_streams.demo.stations.ten_minutes import STATIONS, Station, tell
from k2_streams.demo.web import DemoError
from k2_streams.testing.local.latency import STAGES, StageTimes, summaries
from k2_streams.testing.local.prometheus import NoPrometheusError
from k2_streams.testing.local.stage import Stage


def told(tmp_path, *shows, is_live=False) -> tuple[bool | str, str]:
    """Whether all holds, or why the demo broke off, and what was printed."""
    console = Console(record=True, width=200)
    stage = Stage(tmp_path, jars=tmp_path)
    stations = [Station(f"s{n}", f"title {n}", n, show) for n, show in enumerate(shows, 1)]
    try:
        found = tell(console, stage, is_live=is_live, stations=stations)
    except DemoError as error:
        return str(error), console.export_text()
    return found, console.export_text()


def expects(what: str, *, holds: bool):
    return lambda tour: tour.expect(what, 42, holds=holds)


def breaks_off(_tour):
    raise OSError("no answer")


def test_the_clock_has_each_stations_seconds_and_what_it_asserts(tmp_path):
    holds, text = told(tmp_path, expects("one", holds=True), expects("two", holds=True))
    assert holds is True
    assert re.search(r"^s1 +\d+\.\d +holds +one +42 *$", text, re.MULTILINE)
    assert re.search(r"^s2 +\d+\.\d +holds +two +42 *$", text, re.MULTILINE)
    assert re.search(r"^in all +\d+\.\d *$", text, re.MULTILINE)


def test_what_does_not_hold_is_named_and_the_other_stations_are_shown(tmp_path):
    holds, text = told(tmp_path, expects("one", holds=False), expects("two", holds=True))
    assert holds is False
    assert "does not hold: station s1\n" in text
    assert "holds  two" in text


def test_a_station_that_breaks_off_is_named_behind_the_clock_so_far(tmp_path):
    error, text = told(tmp_path, expects("one", holds=True), breaks_off)
    assert error == "station s2: no answer"
    assert re.search(r"^s1 +\d+\.\d +holds", text, re.MULTILINE)
    assert re.search(r"^s2 +\d+\.\d +broke off +no answer", text, re.MULTILINE)


def without_prometheus(_tour):
    raise NoPrometheusError("no Prometheus")


def test_without_prometheus_people_see_the_rest_and_the_clock_says_what_is_left_out(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("sys.stdin", io.StringIO())  # no terminal: nobody to wait for
    shows = without_prometheus, expects("two", holds=True)
    holds, text = told(tmp_path, *shows, is_live=True)
    assert holds is True
    assert re.search(r"^s1 +\d+\.\d +left out +no Prometheus", text, re.MULTILINE)
    assert "not checked" not in text


def test_a_check_fails_where_a_station_is_left_out_and_names_it(tmp_path):
    holds, text = told(tmp_path, without_prometheus, expects("two", holds=True))
    assert holds is False
    assert re.search(r"^s1 +\d+\.\d +left out +no Prometheus", text, re.MULTILINE)
    assert "holds  two" in text
    assert "not checked: station s1\n" in text


def test_the_stations_take_ten_minutes_in_order():
    minutes = [one.until_minute for one in STATIONS]
    assert minutes == sorted(minutes)
    assert minutes[-1] == 10


def test_the_rules_are_as_shipped_but_for_their_patience():
    shipped, hurried = RULES.read_text(), impatient(RULES.read_text())
    waits = re.compile(r"^\s+for: \S+$", re.MULTILINE)
    assert waits.sub("", shipped) == waits.sub("", hurried)
    assert "for: 2s" in hurried[hurried.index(f"alert: {ALERT}") :][:200]
    assert not re.search(r"for: [1-9]\d*m$", hurried, re.MULTILINE)


@pytest.mark.parametrize(("today", "tuesday"), [(23, 17), (24, 17), (25, 24), (29, 24)])
def test_last_tuesday_is_before_today(today, tuesday):
    zone = ZoneInfo("Australia/Sydney")
    found = last_tuesday(dt.datetime(2026, 11, today, 18, 30, tzinfo=zone))
    assert found == dt.datetime(2026, 11, tuesday, 10, tzinfo=zone)


def test_the_means_of_the_stages_add_up_to_that_of_the_total():
    found = summaries(
        [StageTimes(10.0, (1.0, 5.0, 3.0, 1.0)), StageTimes(20.0, (2.0, 9.0, 8.0, 1.0))]
    )
    assert [*found] == [*STAGES, "total"]
    assert sum(found[name].mean_ms for name in STAGES) == found["total"].mean_ms == 15.0
    assert found["checkpoint"].p50_ms == 7.0
    assert 19.0 < found["total"].p99_ms <= 20.0
