"""`k2 demo` and `k2 demo-tour`: they end well, and whatever happens nothing is left behind."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from k2_streams.demo.stations.ten_minutes import STATIONS

pytestmark = pytest.mark.integration

MESSAGES = "10000"
#: The demo's own promise is three minutes; a machine that runs other tests too is slower.
WITHIN_S = 400


@pytest.fixture
def environment(tmp_path, kafka_jars):
    """Settings that would harm the demo, or be harmed by it, if it did not put them aside."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    return {
        **os.environ,
        "TMPDIR": str(temporary),
        "K2_KAFKA_JARS": str(kafka_jars),
        "K2_BOOTSTRAP": "127.0.0.1:1",
        "K2_CATALOG_URI": f"sqlite:///{tmp_path}/mine.db",
        "K2_WAREHOUSE": f"file://{tmp_path}/mine",
        "K2_API_KEYS": "secret",
        "K2_PARTITIONS": "7",
        "NO_COLOR": "1",
    }


def start(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    words = arguments or ("demo", "--messages", MESSAGES)
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "k2_streams.cli.main", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def left_behind(environment: dict[str, str]) -> list[str]:
    """Files of the demo, and processes that know its directory."""
    temporary = Path(environment["TMPDIR"])
    found = [str(path) for path in temporary.glob("k2-demo-*")]
    beginning = f"{temporary}/k2-demo-"
    for process in psutil.process_iter():
        try:
            told = [*process.cmdline(), process.environ().get("K2_DATA_DIR", "")]
        except psutil.Error:
            continue
        if any(beginning in text for text in told):
            found.append(f"process {process.pid}: {told}")
    return found


def test_every_number_agrees(environment, tmp_path):
    demo = start(environment)
    try:
        text, _ = demo.communicate(timeout=WITHIN_S)
    finally:
        demo.kill()
    assert demo.returncode == 0, text
    assert "Every number agrees with the truth." in text
    assert "differs" not in text
    assert re.search(r"kill -9 \d+ +with [\d,]+ records processed", text)
    assert re.search(r"again after [\d.]+ s, new records processed after [\d.]+ s", text)
    assert re.search(r"SIM\s.*trades accepted +[1-9][\d,]+ +[1-9][\d,]+  agrees", text, re.DOTALL)
    assert re.search(r"gaps opened +[1-9]\d* +[1-9]\d*  agrees", text)
    assert re.search(r"\$ curl -s 'http://127.0.0.1:\d+/v1/trades\?.*&as_of=[\w-]+'", text)
    assert "every record sent is accounted for" in text
    assert left_behind(environment) == []
    assert not list(tmp_path.glob("mine*")), "the caller's lake was touched"


def test_ctrl_c_stops_everything_that_was_started(environment):
    demo = start(environment)
    try:
        for line in demo.stdout:
            if "records" in line or " judged " in line:
                break
        demo.send_signal(signal.SIGINT)
        text, _ = demo.communicate(timeout=WITHIN_S)
    finally:
        demo.kill()
    assert demo.returncode == 128 + signal.SIGINT, text
    assert "everything that was started has been stopped" in text
    assert left_behind(environment) == []


@pytest.mark.long
def test_each_station_of_the_tour_holds_what_it_asserts(environment):
    tour = start(environment, "demo-tour", "--check")
    try:
        text, _ = tour.communicate(timeout=2 * WITHIN_S)
    finally:
        tour.kill()
    assert tour.returncode == 0, text
    assert "does not hold" not in text
    for station in STATIONS:
        assert re.search(rf"^{station.name} +[\d.]+", text, re.MULTILINE), station.name
    assert left_behind(environment) == []
