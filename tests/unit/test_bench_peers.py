"""The comparison with peers: counts that are wrong are found, and a ratio is of one run."""

import json
from collections import Counter

import numpy as np
import psutil
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.peers.counts import differences, numbers_of, numbers_sent
from bench.peers.figures import Measured, table
from bench.peers.quix.peer import is_new
from bench.peers.running import PeerEndedError, PeerProcess, measure
from k2_streams.testing.oracle.truth_file import Header, SessionLine, Truth

HEADER = Header(topic="k2.trades.raw", feed="canonical", options={}, sent=9)


def truth(*lines: tuple[str, str, list[tuple[int, int]]]) -> Truth:
    sessions = [
        SessionLine(scope=scope, session=session, rows=rows, count=0, value="0")
        for scope, session, rows in lines
    ]
    return Truth(HEADER, sessions, Counter(), {})


def accepted(symbols: str, numbers: list[int]) -> pa.Table:
    return pa.table(
        {"exchange": ["SIM"] * len(numbers), "symbol": list(symbols), "sequence": numbers}
    )


EXPECTED = numbers_sent(truth(("SIM:A", "0", [(1, 3), (7, 8)]), ("SIM:B", "0", [(1, 1)])))


def test_the_numbers_of_a_truth_are_those_of_its_ranges():
    assert {scope: numbers.tolist() for scope, numbers in EXPECTED.items()} == {
        "SIM:A": [1, 2, 3, 7, 8],
        "SIM:B": [1],
    }


def test_numbers_that_occur_in_two_sessions_are_refused():
    with pytest.raises(ValueError, match="SIM:A"):
        numbers_sent(truth(("SIM:A", "0", [(1, 1)]), ("SIM:A", "1", [(1, 1)])))


def test_all_numbers_once_in_any_order_and_any_tables_are_no_difference():
    found = numbers_of([accepted("AAB", [8, 1, 1]), accepted("AAA", [3, 2, 7])])
    assert differences(EXPECTED, found) == []


@pytest.mark.parametrize(
    ("symbols", "numbers", "expected"),
    [
        ("AAAAB", [1, 2, 3, 8, 1], ["SIM:A: 1 missing, the first is 7"]),
        ("AAAAA", [1, 2, 3, 7, 8], ["SIM:B: 1 missing, the first is 1"]),
        ("AAAAABB", [1, 2, 3, 7, 8, 1, 1], ["SIM:B: 1 twice, the first is 1"]),
        ("AAAAAAB", [1, 2, 3, 4, 7, 8, 1], ["SIM:A: 1 not sent, the first is 4"]),
        ("AAAAABC", [1, 2, 3, 7, 8, 1, 5], ["SIM:C: 1 not sent, the first is 5"]),
        (
            "AAAAAB",  # as many as there should be
            [1, 2, 2, 7, 8, 1],
            ["SIM:A: 1 missing, the first is 3", "SIM:A: 1 twice, the first is 2"],
        ),
    ],
)
def test_one_trade_too_few_or_too_many_is_a_difference(symbols, numbers, expected):
    assert differences(EXPECTED, numbers_of([accepted(symbols, numbers)])) == expected


def test_many_differences_are_named_shortly():
    many = {f"SIM:S{n}": np.array([1]) for n in range(9)}
    assert len(differences(many, {})) == 6
    assert differences(many, {})[-1] == "and 4 more"


def test_ratios_are_of_one_run_and_medians_of_all():
    """The second run was on a machine that was ten times as slow."""
    runs = [
        {"K2": Measured(300.0, 3.0, 10.0), "Other": Measured(100.0, 6.0, 20.0)},
        {"K2": Measured(30.0, 30.0, 11.0), "Other": Measured(20.0, 40.0, 21.0)},
        {"K2": Measured(280.0, 3.3, 12.0), "Other": Measured(140.0, 6.6, 22.0)},
    ]
    assert table(runs) == {
        "K2: msg/s": 280.0,
        "K2: CPU s/M": 3.3,
        "K2: peak MiB": 11.0,
        "Other: msg/s": 100.0,
        "Other: CPU s/M": 6.6,
        "Other: peak MiB": 21.0,
        "K2 / Other: msg/s": 2.0,
        "K2 / Other: CPU s/M": 0.5,
    }


def test_a_rate_is_of_what_came_after_the_first_commit():
    """A system that has its first commit late is not slower for it, and none is counted twice."""
    positions = iter([0, 0, 400, 700, 1000])
    last = 0

    def committed() -> int:
        nonlocal last
        last = next(positions)
        return last

    found = measure(psutil.Process(), committed, lambda: committed() == 1000, 1000)
    # 600 messages within two looks of 0.25 s each, or longer on a busy machine.
    assert 0 < found.rate_per_s <= 600 / 0.25
    assert found.peak_mib > 0
    assert found.cpu_s_per_million >= 0


def test_a_peer_that_ends_by_itself_is_an_error_with_its_last_words(tmp_path):
    log = tmp_path / "peer.log"
    with PeerProcess(["sh", "-c", "echo no broker; exit 3"], log) as process:
        process._process.wait(10)
        with pytest.raises(PeerEndedError, match="ended with 3\nno broker"):
            process.check()


def test_a_peer_ends_with_its_block(tmp_path):
    with PeerProcess(["sleep", "100"], tmp_path / "peer.log") as process:
        process.check()
        assert process.measured.is_running()
    assert not process.measured.is_running()


class _State(dict):
    """As Quix gives one back: through JSON."""

    def set(self, key, value):
        self[key] = json.loads(json.dumps(value))


@given(st.lists(st.integers(5, 14), max_size=40))
def test_the_quix_peer_accepts_each_number_once(numbers):
    """From the first one on that it saw: what lies below is late for good."""
    state, seen = _State(), set()
    trade = {"price": "1.5", "quantity": "2", "exchange_time_ns": 1}
    for number in numbers:
        expected = number not in seen and number >= numbers[0]
        assert is_new(trade | {"sequence": number}, state) == expected
        seen.add(number)
