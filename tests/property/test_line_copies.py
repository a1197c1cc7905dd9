"""The figures of redundant lines count what was new after the dedup, however trades are told."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_agents import raw_agent

from k2_streams.core.dedup.ids import Memory, Window
from k2_streams.core.lines.stats import reports
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.sequence import codec as sequence_codec
from k2_streams.feeds.feed import FEEDS
from k2_streams.kafka.log_reader import Record
from k2_streams.runtime.task.epoch import Epoch
from k2_streams.runtime.task.outputs import TaskOutputs
from k2_streams.runtime.task.sequencer import Sequencer
from k2_streams.state.ids import IdTable
from k2_streams.state.ids_store import IdStore
from k2_streams.state.scope_table import ScopeTable
from k2_streams.state.store import PartitionStore

T0_MS = 1_700_000_000_000


class Raw(Record):
    """As a task reads a record."""

    @property
    def timestamp(self) -> int:
        return T0_MS


def canonical(ids, **more):
    """One record per trade: of what tells it apart, a number or an id."""
    common = {"exchange": "X", "symbol": "A", "price": "1", "quantity": "1"}
    common |= {"exchange_time_ns": T0_MS * 10**6}
    return [(b"X:A", json.dumps(common | {"trade_id": f"t{n}"} | more).encode(), ()) for n in ids]


def by_id(ids):
    return canonical(ids)


def by_number(ids):
    return [r for n in ids for r in canonical([n], sequence=n)]


def bybit(ids):
    """Of several trades per message, however many: lines need not cut them alike."""
    trades = [
        {"T": T0_MS, "s": "A", "S": "Buy", "v": "1", "p": "1", "i": f"id{n}", "BT": False}
        for n in ids
    ]
    value = {"topic": "publicTrade.A", "type": "snapshot", "ts": T0_MS, "data": trades}
    feed = ("feed", b"bybit.v5")
    return [(b"BYBIT:spot:A", json.dumps(value).encode(), (feed,))] if ids else []


def figures(messages):
    """The lines' reports after (line, (key, value, headers)) in this order."""
    folder = Path(tempfile.mkdtemp())
    store, ids = PartitionStore(folder / "s"), IdStore(folder / "i")
    store.open()
    ids.open(lambda _bucket, _ids: None)
    table = ScopeTable(store, sequence_codec.encode, sequence_codec.decode, 0, 0)
    known = IdTable(ids, Memory.of(100, 0.01), Window(86_400_000))
    sequencer = Sequencer(raw_agent(TRADES_INPUT, FEEDS), 0, 1, table, known)
    epoch = Epoch(TaskOutputs.of_raw(TRADES_INPUT), 0)
    records = [
        Raw(at, key, value, (*headers, ("line", line.encode())), T0_MS)
        for at, (line, (key, value, headers)) in enumerate(messages)
    ]
    sequencer.process(records, len(records), epoch)
    store.close()
    ids.close()
    assert not epoch.dead_letters
    return {one.line: one for one in reports(epoch.progress.lines)}, epoch.row_count


@settings(max_examples=80, deadline=None)
@given(st.sampled_from([by_id, by_number, bybit]), st.data())
def test_a_line_lost_what_came_by_the_other_alone(records, data):
    """Whatever tells trades apart; the lines interleaved at will, cut into messages at will."""
    count = 12
    queues = {}
    for line in "AB":
        lost = data.draw(st.sets(st.integers(2, count), max_size=6))
        sent = [n for n in range(1, count + 1) if n not in lost]
        cuts = sorted(data.draw(st.sets(st.integers(1, count), max_size=3)))
        parts = [
            [n for n in sent if low < n <= high]
            for low, high in zip([0, *cuts], [*cuts, count], strict=True)
        ]
        queues[line] = (sent, [record for part in parts for record in records(part)])
    order = data.draw(st.permutations([line for line, (_, queue) in queues.items() for _ in queue]))
    left = {line: iter(queue) for line, (_, queue) in queues.items()}
    found, rows = figures([(line, next(left[line])) for line in order])
    sent = {line: set(numbers) for line, (numbers, _) in queues.items()}
    new = len(sent["A"] | sent["B"])
    assert rows == new
    assert sum(one.first for one in found.values()) == new
    for line, one in found.items():
        assert one.received == len(sent[line])
        assert one.loss == pytest.approx(1 - len(sent[line]) / new)


def test_of_what_cannot_be_recognised_no_loss_is_known():
    record = canonical([1], trade_id=None)[0]
    found, rows = figures([("A", record), ("B", record)])
    assert rows == 2
    assert [(one.received, one.first, one.loss) for one in found.values()] == [(0, 0, None)] * 2
