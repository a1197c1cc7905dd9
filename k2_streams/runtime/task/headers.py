"""The headers of a raw record that K2 reads: `feed`, `line`, `traceparent`; `k2.redrive`.

A header may occur several times, and its value may be null. The last one counts, as in Kafka's own
`Headers.lastHeader`; a null value is as no header at all. Other headers are passed on unread.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from k2_streams.kafka.record_columns import RecordColumns

FEED = "feed"
LINE = "line"
#: Of a record that was a dead letter: the redrive that sent it again.
REDRIVE = "k2.redrive"
#: Of a record whose producer traces: W3C Trace Context. Read where traces are on.
TRACEPARENT = "traceparent"

Indices = npt.NDArray[np.int64]

#: A raw record's headers. Kafka allows a value of null.
Headers = Sequence[tuple[str, bytes | None]]


def last_header(headers: Headers, name: str) -> bytes | None:
    """The value of the last header of this name; None: there is none, or its value is null."""
    found = None
    for key, value in headers:
        if key == name:
            found = value
    return found


def places_by_feed(records: Sequence[Any], default: str) -> dict[str, Indices]:
    """The places of the records that name each feed, ascending; `default` where they name none.

    Bytes that are no UTF-8 become the replacement character, which stands in no feed's name.
    """
    named = _named_in_columns(records, default) or _named_one_by_one(records, default)
    names, codes = named
    if len(names) == 1:
        return {names[0]: np.arange(len(records))}
    return {name: np.flatnonzero(codes == code) for code, name in enumerate(names)}


def lines_named(records: Sequence[Any]) -> Iterable[tuple[int, bytes]]:
    """The places of the records that name a line, ascending, with what they name."""
    if isinstance(records, RecordColumns):
        lines = records.lines
        if lines.null_count == len(lines):
            return
        named: Iterable[tuple[int, bytes | None]] = enumerate(lines.to_pylist())
    else:
        named = ((at, last_header(r.headers, LINE)) for at, r in enumerate(records) if r.headers)
    yield from ((at, value) for at, value in named if value is not None)


def redriven(records: Sequence[Any]) -> list[int]:
    """The places of the records that are redriven, ascending."""
    if isinstance(records, RecordColumns):
        return records.places_with_header(REDRIVE.encode())
    return [
        at
        for at, record in enumerate(records)
        if record.headers and last_header(record.headers, REDRIVE) is not None
    ]


def traceparents(records: Sequence[Any], most: int) -> list[str]:
    """What the first of the records name that name a trace, at most so many."""
    if isinstance(records, RecordColumns):
        places = records.places_with_header(TRACEPARENT.encode())[:most]
        records = [records[place] for place in places]
    named = (last_header(record.headers, TRACEPARENT) for record in records if record.headers)
    return [_text(value) for value in islice(filter(None, named), most)]


#: Distinct feeds, and of each record the index of its own.
_Named = tuple[list[str], Indices]


def _named_in_columns(records: Sequence[Any], default: str) -> _Named | None:
    """By the column of feeds; None: there is none."""
    if not isinstance(records, RecordColumns):
        return None
    feeds = records.feeds
    if feeds.null_count == len(feeds):
        return [default], np.zeros(len(feeds), np.int64)
    encoded = feeds.dictionary_encode()
    codes: dict[str, int] = {}
    of = [
        codes.setdefault(default if value is None else _text(value), len(codes))
        for value in [*encoded.dictionary.to_pylist(), *([None] if feeds.null_count else [])]
    ]
    indices = encoded.indices.fill_null(len(encoded.dictionary))
    return list(codes), np.array(of, np.int64)[indices.to_numpy()]


def _named_one_by_one(records: Sequence[Any], default: str) -> _Named:
    codes: dict[str, int] = {}
    of: dict[bytes | None, int] = {}  # of this batch
    found = np.empty(len(records), np.int64)
    for at, record in enumerate(records):
        value = last_header(record.headers, FEED) if record.headers else None
        code = of.get(value)
        if code is None:
            name = default if value is None else _text(value)
            code = of[value] = codes.setdefault(name, len(codes))
        found[at] = code
    return list(codes), found


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
