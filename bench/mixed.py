"""What a batch costs in a task: feeds mixed against sorted, changing lines, bad records.

Decoding, sequencing and encoding as a task does them, without Kafka and lake: CPU time, the median
of the runs, each ratio of one run's figures.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from k2_streams.core.dedup.ids import Memory, Window
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.sequence import codec as sequence_codec
from k2_streams.runtime.limits import DEFAULT_LIMITS
from k2_streams.runtime.task.epoch import Epoch
from k2_streams.runtime.task.outputs import TaskOutputs
from k2_streams.runtime.task.sequencer import Sequencer
from k2_streams.state.ids import IdTable
from k2_streams.state.ids_store import IdStore
from k2_streams.state.position import Position
from k2_streams.state.scope_table import ScopeTable
from k2_streams.state.store import PartitionStore
from topologies.trades import app

RUNS = 3
SYMBOLS = 20
T0_MS = 1_700_000_000_000
Headers = tuple[tuple[str, bytes], ...]


class Raw(NamedTuple):
    """A record of the source, as far as a task looks at it."""

    offset: int
    timestamp: int
    key: bytes
    value: bytes
    headers: Headers


def own(offset: int, number: int, price: str = "1.25", headers: Headers = ()) -> Raw:
    """A trade in K2's own format."""
    symbol = f"S{number % SYMBOLS}"
    fields = {"exchange": "X", "symbol": symbol, "price": price, "quantity": "3"}
    numbers = {"exchange_time_ns": T0_MS * 10**6 + offset, "sequence": number // SYMBOLS}
    value = json.dumps(fields | numbers).encode()
    return Raw(offset, T0_MS, f"X:{symbol}".encode(), value, headers)


(TRADES,) = app.topology.agents


def spot(offset: int, number: int) -> Raw:
    """A trade as Binance writes it."""
    symbol = f"S{number % SYMBOLS}"
    fields = {"e": "trade", "s": symbol, "t": number // SYMBOLS, "p": "1.25", "q": "3"}
    value = json.dumps(fields | {"T": T0_MS, "m": True}).encode()
    feed = (("feed", b"binance.spot"),)
    return Raw(offset, T0_MS, f"BINANCE:{symbol}".encode(), value, feed)


def _cpu_s(records: Sequence[Raw]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        store, id_store = PartitionStore(Path(folder) / "s"), IdStore(Path(folder) / "i")
        store.open()
        id_store.open(lambda _bucket, _ids: None)
        table = ScopeTable(store, sequence_codec.encode, sequence_codec.decode, 0, 0)
        ids = IdTable(id_store, Memory.of(1_000_000, 0.01), Window(86_400_000))
        sequencer = Sequencer(TRADES, 0, 1, table, ids)
        position = Position(source_id="", partitions=1, next_offset=0)
        started = time.process_time()
        for start in range(0, len(records), DEFAULT_LIMITS.batch_records):
            part = records[start : start + DEFAULT_LIMITS.batch_records]
            epoch = Epoch(TaskOutputs.of_raw(TRADES_INPUT), start)
            sequencer.process(part, start + len(part), epoch)
            epoch.seal(0)
            epoch.outputs(0, position)
            table.seal()
        spent = time.process_time() - started
        store.close()
        id_store.close()
    return spent


def run(messages: int = 200_000, bad: int = 100_000, names: int = 20_000) -> dict[str, float]:
    """So many messages of two feeds, bad records, and lines by turns."""
    half = messages // 2
    makers: dict[str, Callable[[], list[Raw]]] = {
        "sorted": lambda: [own(n, n) if n < half else spot(n, n - half) for n in range(messages)],
        "alternating": lambda: [(spot if n % 2 else own)(n, n // 2) for n in range(messages)],
        "good": lambda: [own(n, n) for n in range(bad)],
        "bad": lambda: [own(n, n, "-1") for n in range(bad)],
        "one line": lambda: [own(n, n, headers=(("line", b"A"),)) for n in range(bad)],
        "lines": lambda: [own(n, n, headers=(("line", b"%d" % (n % names)),)) for n in range(bad)],
    }
    spent: dict[str, list[float]] = {name: [] for name in makers}
    for _ in range(RUNS):
        for name, make in makers.items():
            spent[name].append(_cpu_s(make()))

    def ratio(one: str, other: str) -> float:
        return statistics.median(a / b for a, b in zip(spent[one], spent[other], strict=True))

    sizes = {"sorted": messages, "alternating": messages}
    return {
        **{
            f"{name}: µs of CPU per record": statistics.median(runs) / sizes.get(name, bad) * 1e6
            for name, runs in spent.items()
        },
        "rate, alternating over sorted": ratio("sorted", "alternating"),
        "CPU, bad over good": ratio("bad", "good"),
        "CPU, changing lines over one": ratio("lines", "one line"),
    }
