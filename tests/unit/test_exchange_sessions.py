"""Whether an exchange trades, by its calendar, and the alert that goes by it."""

import asyncio
import subprocess
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml
from metric_values import value
from promtool_program import promtool

from k2_streams.calendars import CalendarError
from k2_streams.runtime.control.sessions import ExchangeSessions
from k2_streams.runtime.metrics import Metrics

RULES = Path(__file__).resolve().parents[2] / "deploy" / "prometheus" / "alerts.yml"
#: Minutes of a day: open from 60 to 120, and nothing is sent from 30 to 90.
DAY = {
    'k2_session_open{instance="a",exchange="XNYS"}': "0x59 1x59 0x60",
    'k2_session_open{instance="a",exchange="XASX"}': "0x179",
    'k2_source_records_total{instance="a",feed="canonical"}': "0+60x29 1800x59 1860+60x89",
}


class SetClock:
    def __init__(self, text, zone):
        self.moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))

    def time_ns(self):
        return int(self.moment.timestamp()) * 10**9

    def monotonic(self):
        return 0.0


@pytest.mark.parametrize(
    ("text", "new_york", "sydney"),
    [
        ("2025-11-24T10:00", 1, 0),
        ("2025-11-24T09:29:59", 0, 0),
        ("2025-11-24T16:00", 0, 0),  # the close is no part of the session
        ("2025-11-24T20:00", 0, 1),  # noon in Sydney, on Tuesday
        ("2025-11-22T11:00", 0, 0),  # a Saturday
        ("2025-11-27T11:00", 0, 0),  # Thanksgiving
        ("2025-11-28T13:30", 0, 0),  # the day after it ends at 13:00
    ],
)
def test_a_session_is_shown_while_the_calendar_has_one(text, new_york, sydney):
    metrics = Metrics()
    clock = SetClock(text, "America/New_York")
    calendars = {"NYSE": "XNYS", "ASX": "XASX"}
    ExchangeSessions(calendars, clock, metrics.show_session).look()
    assert value(metrics.registry, "k2_session_open", exchange="NYSE") == new_york
    assert value(metrics.registry, "k2_session_open", exchange="ASX") == sydney


@pytest.mark.parametrize(
    ("time", "tokyo"), [("11:29", 1), ("11:30", 0), ("12:29", 0), ("12:30", 1)]
)
def test_the_break_at_noon_is_no_time_of_trade(time, tokyo):
    metrics = Metrics()
    clock = SetClock(f"2025-11-25T{time}", "Asia/Tokyo")
    ExchangeSessions({"JPX": "XTKS"}, clock, metrics.show_session).look()
    assert value(metrics.registry, "k2_session_open", exchange="JPX") == tokyo


async def test_a_calendar_that_does_not_reach_so_far_is_an_error_that_is_seen():
    sessions = ExchangeSessions(
        {"NYSE": "XNYS"}, SetClock("1950-01-01T00:00", "UTC"), Metrics().show_session
    )
    with pytest.raises(CalendarError, match="XNYS has the sessions from"):
        async with asyncio.timeout(30):
            await sessions.run()


def fires(minutes, series, tmp_path, *, offset_min=0):
    """Whether NoData is what promtool finds in these minutes."""
    rules = [
        rule
        for group in yaml.safe_load(RULES.read_text())["groups"]
        for rule in group["rules"]
        if rule["alert"] == "K2NoData"
    ]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "a", "rules": rules}]}))
    expected = {
        True: [{"exp_labels": rules[0]["labels"], "exp_annotations": rules[0]["annotations"]}]
    }
    test = {
        "rule_files": ["rules.yml"],
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": one, "values": text} for one, text in series.items()],
                "alert_rule_test": [
                    {
                        "eval_time": f"{offset_min + minute}m",
                        "alertname": "K2NoData",
                        "exp_alerts": expected.get(is_firing, []),
                    }
                    for minute, is_firing in minutes.items()
                ],
            }
        ],
    }
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump(test))
    done = subprocess.run(
        [promtool(), "test", "rules", str(file)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_silence_is_an_alert_in_a_session_and_none_at_night(tmp_path):
    # 45: silent before the open; 70: open for ten minutes; 80: and long enough for the alert.
    fires({45: False, 59: False, 70: False, 80: True, 110: False, 170: False}, DAY, tmp_path)


@pytest.mark.slow
def test_without_a_session_silence_is_none_though_there_was_trade_a_week_ago(tmp_path):
    week_min = 7 * 24 * 60
    closed = {
        'k2_source_records_total{instance="a",feed="canonical"}': (
            f"0+60x{week_min} {60 * week_min}x60"
        ),
        'k2_session_open{instance="a",exchange="XNYS"}': f"0x{week_min + 60}",
    }
    fires({40: False}, closed, tmp_path, offset_min=week_min)
