"""State of the version before is read where it lies, and processing goes on as if it had stayed.

`tests/golden/state_v1` is a data directory and its changelogs, written by the code that knew
version 1 alone: three checkpoints, of which the stores lack the last one. `expected.json` is what
that code then made of six more records.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.msgpack import Decoder
from raw_agents import raw_agent
from sequencer_world import canonical

from k2_streams.core.records import events
from k2_streams.feeds.feed import FEEDS
from k2_streams.runtime.deferral.backlog import DEFERRAL
from k2_streams.runtime.task.epoch import Epoch
from k2_streams.runtime.task.outputs import TaskOutputs
from k2_streams.runtime.task.sequencer import Sequencer, progress_of
from k2_streams.runtime.task.take_over import Taken, TakeOver
from k2_streams.state.checked_store import META_KEY, Stamp, decode_meta
from k2_streams.state.position import RowSum, decode_position, encode_position
from k2_streams.state.store import STATE_VERSION, PartitionStore
from simulation.checks import CHANGELOG, IDS_CHANGELOG
from simulation.place import SOURCE, Place

GOLDEN = Path(__file__).parents[1] / "golden" / "state_v1"
EXPECTED = json.loads((GOLDEN / "expected.json").read_text())
A, B = (("line", b"A"),), (("line", b"B"),)


def taken_over(folder: Path, stores: str) -> tuple[Place, Taken]:
    """A task of today on what the version before has left."""
    place = Place()
    place.use(folder)
    if stores == "as they were":
        for name in ("sequence", "dedup"):
            shutil.copytree(GOLDEN / name, folder / name)
    changelogs = json.loads((GOLDEN / "changelogs.json").read_text())
    for topic, records in (
        (CHANGELOG, changelogs["sequence"]),
        (IDS_CHANGELOG, changelogs["dedup"]),
    ):
        for record in records:
            if record is None:
                place.cluster.marker((topic, 0))
            else:
                key, value = (None if part is None else bytes.fromhex(part) for part in record)
                place.cluster.append((topic, 0), key, value)
    for _ in range(26):
        place.cluster.append((SOURCE.raw, 0), b"X:A", b"{}")
        place.cluster.append((SOURCE.deferred, 0), b"X:A", b"{}")
    return place, place.run(TakeOver(place.context, 0).run())


@pytest.mark.parametrize("stores", ["as they were", "lost"])
def test_a_position_of_version_1_is_read_as_what_version_2_would_have_written(tmp_path, stores):
    """Every field of every feature."""
    _, taken = taken_over(tmp_path, stores)
    old, position = EXPECTED["position"], taken.position
    progress, backlog = progress_of(position), DEFERRAL.read(position.sections)
    assert backlog is not None
    assert {
        "source_id": position.source_id,
        "partitions": position.partitions,
        "next_offset": position.next_offset,
        "epoch": position.checkpoint,
        "events": position.outputs[SOURCE.events],
        "dead_letters": position.outputs[SOURCE.dead_letter],
        "accepted_time_us": position.accepted_time_us,
        "append_time_ms": progress.append_time_ms,
        "lines": json.loads(msgspec.json.encode(progress.lines)),
        "held": progress.held,
        "oldest_gap_ms": progress.oldest_gap_ms,
        "deferred_id": backlog.topic_id,
        "deferred_next": backlog.next_offset,
        "deferred_records": backlog.records,
        "deferred_from": backlog.from_offset,
        "ids": json.loads(msgspec.json.encode(taken.tables.ids.sums())),
    } == {name: value for name, value in old.items() if name not in {"rows", "checksum"}}
    counts = {scope.encode(): count for scope, count in taken.tables.counts().items()}
    assert counts == {b"X:W": 3, b"X:Z": 1}
    rows = dict(taken.tables.sequence().items())
    assert len(rows) + len(counts) == old["rows"]
    assert taken.restored.wiped is False
    assert (taken.restored.replayed == 0) is False, "the stores lack the last checkpoint"
    taken.tables.close()


@pytest.mark.parametrize("stores", ["as they were", "lost"])
def test_it_goes_on_as_the_version_before_would_have_gone_on(tmp_path, stores):
    """Rows, events, state and ids of the records that follow; then the store is of version 2."""
    _, taken = taken_over(tmp_path, stores)
    tables, progress = taken.tables, progress_of(taken.position)
    rows, deferral = tables.sequence(), tables.counts()
    sequencer = Sequencer(raw_agent(SOURCE, FEEDS), 0, 1, rows, tables.ids, progress=progress)
    epoch = Epoch(TaskOutputs.of_raw(SOURCE), 20)
    records = [
        canonical(20, 8),
        canonical(21, None, "C", trade_id="t2"),
        canonical(22, None, "C", trade_id="t4"),
        canonical(23, 11, "L", B),
        canonical(24, 2, "B"),
        canonical(25, 4),
    ]
    sequencer.process(records, 26, epoch)
    epoch.seal(0)
    assert deferral.get("X:W") == 3
    after: dict[str, Any] = EXPECTED["after"]
    found = [
        {name: str(value) for name, value in row.items() if name != "tick_direction"}
        for batch in epoch.rows["k2.trades"]
        for row in batch.to_pylist()
    ]
    assert found == after["rows"]
    assert [events.encode(event).decode() for event in epoch.events] == after["events"]
    assert {name: count for name, count in epoch.verdicts.items() if count} == after["verdicts"]
    assert json.loads(msgspec.json.encode(epoch.progress)) == after["standing"]
    assert json.loads(msgspec.json.encode(tables.ids.sums())) == after["buckets"]
    first, dedup = tables.all
    sealed, sealed_ids = first.seal(), dedup.seal()
    both = sealed.sums["sequence"], sealed.sums["deferral"]
    count, checksum = after["rows_sum"]
    assert sum(one.rows for one in both) == count
    assert sum(one.checksum for one in both) % 2**64 == checksum
    position = msgspec.structs.replace(taken.position, next_offset=26, tables=dict(sealed.sums))
    first.written(sealed, 99, encode_position(position))
    dedup.written(sealed_ids, 99, b"")
    tables.close()
    store = PartitionStore(tmp_path / "sequence" / "0")
    meta = store.open()
    assert meta is not None
    record = store.get(META_KEY)
    assert record is not None
    assert decode_meta(record, Decoder(Stamp)).version == STATE_VERSION
    assert decode_position(meta.position) == position
    assert meta.sums[""] == sealed.sums["sequence"] != RowSum()
    store.close()
