"""What must hold, at every moment and in the end."""

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from msgspec.msgpack import Decoder

from k2_streams.core.dedup.ids import hashes_of, to_bytes
from k2_streams.core.load.degradation import Level
from k2_streams.core.records import events
from k2_streams.core.records import log_record as trade_log
from k2_streams.core.records.derived import message_ids
from k2_streams.core.records.events import Event, GapAbandoned
from k2_streams.core.records.log_chunk import LogChunk
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.records.vector import Vector
from k2_streams.core.sequence import codec as sequence_codec
from k2_streams.core.sequence.expiry import expired
from k2_streams.core.sequence.step import ScopeState
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.topics import DEAD_LETTER, EVENTS, RAW, TRADES, changelog_topic
from k2_streams.lake.claim import goes_back
from k2_streams.lake.vectors import head_vector
from k2_streams.query.read_point import ReadPoint, Wanted
from k2_streams.query.selection import Selection
from k2_streams.runtime.deferral.backlog import DEFERRAL, DeferralState
from k2_streams.state.checked_store import META_KEY, decode_meta
from k2_streams.state.codec import POSITION_KEY, add_hash, row_hash
from k2_streams.state.ids_codec import decode_ids
from k2_streams.state.ids_store import IdsMeta
from k2_streams.state.position import Position, RowSum, decode_position
from k2_streams.state.position import rows_of as rows_in
from k2_streams.state.store import StoreMeta
from k2_streams.testing.memory.catalog import MemoryCatalogService
from k2_streams.testing.memory.cluster import MemoryCluster
from simulation.lake_files import LakeFiles, Row
from simulation.venue import Venue, plain, split
from simulation.worker import APP, SimWorker

CHANGELOG = changelog_topic(APP, "sequence")
IDS_CHANGELOG = changelog_topic(APP, "dedup")
#: Of the lake.
TABLE = "k2.trades"


class ViolationError(Exception):
    """Something that must hold does not."""


def require(holds: bool, what: str, *found: Any) -> None:
    """Raise if it does not hold.

    Raises:
        ViolationError: with what was found.
    """
    if not holds:
        raise ViolationError(": ".join([what, *map(str, found)]))


