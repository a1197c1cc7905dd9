"""Reads canonical trades, and writes those whose number is new to its symbol: by Quix Streams.

Arguments: bootstrap, source topic, output topic, consumer group, state directory. Runs until it is
terminated. In an environment of its own (`make peers`): it imports nothing of K2.
"""

import sys
from decimal import Decimal
from typing import Any, Protocol

#: Open gaps kept of a symbol; the oldest is forgotten first, and what fills it is a duplicate.
MAX_GAPS = 8


class ScopeState(Protocol):
    """`quixstreams.State`, as far as it is used."""

    def get(self, key: str) -> Any:
        """None: never set."""
        ...

    def set(self, key: str, value: Any) -> None:
        """Until the next one."""
        ...


def is_new(trade: dict[str, Any], state: ScopeState) -> bool:
    """Whether the trade's number was not seen before in its symbol; remembers it."""
    Decimal(trade["price"]), Decimal(trade["quantity"]), int(trade["exchange_time_ns"])
    number = trade["sequence"]
    highest, gaps = state.get("scope") or (number - 1, [])
    if number > highest:
        if number > highest + 1:
            gaps = [*gaps[-MAX_GAPS + 1 :], (highest + 1, number - 1)]
        state.set("scope", (number, gaps))
        return True
    for at, (first, last) in enumerate(gaps):
        if first <= number <= last:
            parts = [(first, number - 1), (number + 1, last)]
            left = [part for part in parts if part[0] <= part[1]]
            state.set("scope", (highest, [*gaps[:at], *left, *gaps[at + 1 :]]))
            return True
    return False


def main(bootstrap: str, source: str, output: str, group: str, state_directory: str) -> None:
    """Run until terminated."""
    # K2's own environment has neither, and imports this file to check it.
    import orjson  # noqa: PLC0415
    from quixstreams import Application  # noqa: PLC0415

    app = Application(
        broker_address=bootstrap,
        consumer_group=group,
        state_dir=state_directory,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        auto_create_topics=True,
        producer_extra_config={"compression.type": "lz4"},
        loglevel="WARNING",
    )
    trades = app.dataframe(app.topic(source, value_deserializer="bytes"))
    accepted = app.topic(output, value_serializer="bytes")
    new = trades.filter(lambda value, state: is_new(orjson.loads(value), state), stateful=True)
    new.to_topic(accepted)
    app.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
