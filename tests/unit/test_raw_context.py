"""What the agent of a raw source may do beside the steps, and what it may not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sequencer_world import canonical

from k2_streams.core.dedup.ids import Memory, Window
from k2_streams.core.records.events import Dead
from k2_streams.core.records.source import QUOTES_INPUT, TRADES_INPUT
from k2_streams.core.sequence import codec as sequence_codec
from k2_streams.feeds.feed import FEEDS
from k2_streams.runtime.task.epoch import Epoch
from k2_streams.runtime.task.outputs import TaskOutputs
from k2_streams.runtime.task.processing_error import ProcessingError
from k2_streams.runtime.task.raw_context import RawContext, RawRecords
from k2_streams.runtime.task.sequencer import Sequencer
from k2_streams.state.ids import IdTable
from k2_streams.state.ids_store import IdStore
from k2_streams.state.scope_table import ScopeTable
from k2_streams.state.store import PartitionStore
from k2_streams.topology.declarations import DEDUP, SEQUENCE, Agent, BuiltInTable, Output, RawSource

RAW = RawSource(TRADES_INPUT, FEEDS)
QUOTES = Output(QUOTES_INPUT.stream)


@pytest.fixture
def process(tmp_path: Path) -> Any:
    """Two trades by a body of the test's, to the epoch that it makes of them."""
    store, id_store = PartitionStore(tmp_path / "s"), IdStore(tmp_path / "i")
    store.open()
    id_store.open(lambda _bucket, _ids: None)

    def run(
        body: Callable[[RawRecords, RawContext], None],
        tables: tuple[BuiltInTable, ...] = (SEQUENCE, DEDUP),
    ) -> Epoch:
        table = ScopeTable(store, sequence_codec.encode, sequence_codec.decode, 0, 0)
        ids = IdTable(id_store, Memory.of(100, 0.01), Window(86_400_000))
        agent = Agent("accept", RAW, body, tables, (RAW.accepted,))
        epoch = Epoch(TaskOutputs.of_raw(TRADES_INPUT), 0)
        records = [canonical(0, 1), canonical(1, 2)]
        Sequencer(agent, 0, 1, table, ids).process(records, 2, epoch)
        return epoch

    yield run
    store.close()
    id_store.close()


def test_an_agent_refuses_a_record_with_a_reason_of_its_own(process: Any) -> None:
    """Its bytes, its place and the reason are in the dead letter."""

    def body(records: RawRecords, ctx: RawContext) -> None:
        ctx.dead_letter(1, "not-ours", "of another desk")

    epoch = process(body)
    (letter,) = epoch.dead_letters
    headers = dict(letter.headers)
    assert letter.value == canonical(1, 2).value
    assert (headers["k2.reason"], headers["k2.detail"]) == (b"not-ours", b"of another desk")
    assert headers["k2.offset"] == b"1"
    assert epoch.reasons == {"not-ours": 1}
    assert epoch.rows["k2.trades"] == []


@pytest.mark.parametrize("is_decoded_first", [True, False])
def test_the_number_of_a_record_that_an_agent_refuses_is_dead(
    process: Any, is_decoded_first: bool
) -> None:
    """As that of any dead letter: no row, an event of the ledger, and no gap."""

    def body(records: RawRecords, ctx: RawContext) -> None:
        if not is_decoded_first:
            ctx.dead_letter(1, "not-ours")
        decoded = ctx.decode(records)
        ctx.dead_letter(1, "not-ours")
        ctx.dead_letter(1, "said-again")
        ctx.emit(RAW.accepted, ctx.enrich(ctx.deduplicate(ctx.sequence(decoded))))

    epoch = process(body)
    assert [type(event) for event in epoch.events] == [Dead]
    assert epoch.events[0].sequence == 2
    (rows,) = epoch.rows["k2.trades"]
    assert rows.column("source_offset").to_pylist() == [0]
    (letter,) = epoch.dead_letters
    assert dict(letter.headers)["k2.sequence"] == b"2"
    assert epoch.reasons == {"not-ours": 1}


def refuse_behind_the_verdict(records: RawRecords, ctx: RawContext) -> None:
    ctx.sequence(ctx.decode(records))
    ctx.dead_letter(1, "too-late")


def refuse_what_is_not_there(records: RawRecords, ctx: RawContext) -> None:
    ctx.dead_letter(2, "no-such-record")


def emit_elsewhere(records: RawRecords, ctx: RawContext) -> None:
    ctx.emit(QUOTES, ctx.deduplicate(ctx.sequence(ctx.decode(records))))


def emit_other_columns(records: RawRecords, ctx: RawContext) -> None:
    rows = ctx.deduplicate(ctx.sequence(ctx.decode(records)))
    ctx.emit(RAW.accepted, rows.select(["symbol"]))


def decode_others(records: RawRecords, ctx: RawContext) -> None:
    ctx.decode(RawRecords(records.records, records.append_time_ms, records.stream_time_ms))


def sequence(records: RawRecords, ctx: RawContext) -> None:
    ctx.sequence(ctx.decode(records))


def deduplicate(records: RawRecords, ctx: RawContext) -> None:
    ctx.deduplicate(ctx.sequence(ctx.decode(records)))


@pytest.mark.parametrize(
    ("body", "tables", "error"),
    [
        (emit_elsewhere, (SEQUENCE, DEDUP), "does not declare output quotes: add it to outputs="),
        (emit_other_columns, (SEQUENCE, DEDUP), "output trades: expected the schema"),
        (refuse_behind_the_verdict, (SEQUENCE, DEDUP), "has its verdict: call it before sequence"),
        (refuse_what_is_not_there, (SEQUENCE, DEDUP), "expected one of the call's 2 records: 2"),
        (decode_others, (SEQUENCE, DEDUP), "expected the records that the agent was called with"),
        (sequence, (DEDUP,), "does not declare table sequence: add it to tables="),
        (deduplicate, (SEQUENCE,), "does not declare table dedup: add it to tables="),
    ],
)
def test_what_an_agent_may_not_do_fails_its_records(
    process: Any, body: Any, tables: Any, error: str
) -> None:
    with pytest.raises(ProcessingError, match=error):
        process(body, tables)