class Log:
    """The committed rows of `k2.trades`, decoded once."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self._cluster = cluster
        self._decoded: dict[tuple[int, int], list[Row]] = {}

    def rows(self, partition: int, end: int) -> list[Row]:
        """Of each committed row below an offset its places and its id."""
        found: list[Row] = []
        for record in self._cluster.partitions[TRADES, partition].committed(end):
            key = (partition, record.offset)
            if key not in self._decoded:
                batch = trade_log.decode(record.value or b"", partition, record.offset)
                self._decoded[key] = rows_of(batch)
            found += self._decoded[key]
        return found


def rows_of(batch: trade_log.LogBatch) -> list[Row]:
    """Of each row of a record its place in the log, its place in the source and its id."""
    if not batch.rows.num_rows:
        return []
    ids = message_ids(batch.rows, batch.source_partition).to_pylist()
    offsets = batch.rows.column("source_offset").to_pylist()
    return [
        ((batch.log_partition, batch.log_offset, i), (batch.source_partition, offset, name))
        for i, (offset, name) in enumerate(zip(offsets, ids, strict=True))
    ]


def changelog_state(
    cluster: MemoryCluster, partition: int, end: int | None = None
) -> tuple[dict[bytes, bytes], Position | None]:
    """What the committed changelog says below an offset."""
    rows: dict[bytes, bytes] = {}
    position = None
    for record in cluster.partitions[CHANGELOG, partition].committed(end):
        assert record.key is not None
        if record.key == POSITION_KEY:
            position = decode_position(record.value or b"")
        elif record.value is None:
            rows.pop(record.key, None)
        else:
            rows[record.key] = record.value
    return rows, position


def store_written(cluster: MemoryCluster, path: Path, rows: dict[bytes, bytes]) -> None:
    """A store was written: it is what the committed changelog says, never more, never less."""
    partition = int(path.name)
    if path.parent.name == "dedup":
        ids_written(cluster, partition, rows)
        return
    meta = decode_meta(rows[META_KEY], Decoder(StoreMeta))
    stable = cluster.partitions[CHANGELOG, partition].stable
    require(meta.changelog_offset <= stable, "store ahead of the changelog", meta, stable)
    expected, position = changelog_state(cluster, partition, meta.changelog_offset)
    held = {key: value for key, value in rows.items() if not key.startswith(b"\x00")}
    require(
        held == expected,
        "store differs from the changelog",
        f"partition {partition} at {meta.changelog_offset}",
        f"expected {sorted(expected)}, found {sorted(held)}",
    )
    stored = decode_position(meta.position)
    require(position == stored, "store's position is not the changelog's", position, meta)


def ids_written(cluster: MemoryCluster, partition: int, rows: dict[bytes, bytes]) -> None:
    """The same of a store of ids; none of a run is so old that its bucket is dropped."""
    meta = decode_meta(rows[META_KEY], Decoder(IdsMeta))
    stable = cluster.partitions[IDS_CHANGELOG, partition].stable
    require(meta.changelog_offset <= stable, "ids ahead of the changelog", meta, stable)
    held = {key for key in rows if key != META_KEY}
    expected = changelog_ids(cluster, partition, meta.changelog_offset)
    require(held == expected, "ids differ from the changelog", partition, held ^ expected)


def changelog_ids(cluster: MemoryCluster, partition: int, end: int | None = None) -> set[bytes]:
    """Bucket and hash of each id that the committed changelog holds below an offset."""
    return {
        bucket.to_bytes(8) + to_bytes(hashes[at : at + 1])
        for record in cluster.partitions[IDS_CHANGELOG, partition].committed(end)
        for bucket, hashes in decode_ids(record.value or b"")
        for at in range(len(hashes))
    }


def given_is_committed(cluster: MemoryCluster, chunk: LogChunk) -> None:
    """A task gives rows: they are what a committed reader finds at these offsets, and all of it."""
    log = cluster.partitions[TRADES, chunk.partition]
    there = log.entries[chunk.start : chunk.end]
    committed = [
        entry.record
        for entry in there
        if entry.record is not None and (entry.transaction is None or entry.transaction.committed)
    ]
    is_open = any(entry.transaction and entry.transaction.committed is None for entry in there)
    require(not is_open, "rows were given before their commit", chunk.range)
    has_marker = len(there) == chunk.end - chunk.start and there[-1].record is None
    require(has_marker, "rows were given with another end than their marker's", chunk.range)
    stream = TRADES_INPUT.stream
    read = LogChunk.decoded(stream, chunk.partition, chunk.start, chunk.end, committed)
    require(
        [row for batch in chunk.batches for row in rows_of(batch)]
        == [row for batch in read.batches for row in rows_of(batch)]
        and len(chunk.batches) == len(read.batches)
        and chunk.headers == read.headers,
        "rows were given that are not the log's",
        chunk.range,
    )


def lake_moved(service: MemoryCatalogService) -> None:
    """The table has a new head: its vector went nowhere back."""
    history = service.history(TABLE)
    if len(history) < 2:
        return
    before, after = (vector_of(metadata) for metadata in history[-2:])
    back = goes_back(before, after)
    require(back is None, "the vector went back", back)


def vector_of(metadata: Any) -> Vector:
    """What the table says, by production's own reading."""
    return head_vector(metadata, log=TRADES)


def status_is_true(worker: SimWorker, cluster: MemoryCluster) -> None:
    """What a worker says of itself at this moment is so; it can be asked at any moment."""
    parts = worker.parts
    said = parts.status.as_dict()
    msgspec.json.encode(said)
    parts.status.lines()
    load, node = parts.load, parts.answered[0].node
    require(
        said["level"] == load.level.name == parts.overload.level.name,
        "status has another level than the tasks",
        said["level"],
        parts.overload.level,
    )
    for number, found in said["partitions"].items():
        task = parts.owner.tasks[TopicPartition(RAW, int(number))]
        end = cluster.partitions[RAW, int(number)].end
        require(found["state"] == task.state.value, "status has another state", found)
        require(found["lag_records"] <= end, "more lag than records", found, end)
        if found["next_offset"] is not None:
            places = (found["committed_offset"], found["next_offset"], end)
            require(sorted(places) == list(places), "offsets out of order", *places)
    of_partitions = sum(p["lag_records"] for p in said["partitions"].values())
    if worker.is_member_of_group:
        require(
            said["lag_records"] == of_partitions,
            "the lag is not its partitions'",
            said["lag_records"],
        )
    else:
        sent = sum(log.end for at, log in cluster.partitions.items() if at[0] == RAW)
        require(of_partitions == 0, "a query node owns partitions", said["partitions"])
        require(said["lag_records"] <= sent, "more lag than records", said["lag_records"], sent)
    for number, found in said["tail"]["partitions"].items():
        places = (found["evicted"], found["end"], cluster.partitions[TRADES, int(number)].end)
        require(sorted(places) == list(places), "the tail's offsets out of order", *places)
    for number, position in said.get("sink", {"positions": {}})["positions"].items():
        end = cluster.partitions[TRADES, int(number)].end
        require(position <= end, "the sink is beyond the log", position, end)
    letters = sum(
        len(log.committed()) for at, log in cluster.partitions.items() if at[0] == DEAD_LETTER
    )
    require(said["dead_letters"] <= letters, "more dead letters than there are", letters)
    ready = parts.status.ready()
    require(said["ready"] == ready.ok, "status and readiness differ", said["ready"], ready)
    if ready.ok:
        require(
            not said["refused"]
            and said["tail"]["error"] is None
            and not said["tail"]["holds_source"]
            and load.level is not Level.CIRCUIT_BREAK
            and all(p["state"] == "running" for p in said["partitions"].values()),
            "ready, and something is wrong",
            said,
        )
    else:
        require(bool(ready.reason), "not ready, and no reason")
    if node.quota.is_source_paused or load.level is Level.CIRCUIT_BREAK:
        flowing = {tp for tp in worker.assigned - worker.paused if tp.topic == RAW}
        require(not flowing, "the source is read although it is held", flowing, said["level"])


