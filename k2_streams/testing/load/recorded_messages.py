"""The content of messages whose rows have no number of their own, read without the feeds' code."""

import json
from collections.abc import Callable
from typing import Any

from k2_streams.testing.load.recorded_trades import exchange_of, trade_worth
from k2_streams.testing.oracle.model_messages import MessageContent, Traded

#: What a session without a name is called.
_SESSION = "0"
#: A connection's begin as a session's name has so many digits.
_CONNECTION_DIGITS = 19


def _coinbase_advanced(key: str, value: bytes) -> MessageContent:
    _, connected, text = value.split(b" ", 2)
    message = json.loads(text)
    session = connected.decode().zfill(_CONNECTION_DIGITS)
    if "sequence_num" not in message:
        return MessageContent(key, session, None)
    exchange, trades = exchange_of(key), []
    if message["channel"] == "market_trades":
        trades = [
            Traded(
                f"{exchange}:{one['product_id']}",
                one["trade_id"],
                trade_worth(one["price"], one["size"]),
            )
            for event in message["events"]
            for one in event["trades"]
        ]
    return MessageContent(key, session, message["sequence_num"], trades)


def _bybit(key: str, value: bytes) -> MessageContent:
    message = _unstamped(value)
    topic = message.get("topic", "")
    if topic.startswith("publicTrade."):
        exchange, market, _ = key.split(":", 2)
        trades = [
            Traded(f"{exchange}:{market}:{one['s']}", one["i"], trade_worth(one["p"], one["v"]))
            for one in message["data"]
        ]
        return MessageContent(key, _SESSION, None, trades)
    counts = topic.startswith("orderbook.") and "@" in key
    return MessageContent(key, _SESSION, message["data"]["u"] if counts else None)


def _hitbtc(key: str, value: bytes) -> MessageContent:
    message = _unstamped(value)
    method, params = message.get("method"), message.get("params")
    if method in {"updateTrades", "snapshotTrades"}:
        trades = [
            Traded(key, str(one["id"]), trade_worth(one["price"], one["quantity"]))
            for one in params["data"]
        ]
        return MessageContent(key, _SESSION, None, trades)
    counts = method in {"updateOrderbook", "snapshotOrderbook"}
    return MessageContent(key, _SESSION, params["sequence"] if counts else None)


def _kraken(key: str, value: bytes) -> MessageContent:
    message = _unstamped(value)
    if not isinstance(message, list) or message[-2] != "trade" or type(message[-1]) is not str:
        return MessageContent(key, _SESSION, None)
    return MessageContent(
        key, _SESSION, None, [Traded(key, None, trade_worth(*one[:2])) for one in message[1]]
    )


def _unstamped(value: bytes) -> Any:
    """The message behind the time at which it was received."""
    return json.loads(value.partition(b" ")[2] if value[:1].isdigit() else value)


#: By feed what identifies its rows, and how a record is read, by its key and value.
MESSAGES: dict[str, tuple[str, Callable[[str, bytes], MessageContent]]] = {
    "bybit.v5": ("trade_id", _bybit),
    "coinbase.advanced": ("trade_id", _coinbase_advanced),
    "hitbtc.v2": ("trade_id", _hitbtc),
    "kraken.v1": ("place", _kraken),
}
