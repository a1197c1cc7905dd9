"""A row of the table of dead letters as the record that it was made of."""

from collections.abc import Iterator, Mapping
from typing import Any

from k2_streams.core.ledger.dead_letters import ACCEPTED_TIME
from k2_streams.core.records.source import RawInput
from k2_streams.kafka.transactions import Header, OutputRecord
from k2_streams.runtime.task.headers import REDRIVE


def letter_of(row: Mapping[str, Any], source: RawInput) -> OutputRecord:
    """The dead letter of a row of `k2.dead_letters`; its row is the same again."""
    own = tuple((one["name"], one["value"]) for one in row["headers"])
    why = tuple(_why(row, source))
    key, value = row["key"], row["value"]
    if key is None and value is None:
        return OutputRecord(source.dead_letter, None, b"", (*own, *why, ("k2.null", b"key,value")))
    return OutputRecord(source.dead_letter, key, value, (*own, *why))


def _why(row: Mapping[str, Any], source: RawInput) -> Iterator[Header]:
    texts = {
        "k2.reason": row["reason"],
        "k2.field": row["field"] or "",
        "k2.detail": row["detail"],
        "k2.topic": source.raw,
        "k2.partition": row["source_partition"],
        "k2.offset": row["source_offset"],
        "k2.append-time": row["append_time"].isoformat(),
        "k2.scope": row["scope"],
        "k2.session": row["session"],
        "k2.sequence": row["sequence"],
        REDRIVE: row["redrive_id"],
        ACCEPTED_TIME: round(row["accepted_time"].timestamp() * 1e6),
    }
    yield from ((name, str(text).encode()) for name, text in texts.items() if text is not None)
