"""What a record costs in a task with few and with many symbols: by step, and at the checkpoint.

The task's own code, without Kafka and lake: of each step the CPU time per record, the median of
the runs. Symbols are those of a source with `PARTITIONS` partitions, of which one is worked; each
symbol sends its next number in turn, in an order by chance. By redundant lines each comes twice.
"""

import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

import k2_streams as k2
from bench.mixed import TRADES, Headers, Raw
from k2_streams.core.dedup.ids import Memory, Window
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.sequence import codec as sequence_codec
from k2_streams.native import load_native
from k2_streams.runtime.limits import DEFAULT_LIMITS
from k2_streams.runtime.task.epoch import Epoch
from k2_streams.runtime.task.outputs import TaskOutputs
from k2_streams.runtime.task.sequencer import Sequencer, SequencerOptions
from k2_streams.state.ids import IdTable
from k2_streams.state.ids_store import IdStore
from k2_streams.state.position import Position
from k2_streams.state.scope_table import ScopeTable
from k2_streams.state.store import STATE_VERSION, PartitionStore, StoreMeta

RUNS = 3
PARTITIONS = 4
SYMBOLS = (1_000, 10_000, 100_000)
T0_MS = 1_700_000_000_000
LINES = (b"A", b"B")
#: Steps whose cost must not grow with the symbols.
VECTORISED = ("sequence", "deduplicate", "enrich")
#: With what of a checkpoint follows the scopes that changed.
WITH_CHECKPOINT = ("all of processing", "outputs", "seal", "write")
KINDS = ("plain", "lines", "ids")


class Spent:
    """CPU seconds by what they were spent for."""

    def __init__(self) -> None:
        self.by_step: Counter[str] = Counter()

    @contextmanager
    def on(self, step: str) -> Iterator[None]:
        """Add what is spent within."""
        started = time.process_time()
        yield
        self.by_step[step] += time.process_time() - started  # type: ignore[assignment]


def sent(kind: str, symbols: int, messages: int) -> tuple[list[Raw], list[Raw]]:
    """One message of each symbol, and then as many as are to be measured."""
    chance = np.random.default_rng(7)
    copies = len(LINES) if kind == "lines" else 1
    rounds = 1 + -(-messages // (symbols * copies))
    order = np.concatenate([chance.permutation(symbols) for _ in range(rounds)]).tolist()
    made: list[Raw] = []
    number_of: Counter[int] = Counter()
    for symbol in order:
        number_of[symbol] += 1
        for copy in range(copies):
            line: Headers = (("line", LINES[copy]),) if kind == "lines" else ()
            made.append(_trade(len(made), symbol, number_of[symbol], line, by_id=kind == "ids"))
    first = symbols * copies
    return made[:first], made[first : first + messages]


def _trade(offset: int, symbol: int, number: int, headers: Headers, *, by_id: bool) -> Raw:
    name = f"S{symbol}"
    value = {"exchange": "X", "symbol": name, "price": f"1.{number % 90 + 10}", "quantity": "3"}
    place = {"trade_id": f"t{number}"} if by_id else {"sequence": number}
    time_ns = {"exchange_time_ns": T0_MS * 10**6 + offset * 1_000}
    encoded = json.dumps(value | time_ns | place).encode()
    return Raw(offset, T0_MS + offset // 1_000, f"X:{name}".encode(), encoded, headers)


def _run(kind: str, symbols: int, messages: int) -> dict[str, float]:
    """CPU seconds by step, after each symbol has sent its first message."""
    spent = Spent()

    def timed(records: k2.RawRecords, ctx: k2.RawContext) -> None:
        with spent.on("decode"):
            decoded = ctx.decode(records)
        with spent.on("sequence"):
            sequenced = ctx.sequence(decoded)
        with spent.on("deduplicate"):
            rows = ctx.deduplicate(sequenced)
        with spent.on("enrich"):
            rows = ctx.enrich(rows)
        ctx.emit(TRADES.outputs[0], rows)

    with tempfile.TemporaryDirectory() as folder:
        store, id_store = PartitionStore(Path(folder) / "s"), IdStore(Path(folder) / "i")
        store.open()
        id_store.open(lambda _bucket, _ids: None)
        table = ScopeTable(store, sequence_codec.encode, sequence_codec.decode, 0, 0)
        ids = IdTable(id_store, Memory.of(1_000_000, 0.01), Window(86_400_000))
        options = SequencerOptions(native=load_native("auto"))
        sequencer = Sequencer(replace(TRADES, function=timed), 0, 1, table, ids, options=options)
        for records in sent(kind, symbols, messages):
            spent.by_step.clear()
            _work(sequencer, table, store, records, spent)
        store.close()
        id_store.close()
    return dict(spent.by_step)


def _work(
    sequencer: Sequencer,
    table: ScopeTable,
    store: PartitionStore,
    records: Sequence[Raw],
    spent: Spent,
) -> None:
    """Process records in batches and epochs of the size that a busy task has."""
    size = DEFAULT_LIMITS.batch_records
    position = Position(source_id="", partitions=1, next_offset=0)
    epoch = Epoch(TaskOutputs.of_raw(TRADES_INPUT), records[0].offset)
    for start in range(0, len(records), size):
        part = records[start : start + size]
        with spent.on("all of processing"):
            sequencer.process(part, part[-1].offset + 1, epoch)
        if epoch.records < DEFAULT_LIMITS.checkpoint_records and part[-1] is not records[-1]:
            continue
        with spent.on("outputs"):
            epoch.seal(0)
            epoch.outputs(0, position)
        with spent.on("seal"):
            sealed = table.seal()
        with spent.on("write"):
            meta = StoreMeta(STATE_VERSION, "c", epoch.position, 0, b"", {"": sealed.sum})
            store.write(sealed.rows, meta)
            table.written()
        epoch = Epoch(TaskOutputs.of_raw(TRADES_INPUT), epoch.position)


def run(messages: int = 200_000, runs: int = RUNS, most: int = max(SYMBOLS)) -> dict[str, float]:
    """So many messages of each kind, of few and of many symbols by turns; `most` at the most."""
    figures: dict[str, float] = {}
    sizes = [size for size in SYMBOLS if size <= most]
    for kind in KINDS:
        spent: dict[int, list[dict[str, float]]] = {size: [] for size in sizes}
        for _ in range(runs):
            for size in sizes:
                spent[size].append(_run(kind, size // PARTITIONS, messages))
        for size in sizes:
            for step in spent[size][0]:
                cost = statistics.median(one[step] for one in spent[size]) / messages * 1e6
                figures[f"{kind}, {size:,} symbols, {step}: µs per record"] = cost
        for size in sizes[1:]:
            pairs = list(zip(spent[size], spent[sizes[0]], strict=True))
            for steps in (("all of processing",), VECTORISED, WITH_CHECKPOINT):
                figures[f"{kind}, {size:,} over {sizes[0]:,} symbols: {', '.join(steps)}"] = (
                    statistics.median(_of(steps, many) / _of(steps, few) for many, few in pairs)
                )
    return figures


def _of(steps: Sequence[str], spent: dict[str, float]) -> float:
    return sum(spent[step] for step in steps)
