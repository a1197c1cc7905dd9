"""Trades that their id identifies: what is a repeat, and what only looks like one."""

import json
from pathlib import Path

import pytest
from raw_agents import raw_agent

from k2_streams.core.dedup.ids import Memory, Window
from k2_streams.core.records.source import QUOTES_INPUT, TRADES_INPUT, RawInput
from k2_streams.core.sequence import codec as sequence_codec
from k2_streams.feeds.feed import FEEDS, Feeds
from k2_streams.feeds.quote_feeds import QUOTE_FEEDS
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


def worked(folder: Path, source: RawInput, feeds: Feeds, fields: list[dict]) -> Epoch:
    store, id_store = PartitionStore(folder / "s"), IdStore(folder / "i")
    store.open()
    id_store.open(lambda _bucket, _ids: None)
    table = ScopeTable(store, sequence_codec.encode, sequence_codec.decode, 0, 0)
    ids = IdTable(id_store, Memory.of(100, 0.01), Window(86_400_000))
    sequencer = Sequencer(raw_agent(source, feeds), 0, 1, table, ids)
    epoch = Epoch(TaskOutputs.of_raw(source), 0)
    common = {"exchange": "X", "symbol": "A", "exchange_time_ns": T0_MS * 1_000_000}
    records = [
        Raw(offset, b"X:A", json.dumps(common | more).encode(), (), T0_MS)
        for offset, more in enumerate(fields)
    ]
    sequencer.process(records, len(records), epoch)
    store.close()
    id_store.close()
    return epoch


def trade(trade_id: str, **more: str) -> dict:
    return {"price": "1", "quantity": "1", "trade_id": trade_id} | more


@pytest.mark.parametrize("action", ["cancel", "correct"])
def test_a_correction_that_repeats_its_trades_id_is_kept(tmp_path, action):
    """Without a number the id is all there is, and it is the trade's."""
    epoch = worked(
        tmp_path,
        TRADES_INPUT,
        FEEDS,
        [
            trade("T1"),
            trade("T1", action=action, ref_trade_id="T1"),
            trade("T1"),
            trade("C1", action=action, ref_trade_id="T1"),
            trade("C1", action=action, ref_trade_id="T1"),
        ],
    )
    offsets = [
        n for batch in epoch.rows["k2.trades"] for n in batch.column("source_offset").to_pylist()
    ]
    assert offsets == [0, 1, 3]


def test_quotes_have_no_ids_to_ask_for(tmp_path):
    quote = {"bid_price": "1", "ask_price": "2"}
    epoch = worked(tmp_path, QUOTES_INPUT, QUOTE_FEEDS, [quote, quote])
    assert epoch.row_count == 2
