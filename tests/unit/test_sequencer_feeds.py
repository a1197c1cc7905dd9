"""What the sequencer takes from feeds besides rows: counts by name, attributes, price domains."""

import json

import pytest
from raw_agents import raw_agent

from k2_streams.core.dedup.ids import Memory, Window
from k2_streams.core.enrich.instruments import Instrument, Instruments, PriceDomain
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.sequence import codec as sequence_codec
from k2_streams.feeds.feed import FEEDS
from k2_streams.kafka.log_reader import Record
from k2_streams.runtime.task.epoch import Epoch
from k2_streams.runtime.task.outputs import TaskOutputs
from k2_streams.runtime.task.sequencer import Sequencer, SequencerOptions
from k2_streams.state.ids import IdTable
from k2_streams.state.ids_store import IdStore
from k2_streams.state.scope_table import ScopeTable
from k2_streams.state.store import PartitionStore

T0_MS = 1_786_310_000_000


class Raw(Record):
    """As a task reads a record."""

    @property
    def timestamp(self) -> int:
        return T0_MS


@pytest.fixture
def process(tmp_path):
    """Records of feeds, in any mixture, to the epoch that a sequencer makes of them."""
    store, id_store = PartitionStore(tmp_path / "s"), IdStore(tmp_path / "i")
    store.open()
    id_store.open(lambda _bucket, _ids: None)
    table = ScopeTable(store, sequence_codec.encode, sequence_codec.decode, 0, 0)
    ids = IdTable(id_store, Memory.of(100, 0.01), Window(86_400_000))

    def made(*records, options=SequencerOptions()):  # noqa: B008 - immutable
        sequencer = Sequencer(raw_agent(TRADES_INPUT, FEEDS), 0, 1, table, ids, options=options)
        epoch = Epoch(TaskOutputs.of_raw(TRADES_INPUT), 0)
        raw = [
            Raw(offset, key, json.dumps(value).encode(), (("feed", feed.encode()),), T0_MS)
            for offset, (feed, key, value) in enumerate(records)
        ]
        sequencer.process(raw, len(raw), epoch)
        return epoch

    yield made
    store.close()
    id_store.close()


def trade(**changes):
    fields = {"exchange": "X", "symbol": "A", "price": "1", "quantity": "1", "sequence": 1}
    return "canonical", b"X:A", fields | {"exchange_time_ns": T0_MS * 10**6} | changes


def test_control_messages_are_counted_by_a_bounded_set_of_names(process):
    """Of feeds in any mixture; what the feed does not declare shares a name."""
    novel = [("binance.spot", b"B:@c", {"e": f"event-{n}"}) for n in range(50)]
    kline = ("binance.spot", b"B:@c", {"e": "kline"})
    heartbeat = ("kraken.v1", b"K:@c", {"event": "heartbeat"})
    epoch = process(*novel[:25], heartbeat, trade(), kline, *novel[25:], heartbeat)
    assert epoch.controls == {
        ("binance.spot", "other"): 50,
        ("binance.spot", "kline"): 1,
        ("kraken.v1", "heartbeat"): 2,
    }
    assert epoch.row_count == 1


def test_attributes_that_are_unknown_are_counted(process):
    """By feed and attribute."""
    epoch = process(trade(side="both", sequence=1), trade(side=5, conditions=5, sequence=2))
    assert epoch.unknown == {("canonical", "side"): 2, ("canonical", "conditions"): 1}
    assert epoch.row_count == 2


def test_prices_are_admitted_by_the_reference_table(process):
    """Which the worker was started with."""
    table = Instruments([Instrument("X", "A", "USD", "power", price_domain=PriceDomain.ANY)])
    below = trade(price="-1")
    options = SequencerOptions(price_domains=table.price_domain)
    assert process(below, ("kraken.v1", b"K:@c", {}), options=options).row_count == 1
    assert process(trade(price="-2", sequence=2)).row_count == 0
