"""Scenarios for the test driver and a real broker: messages, and what must come of them.

Each has scopes of its own, so that all of them can be sent together and compared by their keys.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from k2_streams.testing import InputMessage

#: 2025-11-23 12:00 UTC.
T0_NS = 1_763_899_200_000_000_000
SECOND_NS = 10**9


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is sent, and what it brings about.

    Attributes:
        name: of the scenario.
        scopes: that its messages have; no other scenario has them.
        messages: in their order.
        rows: accepted.
        events: types of events of its scopes.
        letters: reasons of its dead letters.
    """

    name: str
    scopes: tuple[str, ...]
    messages: tuple[InputMessage, ...]
    rows: int
    events: frozenset[str] = frozenset()
    letters: tuple[str, ...] = ()


SCENARIOS: list[Scenario] = []


class Sender:
    """Collects the messages of one scenario."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.scope = f"X:{symbol}"
        self.messages: list[InputMessage] = []
        self.scopes = {self.scope}

    def trade(
        self, sequence: int | None, at_s: float | None = None, line: str | None = None, **more: Any
    ) -> None:
        """A trade in the canonical format; `at_s`: its event time, else that of its number."""
        time_s = (sequence or 0) / 1000 if at_s is None else at_s
        fields = {
            "exchange": "X",
            "symbol": self.symbol,
            "price": "1.5",
            "quantity": "2",
            "exchange_time_ns": T0_NS + round(time_s * SECOND_NS),
            "sequence": sequence,
        } | more
        value = {name: one for name, one in fields.items() if one is not None}
        self.messages.append(InputMessage(json.dumps(value), key=self.scope, line=line))

    def trades(self, *sequences: int, **more: Any) -> None:
        """Trades with these numbers."""
        for sequence in sequences:
            self.trade(sequence, **more)

    def raw(self, value: Any, **more: Any) -> None:
        """Bytes as they are."""
        self.messages.append(InputMessage(value, **{"key": self.scope, **more}))


def scenario(
    rows: int, *events: str, letters: tuple[str, ...] = ()
) -> Callable[[Callable[[Sender], None]], Callable[[Sender], None]]:
    """Add what a function sends to the scenarios."""

    def add(send: Callable[[Sender], None]) -> Callable[[Sender], None]:
        sender = Sender(f"S{len(SCENARIOS):02d}")
        send(sender)
        SCENARIOS.append(
            Scenario(
                send.__name__,
                tuple(sorted(sender.scopes)),
                tuple(sender.messages),
                rows,
                frozenset(events),
                letters,
            )
        )
        return send

    return add


@scenario(5)
def in_order(sender: Sender) -> None:
    sender.trades(1, 2, 3, 4, 5)


@scenario(3, "gap_opened")
def gap_that_stays_open(sender: Sender) -> None:
    sender.trades(1, 2, 5)


@scenario(4, "gap_opened", "late", "gap_filled")
def gap_filled_by_late_messages(sender: Sender) -> None:
    sender.trades(1, 4, 2, 3)


@scenario(4, "gap_opened", "late")
def gap_filled_in_part(sender: Sender) -> None:
    sender.trades(1, 6, 3, 7)


@scenario(2, "gap_opened")
def large_gap(sender: Sender) -> None:
    sender.trades(1, 1_000_000)


@scenario(3, "duplicates")
def duplicates(sender: Sender) -> None:
    sender.trades(1, 2, 2, 1, 3, 3)


@scenario(4, "gap_opened", "late")
def numbers_below_the_first(sender: Sender) -> None:
    sender.trades(10, 11, 7, 12)


@scenario(2, "conflicting_duplicate", letters=("conflicting-duplicate",))
def number_used_twice_in_a_named_session(sender: Sender) -> None:
    sender.trades(1, 2, session="s1")
    sender.trade(2, at_s=60.0, session="s1")


@scenario(5, "reset")
def number_used_twice_begins_a_session(sender: Sender) -> None:
    sender.trades(1, 2, 3)
    sender.trade(1, at_s=60.0)
    sender.trade(2, at_s=61.0)


@scenario(5, "reset")
def named_sessions(sender: Sender) -> None:
    sender.trades(1, 2, session="s1")
    sender.trades(1, 2, session="s2")
    sender.trade(3, session="s1")


@scenario(4, "gap_opened", "reset", "gap_abandoned", "stale", letters=("stale",))
def reset_abandons_a_gap(sender: Sender) -> None:
    sender.trades(1, 4, session="s1")
    sender.trades(1, 2, session="s2")
    sender.trade(2, session="s1")


@scenario(5, "duplicates")
def line_that_the_other_completes(sender: Sender) -> None:
    for sequence in (1, 2, 3, 4, 5):
        if sequence != 3:
            sender.trade(sequence, line="A")
        if sequence != 4:
            sender.trade(sequence, line="B")


@scenario(4, "duplicates", "gap_opened")
def lines_that_both_lose(sender: Sender) -> None:
    for sequence in (1, 2, 5, 6):
        sender.trade(sequence, line="A")
        sender.trade(sequence, line="B")


@scenario(3, "duplicates")
def trade_ids_instead_of_numbers(sender: Sender) -> None:
    for trade_id in ("t1", "t2", "t1", "t3", "t2"):
        sender.trade(None, trade_id=trade_id)


@scenario(1, "dead", letters=("not-json", "wrong-type", "missing-field", "not-utf8"))
def not_what_was_expected(sender: Sender) -> None:
    sender.trade(1)
    sender.raw("{")
    sender.trade(2, price=[1])
    sender.trade(3, quantity=None)
    sender.raw(b"\xff\xfe")


@scenario(2, "dead", letters=("not-positive", "too-precise", "not-finite", "out-of-range"))
def prices_that_are_none(sender: Sender) -> None:
    sender.trade(1)
    sender.trade(2, price="-1")
    sender.trade(3, price="1.0000000000000000001")
    sender.trade(4, quantity="NaN")
    sender.trade(5, price="9" * 40)
    sender.trade(6)


@scenario(1, letters=("key-mismatch", "null-key"))
def keys_that_do_not_fit(sender: Sender) -> None:
    sender.trade(1)
    sender.messages.append(sender.messages[0]._replace(key=f"{sender.scope}Z"))
    sender.messages.append(sender.messages[0]._replace(key=None, partition=1))
    sender.scopes.add(f"{sender.scope}Z")


@scenario(1, letters=("empty", "empty", "oversized"))
def nothing_and_too_much(sender: Sender) -> None:
    sender.raw(None)
    sender.raw(b"")
    sender.raw(b"x" * 300_000)
    sender.trade(1)


@scenario(1, letters=("unknown-feed",))
def feed_that_nobody_knows(sender: Sender) -> None:
    sender.trade(1)
    sender.raw("{}", feed="acme.v9")


@scenario(3, "gap_opened")
def venue_with_control_messages(sender: Sender) -> None:
    scope = f"BINANCE:{sender.symbol}"
    sender.scopes = {scope}
    for number in (7, 8, 10):
        body = {
            "e": "trade", "s": sender.symbol, "t": number, "p": "1.25", "q": "3",
            "T": T0_NS // 10**6 + number, "m": number % 2 == 0,
        }  # fmt: skip
        sender.raw(json.dumps(body), key=scope, feed="binance.spot")
    for control in ({"u": 5, "s": sender.symbol, "b": "1.0"}, {"result": None, "id": 1}):
        sender.raw(json.dumps(control), key=scope, feed="binance.spot")


@scenario(4, "gap_opened")
def feeds_side_by_side(sender: Sender) -> None:
    """Of one symbol on two exchanges, whose records lie between each other."""
    other = f"BINANCE:{sender.symbol}"
    sender.scopes.add(other)
    for number in (1, 3):
        sender.trade(number)
        body = {
            "e": "trade",
            "s": sender.symbol,
            "t": 50 + number,
            "p": "2",
            "q": "1",
            "T": 1_763_899_200_000 + number,
        }
        sender.raw(json.dumps(body | {"m": True}), key=other, feed="binance.spot")


@scenario(4, "dead", letters=("bad-action",))
def cancels_and_corrections(sender: Sender) -> None:
    sender.trade(1, trade_id="a")
    sender.trade(2, trade_id="b")
    sender.trade(3, trade_id="c", action="correct", ref_trade_id="a", price="1.75")
    sender.trade(4, trade_id="d", action="cancel", ref_trade_id="b")
    sender.trade(5, trade_id="e", action="undo", ref_trade_id="b")


@scenario(3)
def values_of_every_kind(sender: Sender) -> None:
    sender.trade(
        1,
        price="0.000000000000000001",
        quantity="12345678901234567890.123456789012345678",
        side="sell",
        conditions=["@", "T"],
        receive_time_ns=T0_NS + 5,
        vendor={"a": "b", "empty": ""},
        own_field=1,
    )
    sender.trade(2, side="buy", conditions=[])
    sender.trade(3, trade_id="x" * 60)


@scenario(
    1, "gap_opened", "dead", letters=("sequence-range", "bad-time", "bad-time", "bad-session")
)
def numbers_and_times_out_of_range(sender: Sender) -> None:
    sender.trade(1)
    sender.trade(2**63, at_s=0.0)
    sender.trade(3, exchange_time_ns=5)
    sender.trade(4, exchange_time_ns=T0_NS * 4)
    sender.trade(5, session="")


@scenario(5, "reset")
def numbers_that_begin_again_after_a_silence(sender: Sender) -> None:
    sender.trades(10, 11, 12)
    sender.trade(1, at_s=7_200.0)
    sender.trade(2, at_s=7_201.0)


@scenario(4, "duplicates")
def ids_of_two_sessions(sender: Sender) -> None:
    for session in ("s1", "s2"):
        for trade_id in ("t1", "t2", "t1"):
            sender.trade(None, trade_id=trade_id, session=session)


@scenario(3, "gap_opened")
def symbol_of_another_script(sender: Sender) -> None:
    sender.symbol = f"{sender.symbol}-Ä\u6f22"
    sender.scope = f"X:{sender.symbol}"
    sender.scopes = {sender.scope}
    sender.trades(1, 2, 4)


@scenario(2, "duplicates", letters=("not-json", "wrong-type"))
def several_trades_per_message(sender: Sender) -> None:
    """Bybit's, which their ids identify."""
    scope = f"BYBIT:linear:{sender.symbol}"
    sender.scopes = {scope}
    ms = T0_NS // 10**6
    trades = [
        {"T": ms, "s": sender.symbol, "S": side, "v": "0.5", "p": "10.5", "i": trade_id}
        for side, trade_id in (("Buy", "a"), ("Sell", "b"))
    ]
    body = {"topic": f"publicTrade.{sender.symbol}", "type": "snapshot", "ts": ms, "data": trades}
    for value in (json.dumps(body), json.dumps(body), "{", '{"topic": 5}'):
        sender.raw(value, key=scope, feed="bybit.v5")


@scenario(60, "gap_opened")
def many_symbols(sender: Sender) -> None:
    """On every partition."""
    sender.scopes = set()
    symbol = sender.symbol
    for number in (1, 2, 4):
        for index in range(20):
            sender.symbol = f"{symbol}{index:02d}"
            sender.scope = f"X:{sender.symbol}"
            sender.scopes.add(sender.scope)
            sender.trade(number)


@scenario(300, "gap_opened", "late", "gap_filled", "duplicates")
def many_messages_of_one_symbol(sender: Sender) -> None:
    """Gaps, late ones and duplicates all along."""
    numbers = list(range(1, 301))
    for at in range(5, 300, 17):
        numbers[at], numbers[at - 3] = numbers[at - 3], numbers[at]
    for at in range(11, 300, 23):
        numbers.insert(at, numbers[at - 2])
    sender.trades(*numbers)
