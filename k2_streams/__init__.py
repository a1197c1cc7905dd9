"""K2 Streams: an exactly-once stream processor for market data.

`import k2_streams as k2` gives what a topology is written with. A name is imported when it is first
used: a feed of another package, or a client, needs nothing of Faust.
"""

from typing import TYPE_CHECKING, Any

from k2_streams.importing import import_when_used

if TYPE_CHECKING:
    from k2_streams.core.records.source import QUOTES_INPUT, TRADES_INPUT, RawInput
    from k2_streams.core.records.stream import QUOTES, TRADES, Stream, StreamError
    from k2_streams.runtime.app import App
    from k2_streams.runtime.task.raw_context import RawContext, RawRecords
    from k2_streams.topology.context import Context, TableView, TimerView
    from k2_streams.topology.declarations import (
        DEDUP,
        SEQUENCE,
        Agent,
        OnError,
        Output,
        RawSource,
        StreamSource,
        Table,
        Topology,
    )
    from k2_streams.topology.errors import StateReadError, TopologyError
    from k2_streams.web.pages import Page, PageRequest

__all__ = [
    "DEDUP",
    "QUOTES",
    "QUOTES_INPUT",
    "SEQUENCE",
    "TRADES",
    "TRADES_INPUT",
    "Agent",
    "App",
    "Context",
    "OnError",
    "Output",
    "Page",
    "PageRequest",
    "RawContext",
    "RawInput",
    "RawRecords",
    "RawSource",
    "StateReadError",
    "Stream",
    "StreamError",
    "StreamSource",
    "Table",
    "TableView",
    "TimerView",
    "Topology",
    "TopologyError",
]

#: The module of each public name.
_HOMES = {
    "k2_streams.core.records.source": ("QUOTES_INPUT", "TRADES_INPUT", "RawInput"),
    "k2_streams.core.records.stream": ("QUOTES", "TRADES", "Stream", "StreamError"),
    "k2_streams.runtime.app": ("App",),
    "k2_streams.runtime.task.raw_context": ("RawContext", "RawRecords"),
    "k2_streams.topology.context": ("Context", "TableView", "TimerView"),
    "k2_streams.topology.declarations": (
        "DEDUP", "SEQUENCE", "Agent", "OnError", "Output", "RawSource", "StreamSource", "Table",
        "Topology",
    ),
    "k2_streams.topology.errors": ("StateReadError", "TopologyError"),
    "k2_streams.web.pages": ("Page", "PageRequest"),
}  # fmt: skip
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module k2_streams has no attribute {name!r}")
    found = getattr(import_when_used(home), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
