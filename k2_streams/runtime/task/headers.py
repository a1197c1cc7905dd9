"""The two headers of a raw record that K2 reads: `feed` and `line`.

A header may occur several times, and its value may be null. The last one counts, as in Kafka's own
`Headers.lastHeader`; a null value is as no header at all. Other headers are passed on unread.
"""

from collections.abc import Sequence
from typing import Any

FEED = "feed"
LINE = "line"

#: A raw record's headers. Kafka allows a value of null.
Headers = Sequence[tuple[str, bytes | None]]


def last_header(headers: Headers, name: str) -> bytes | None:
    """The value of the last header of this name; None: there is none, or its value is null."""
    found = None
    for key, value in headers:
        if key == name:
            found = value
    return found


def feed_names(records: Sequence[Any], default: str) -> list[str]:
    """The feed that each record names, `default` where it names none.

    Bytes that are no UTF-8 become the replacement character, which stands in no feed's name.
    """
    names = [default] * len(records)
    texts: dict[bytes, str] = {}  # of this batch
    for at, record in enumerate(records):
        if not record.headers:
            continue
        value = last_header(record.headers, FEED)
        if value is None:
            continue
        text = texts.get(value)
        if text is None:
            text = texts[value] = value.decode(errors="replace")
        names[at] = text
    return names
