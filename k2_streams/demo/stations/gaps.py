"""Station 2: trades flow; a gap is caught; one heals by a second line, another by a repair."""

import json
import statistics
import time
from collections.abc import Sequence
from itertools import islice
from typing import Any

from k2_streams.demo.stations.tour import Tour
from k2_streams.testing.load.by_hand import Trade, record_of, send, trade

#: From the acknowledged send of the message behind the gap to the gap in an answer.
EVENT_WITHIN_S = 1.0
SHOWN_ROWS = 5
#: Gaps of which the median is taken.
REPAIRED = tuple(f"R{number}" for number in range(1, 6))
NUMBERS = 10
_LOST_BY_A = frozenset({4, 7})


def show(tour: Tour) -> None:
    """The log as it flows, then the three ways of a gap."""
    tour.page("symbol?key=SIM:S0019&window=5m&interval=1s")
    _follow_log(tour)
    _fill_before_it_is_a_gap(tour)
    _heal_by_line(tour)
    _repair(tour)


def _follow_log(tour: Tour) -> None:
    tour.say("k2.trades as it comes (/v1/trades/stream):")
    began = time.monotonic()
    with tour.client() as client:
        frames = client.stream("trades", exchange="SIM", prices="str")
        try:
            rows = islice((row for one in frames for row in one.rows.to_pylist()), SHOWN_ROWS)
            shown = [
                f"  {row['symbol']:6} {row['sequence']:>9} {row['price']:>12} {row['quantity']:>9}"
                for row in rows
            ]
        finally:
            frames.close()
    tour.say("\n".join(shown))
    tour.expect("rows flow", f"{len(shown)} in {time.monotonic() - began:.1f} s", holds=bool(shown))


def _fill_before_it_is_a_gap(tour: Tour) -> None:
    """Both lines are known before the first loss: K2 waits for the other one."""
    tour.say(f"\nLine A loses numbers {sorted(_LOST_BY_A)}, line B has them:")
    numbers = [trade("LINES", "AB", number) for number in range(1, NUMBERS + 1)]
    both = [(one, line) for one in numbers for line in "AB"]
    lost = [(one, line) for one, line in both if line != "A" or one["sequence"] not in _LOST_BY_A]
    send(tour.stage.bootstrap, [record_of(one, line) for one, line in lost])
    tour.wait("all numbers", lambda: _trades(tour, "LINES") == NUMBERS)
    (found,) = tour.rows("/v1/symbols", exchange="LINES")
    tour.expect(
        "a loss that the other line fills is no gap",
        f"{found['trades']} rows, {found['gaps_opened']} gaps",
        holds=found["gaps_opened"] == 0,
    )


def _heal_by_line(tour: Tour) -> None:
    """Line B is not known yet: the gap opens, and B's first messages fill it."""
    tour.say("\nOnly line A is there, and it loses 4 and 5. Then line B comes with them:")
    after_s = _opened_after_s(tour, [trade("HEAL", "AB", number) for number in (1, 2, 3, 6)], "A")
    missing = [record_of(trade("HEAL", "AB", number), "B") for number in (4, 5)]
    sent = send(tour.stage.bootstrap, missing)
    filled = tour.wait("the gap is filled", lambda: _states(tour, "HEAL") == ["filled"])
    tour.expect(
        "a gap opens, and heals from line B",
        f"known after {after_s:.2f} s, filled after {filled - sent:.2f} s",
        holds=True,
    )


def _repair(tour: Tour) -> None:
    """No line brings what is missing: it is asked of a recording."""
    tour.say(f"\n{len(REPAIRED)} symbols lose numbers 4 to 6, and no line has them:")
    opened = []
    for symbol in REPAIRED:
        sent = [trade("REPAIR", symbol, number) for number in (1, 2, 3, 7)]
        opened.append(_opened_after_s(tour, sent, None))
    tour.expect(
        f"a gap is known within {EVENT_WITHIN_S:g} s of the message behind it",
        f"median of {len(opened)}: {statistics.median(opened):.2f} s",
        holds=statistics.median(opened) <= EVENT_WITHIN_S,
    )
    recording = tour.stage.directory / "recording.jsonl"
    lost = [trade("REPAIR", symbol, number) for symbol in REPAIRED for number in (4, 5, 6)]
    recording.write_text("".join(f"{json.dumps(one)}\n" for one in lost))
    source = f"file:{recording}"
    code, _ = tour.command("repair", "run", "--source", source, "--exchange", "REPAIR")
    states = _states(tour, "REPAIR")
    tour.expect(
        "a repair from a recording fills what it asks for",
        f"exit code {code}, {states.count('filled')} of {len(states)} gaps filled",
        holds=code == 0 and states == ["filled"] * len(REPAIRED),
    )


def _opened_after_s(tour: Tour, trades: Sequence[Trade], line: str | None) -> float:
    """Seconds from the acknowledged send to an open gap of the symbol in an answer."""
    exchange, symbol = trades[0]["exchange"], trades[0]["symbol"]
    sent = send(tour.stage.bootstrap, [record_of(one, line) for one in trades])
    seen = tour.wait("the gap is known", lambda: "open" in _states(tour, exchange, symbol))
    return seen - sent


def _states(tour: Tour, exchange: str, symbol: str | None = None) -> list[str]:
    """Of the gaps of an exchange, or of one symbol."""
    named: dict[str, Any] = {} if symbol is None else {"symbol": symbol}
    return [gap["state"] for gap in tour.rows("/v1/gaps", exchange=exchange, **named)]


def _trades(tour: Tour, exchange: str) -> int:
    """Rows of an exchange."""
    return sum(one["trades"] for one in tour.rows("/v1/symbols", exchange=exchange))
