"""The sizes and pauses of a worker that are no settings: an operator need not know them.

Production passes the defaults. Tests and the simulation pass smaller ones, so that a run of a
hundred records meets what a worker meets in a day.
"""

from dataclasses import dataclass

from k2_streams.core.records.log_record import ROWS_PER_RECORD
from k2_streams.core.sequence.step import SEQUENCE_LIMITS, SequenceLimits
from k2_streams.state.table import CACHE_BYTES, CACHE_ROWS


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a worker's buffers, batches and retries.

    Attributes:
        sequence: what the state of one scope keeps at most.
        batch_records: records that a task works at once: some 25 ms of the tasks' thread. In
            batches of half as many a record takes a sixth more CPU time: a part of it is per batch,
            and each of Arrow's and numpy's calls waits for the interpreter.
        inbox_records: fetched records that wait in a task; above it the partition is paused, below
            half of it resumed.
        inbox_bytes: the same of their keys and values: a record may have 1 MiB, and a fetch, which
            comes compressed, more than a machine has room for twice.
        checkpoint_records: records after which a checkpoint begins, whatever the time.
        checkpoint_bytes: the same of their keys and values: a transaction that is too large for its
            deadline would be tried again and again.
        log_record_rows: rows of one record of a log: about 2 MiB, far below the topic's 8 MiB.
        history_rows: rows of the lake that a task that begins there is given at a time; more than a
            record of the log has.
        table_cache_rows: rows of a table that stay decoded in memory, of about 1 KiB each.
        table_cache_bytes: the same of an agent's table, whose values may have 256 KiB each.
        retake_first_s: pause before a task that failed is replaced; doubled with each attempt.
        retake_most_s: the longest of those pauses.
        seek_again_s: pause before a seek that failed is repeated.
        sink_tick_s: between two looks at whether a lake commit is due.
        snapshots_kept: every commit writes the list of all snapshots anew: with 200 it takes twice
            as long as with none.
        snapshots_spare: so many more than those that are kept, and the oldest expire.
        compactions_in_a_row: of one table; then the table's other maintenance has its turn.
        committed_rows_bytes: rows of a log that were committed here and wait for one of its readers
            to take them from memory; with 0 all are read from the log. Some seconds of a worker at
            full load; the readers have most of it in their own buffers anyway.
        tail_fetch_ms: how long the broker holds an empty fetch of the tail. Short: a record is seen
            by queries at most this long after the broker gave it.
        load_tick_s: between two measurements of load.
        watchdog_tick_s: between two looks of the watchdog.
        restart_first_s: the shortest pause before a background task that failed starts again.
        restart_most_s: the longest.
        steady_after_s: a background task that was restarted counts as up after so long.
    """

    sequence: SequenceLimits = SEQUENCE_LIMITS
    batch_records: int = 16_384
    inbox_records: int = 32_768
    inbox_bytes: int = 64 << 20
    checkpoint_records: int = 65_536
    checkpoint_bytes: int = 128 << 20
    log_record_rows: int = ROWS_PER_RECORD
    history_rows: int = 2 * ROWS_PER_RECORD
    table_cache_rows: int = CACHE_ROWS
    table_cache_bytes: int = CACHE_BYTES
    retake_first_s: float = 0.2
    retake_most_s: float = 10.0
    seek_again_s: float = 1.0
    sink_tick_s: float = 0.1
    snapshots_kept: int = 100
    snapshots_spare: int = 100
    compactions_in_a_row: int = 100
    committed_rows_bytes: int = 64 << 20
    tail_fetch_ms: int = 250
    load_tick_s: float = 0.5
    watchdog_tick_s: float = 1.0
    restart_first_s: float = 0.5
    restart_most_s: float = 30.0
    steady_after_s: float = 3.0


#: What production runs with.
DEFAULT_LIMITS = Limits()