def is_at_rest(worker: SimWorker) -> bool:
    """Whether nothing is given up any more, and nothing is held."""
    parts = worker.parts
    return parts.load.level is Level.NORMAL and parts.status.ready().ok


async def answer_is_whole(worker: SimWorker, files: LakeFiles, log: Log) -> int:
    """An answer asked for now holds exactly the committed rows below its offsets; their number."""
    query = worker.parts.answered[0].node.query
    read_point: ReadPoint = await query.read_points.find(Wanted())
    paths = await query.log.lake.files(read_point.head, Selection())
    limits = read_point.cut.lake_limits
    found: list[Row] = []
    for path in paths:
        for row in files.rows(path):
            below = limits.get(row[0][0])
            if below is None or row[0][1] < below:
                found.append(row)
    ranges = {number: part.tail for number, part in read_point.cut.partitions.items()}
    for batch in read_point.view.batches(ranges):
        found += rows_of(batch.load())
    expected = [row for p, end in read_point.cut.next.items() for row in log.rows(p, end)]
    require(
        Counter(found) == Counter(expected),
        "an answer is not the committed rows",
        read_point.cut,
        f"too many {sorted((Counter(found) - Counter(expected)).elements())[:5]}",
        f"missing {sorted((Counter(expected) - Counter(found)).elements())[:5]}",
    )
    return len(found)


def at_the_end(
    states: dict[str, ScopeState], partition: int
) -> tuple[dict[str, ScopeState], list[Event]]:
    """The states when all gaps are beyond the horizon, and the events of that."""
    found = {scope: expired(one, scope, partition, 2**62, 1) for scope, one in states.items()}
    ended = {scope: state for scope, (state, _) in found.items()}
    return ended, [event for scope in sorted(found) for event in found[scope][1]]


def placeless(event: Event) -> bytes:
    """An event as `plain`; of a gap beyond the horizon without what gave it up."""
    if isinstance(event, GapAbandoned) and event.reason == "horizon":
        event = msgspec.structs.replace(event, source_offset=-1, exchange_time_ns=0)
    return plain(event)


def partition_is_true(cluster: MemoryCluster, partition: int, venue: Venue) -> int:
    """Everything committed of a partition is what the fold says, once; the number of rows."""
    truth = venue.truth(partition)
    records = cluster.partitions[TRADES, partition].committed()
    batches = [trade_log.decode(r.value or b"", partition, r.offset) for r in records]
    rows = [
        (row["source_offset"], _scope(row), row["session"], row["sequence"], row["late"])
        for batch in batches
        for row in batch.rows.to_pylist()
    ]
    # What was put off stands behind what was not; of a scope nothing changes places.
    rows = sorted(rows, key=_by_scope)
    expected_rows = sorted(truth.rows, key=_by_scope)
    require(rows == expected_rows, "rows are not the fold's", _difference(rows, expected_rows))
    accepted = [batch.accepted_time_us for batch in batches]
    require(accepted == sorted(accepted), "accepted_time goes back", partition, accepted)
    said = [trade_log.last_headers([record]) for record in records]
    worked = [headers.raw_next for headers in said if headers is not None]
    require(worked == sorted(worked), "the source was worked again", worked)
    letters = sorted(
        int(dict(record.headers)["k2.offset"])
        for record in cluster.partitions[DEAD_LETTER, partition].committed()
    )
    expected = [offset for offset, _ in truth.letters]
    require(letters == expected, "dead letters are not the fold's", _difference(letters, expected))
    published = [
        events.decode(record.value or b"")
        for record in cluster.partitions[EVENTS, partition].committed()
    ]
    others, duplicates = split(published)
    state, position = changelog_state(cluster, partition)
    states = {key.decode(): sequence_codec.decode(value) for key, value in state.items()}
    # A silent scope's gaps may be abandoned already, or not yet: at the end of all time they are.
    ended, ending = at_the_end(states, partition)
    folded_states, folded_ending = at_the_end(truth.states, partition)
    said = [placeless(event) for event in sorted([*others, *ending], key=_scope_of)]
    events_of_truth = sorted([*truth.events, *folded_ending], key=_scope_of)
    folded = [placeless(event) for event in events_of_truth]
    require(said == folded, "events are not the fold's", _difference(said, folded))
    require(duplicates == truth.duplicates, "duplicates", duplicates, truth.duplicates)
    require(ended == folded_states, "the table is not the fold's", partition)
    ids = {key[8:] for key in changelog_ids(cluster, partition)}
    wanted = {to_bytes(hashes_of([identity(*one)])) for one in truth.ids}
    require(ids == wanted, "ids are not the fold's", len(ids), len(wanted))
    if venue.sent:
        assert position is not None
        require(position.next_offset > venue.sent[-1].offset, "source not worked", position)
        require(rows_in(position, "dedup") == len(ids), "the ids' count", position.tables)
        checksum = 0
        for key, value in state.items():
            checksum = add_hash(checksum, new=row_hash(key, value))
        require(
            position.tables["sequence"] == RowSum(len(state), checksum),
            "the position's count or checksum",
            position,
        )
    return len(rows)


