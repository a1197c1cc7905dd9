"""A record of a log that an agent's task cannot read stops its partition, named by its offset."""

from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from agent_world import OUTPUT, ROWS, SOURCE, TOTALS, MemoryRows, Row, batch_of, totals

from k2_streams.core.records import log_record
from k2_streams.runtime.task import agents
from k2_streams.runtime.task.agents import AgentProcessing, AgentProgram
from k2_streams.runtime.task.epoch import Epoch
from k2_streams.runtime.task.outputs import TaskOutputs
from k2_streams.runtime.task.processing_error import ProcessingError
from k2_streams.state.position import Position
from k2_streams.topology.declarations import Agent
from k2_streams.topology.errors import RecordUnreadableError

GOOD = log_record.encode(batch_of([Row("A", 1, 2)]), 0, 1)
#: As another version of the app that writes the log would have it.
OTHER_TYPE = ROWS.set(2, pa.field("amount", pa.list_(pa.int64()), nullable=False))
OF_OTHER_TYPE = log_record.encode(
    pa.RecordBatch.from_pylist([{"symbol": "A", "time_ns": 1, "amount": [2]}], schema=OTHER_TYPE),
    0,
    1,
)


def record(offset: int, value: bytes) -> Any:
    return SimpleNamespace(offset=offset, timestamp=1, key=None, value=value, headers=())


@pytest.fixture
def processing() -> AgentProcessing:
    agent = Agent("totals", SOURCE, totals, (TOTALS,), (OUTPUT,), on_timer=lambda *_: None)
    outputs = TaskOutputs(SOURCE.topic, (OUTPUT.stream,), "k2.app.ticks.dead-letter")
    position = Position(source_id="s", partitions=1, next_offset=0)
    tables = {TOTALS.name: MemoryRows()}
    program = AgentProgram(SOURCE, (agent,), outputs, {})
    return AgentProcessing(program, 0, tables, MemoryRows(), position)


def test_a_machine_short_of_memory_is_no_fault_of_the_record(
    processing: AgentProcessing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With on_error="dead-letter" the next one would be a dead letter, and the one after it."""

    def short(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(agents, "agent_rows", short)
    with pytest.raises(MemoryError):
        processing.process([record(7, GOOD)], 8, Epoch(TaskOutputs(SOURCE.topic, (), "dead"), 0))


@pytest.mark.parametrize(
    "value",
    [b"", b"bytes of another program", GOOD[: len(GOOD) // 2], OF_OTHER_TYPE],
    ids=["nothing", "strange", "cut off", "of another type"],
)
def test_a_record_that_cannot_be_read_is_named(processing: AgentProcessing, value: bytes) -> None:
    epoch = Epoch(TaskOutputs(SOURCE.topic, (OUTPUT.stream,), "dead"), 0)
    records = [record(7, GOOD), record(8, value), record(9, GOOD)]
    with pytest.raises(ProcessingError) as failed:
        processing.process(records, 10, epoch)
    assert failed.value.start <= 8 < failed.value.end
    processing.process(records[:1], 8, epoch)
    with pytest.raises(ProcessingError) as alone:
        processing.process(records[1:2], 9, epoch)
    with pytest.raises(RecordUnreadableError, match=r"record k2\.ticks-0 offset 8 cannot be read"):
        processing.refuse(records[1], alone.value, 9, epoch)
    assert epoch.position == 8