def findings(venues: list[Venue]) -> dict[str, int]:
    """How much there was to find of what is rare."""
    truths = [venue.truth(partition) for partition, venue in enumerate(venues)]
    found = [event for truth in truths for event in truth.events]
    return {
        "late": sum(isinstance(event, events.Late) for event in found),
        "beyond_horizon": sum(getattr(event, "reason", "") == "horizon" for event in found),
        "stale": sum(isinstance(event, events.Stale) for event in found),
        "conflicts": sum(isinstance(event, events.ConflictingDuplicate) for event in found),
        "sessions": sum(isinstance(event, events.Reset) for event in found),
        "gaps": sum(isinstance(event, events.GapOpened) for event in found),
        "ids": sum(len(truth.ids) for truth in truths),
        "repeated_ids": sum(truth.repeated_ids for truth in truths),
    }


def lake_is_whole(
    service: MemoryCatalogService, files: LakeFiles, log: Log, partitions: int
) -> int:
    """Every snapshot's rows are those below its vector; the head has all; each file stands once."""
    metadata = service.table(TABLE)
    assert metadata is not None
    head = list(files.head(metadata))
    require(len(head) == len({path for path, _ in head}), "a file is referred to twice", head)
    found = [row for path, _ in head for row in files.rows(path)]
    offsets = vector_of(metadata).topics[TRADES].next
    expected = [row for p in range(partitions) for row in log.rows(p, offsets.get(p, 0))]
    require(
        Counter(found) == Counter(expected),
        "the lake is not the rows below its vector",
        offsets,
        f"too many {sorted((Counter(found) - Counter(expected)).elements())[:5]}",
        f"missing {sorted((Counter(expected) - Counter(found)).elements())[:5]}",
    )
    return len(found)


def source_is_worked(cluster: MemoryCluster, partition: int, venue: Venue) -> bool:
    """Whether everything sent was judged and committed."""
    if not venue.sent:
        return True
    for record in reversed(cluster.partitions[CHANGELOG, partition].committed()):
        if record.key == POSITION_KEY:
            position = decode_position(record.value or b"")
            backlog = DEFERRAL.read(position.sections) or DeferralState()
            return position.next_offset > venue.sent[-1].offset and not backlog.records
    return False


def lake_has_all(cluster: MemoryCluster, service: MemoryCatalogService, partitions: int) -> bool:
    """Whether every committed record of the log is below the table's vector."""
    metadata = service.table(TABLE)
    if metadata is None:
        return False
    vector = vector_of(metadata)
    for partition in range(partitions):
        records = cluster.partitions[TRADES, partition].committed()
        if records and (vector.next_of(TRADES, partition) or 0) <= records[-1].offset:
            return False
    return True


def identity(scope: str, session: str, trade_id: str) -> bytes:
    """What is hashed of a trade of the canonical feed without a number."""
    return "\0".join([scope, scope.partition(":")[2], session, trade_id]).encode()


def _scope(row: dict[str, Any]) -> str:
    return f"{row['exchange']}:{row['symbol']}"


def _by_scope(row: tuple[Any, ...]) -> str:
    return str(row[1])


def _scope_of(event: events.Event) -> str:
    return event.scope


def _difference(found: list[Any], expected: list[Any]) -> str:
    """Where two lists first differ."""
    for at, (one, other) in enumerate(zip(found, expected, strict=False)):
        if one != other:
            return f"at {at}: expected {other}, found {one}"
    return f"expected {len(expected)}, found {len(found)}"
