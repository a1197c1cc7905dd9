"""Where a repair finds what is missing: a recording, another topic, another lake, a plug-in.

A plug-in is declared by the entry point group `k2_streams.repair`: an object with
`fetch(scope, session, ranges)`, or a class that makes one without arguments. It gives the records
of these numbers (both ends of a range included), as the venue's connection would have brought
them: `(key, value)` or `(key, value, feed)`. Others among them are not sent.
"""

import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import pyarrow as pa

from k2_streams.core.records.derived import ref_sessions, ref_trade_ids
from k2_streams.core.sequence.scopes import own_scope
from k2_streams.feeds.feed import CANONICAL
from k2_streams.feeds.recordings.readers import read as read_recording
from k2_streams.kafka.log_reader import Record
from k2_streams.runtime.repair.missing import MissingRange
from k2_streams.runtime.task.headers import FEED, last_header

#: The group of a package's sources.
GROUP = "k2_streams.repair"


class RepairRecord(NamedTuple):
    """A record as a venue's connection would have brought it."""

    key: bytes
    value: bytes
    feed: str = CANONICAL


class RepairSource(Protocol):
    """Gives records among which those of missing numbers are."""

    def records(self, asked: Sequence[MissingRange]) -> AsyncIterator[RepairRecord]:
        """Records, in the order in which they would have come.

        Raises:
            RepairSourceError: the source cannot be read.
        """
        ...


@runtime_checkable
class WholeSource(Protocol):
    """Gives all that it has."""

    def whole(self) -> AsyncIterator[RepairRecord]:
        """Records, in the order in which they would have come, the same whenever it is called.

        Raises:
            RepairSourceError: the source cannot be read.
        """
        ...


class RepairSourceError(Exception):
    """A source that cannot be used: the text names it and says why."""


class RecordingSource:
    """A file of a feed's recorded messages, as `k2 produce` sends them."""

    def __init__(self, path: Path, feed: str) -> None:
        self._path = path
        self._feed = feed

    def records(self, asked: Sequence[MissingRange]) -> AsyncIterator[RepairRecord]:  # noqa: ARG002 - a file is read whole
        """All of the file."""
        return self.whole()

    async def whole(self) -> AsyncIterator[RepairRecord]:
        """All of the file."""
        try:
            for one in read_recording(self._feed, self._path):
                yield RepairRecord(one.key, one.value, self._feed)
        except ValueError as error:  # a RecordingError
            raise RepairSourceError(str(error)) from error


class TopicSource:
    """A raw topic, of another Kafka or of this one."""

    def __init__(self, portions: Callable[[], AsyncIterator[Sequence[Record]]]) -> None:
        self._portions = portions

    def records(self, asked: Sequence[MissingRange]) -> AsyncIterator[RepairRecord]:  # noqa: ARG002 - a topic is read whole
        """All of the topic that have a key and a value."""
        return self.whole()

    async def whole(self) -> AsyncIterator[RepairRecord]:
        """All of the topic that have a key and a value."""
        async for portion in self._portions():
            for record in portion:
                if record.key is not None and record.value is not None:
                    feed = last_header(record.headers, FEED)
                    name = CANONICAL if feed is None else feed.decode(errors="replace")
                    yield RepairRecord(record.key, record.value, name)


#: Columns of a row that a canonical record has under the same name, as they are.
_PLAIN = ("exchange", "symbol", "session", "sequence", "exchange_time_ns", "receive_time_ns")
_TEXTS = ("price", "quantity", "trade_id", "side", "action")
#: Columns of the table that a canonical record is made of.
LAKE_COLUMNS = (*_PLAIN, *_TEXTS, "conditions", "vendor", "ref_message_id")


class LakeSource:
    """The table of trades of another lake: its rows become canonical records.

    A scope that is no symbol's own, as that of a connection, has no rows of its own.
    """

    def __init__(self, tables: Callable[[], Iterable[pa.Table]]) -> None:
        self._tables = tables

    async def records(self, asked: Sequence[MissingRange]) -> AsyncIterator[RepairRecord]:
        """The rows of the scopes that are asked for."""
        scopes = {one.scope for one in asked}
        for scope, row in self._rows():
            if scope in scopes and row["sequence"] is not None:
                yield RepairRecord(scope.encode(), _canonical(row))

    async def whole(self) -> AsyncIterator[RepairRecord]:
        """All rows."""
        for scope, row in self._rows():
            yield RepairRecord(scope.encode(), _canonical(row))

    def _rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each with its symbol's own scope."""
        try:
            for table in self._tables():
                whole = table.append_column("ref_trade_id", ref_trade_ids(table))
                whole = whole.append_column("ref_session", ref_sessions(table))
                for row in whole.to_pylist(maps_as_pydicts="lossy"):
                    yield own_scope(row["exchange"], row["symbol"]), row
        except OSError as error:
            raise RepairSourceError(f"the lake's files cannot be read: {error}") from error


def _canonical(row: Mapping[str, Any]) -> bytes:
    texts = {name: None if row[name] is None else str(row[name]) for name in _TEXTS}
    texts |= {name: format(row[name], "f") for name in ("price", "quantity") if texts[name]}
    others = ("conditions", "vendor", "ref_trade_id", "ref_session")
    fields = {name: row[name] for name in (*_PLAIN, *others)} | texts
    return json.dumps({name: one for name, one in fields.items() if one is not None}).encode()


class PluggedInSource:
    """A source of another package."""

    def __init__(self, name: str) -> None:
        found = [one for one in entry_points(group=GROUP) if one.name == name]
        if not found:
            known = sorted(one.name for one in entry_points(group=GROUP))
            raise RepairSourceError(
                f"source {name!r}: expected file:PATH, kafka:BOOTSTRAP/TOPIC, lake:CATALOG or an "
                f"installed one ({', '.join(known) or 'there is none'})"
            )
        try:
            made = found[0].load()
            self._source = made() if isinstance(made, type) else made
        except Exception as error:  # whatever a foreign package raises
            raise RepairSourceError(f"source {name}: {error!r}") from error
        self._name = name

    async def records(self, asked: Sequence[MissingRange]) -> AsyncIterator[RepairRecord]:
        """What it gives of each session of each scope."""
        ranges: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for one in asked:
            ranges.setdefault((one.scope, one.session), []).append((one.first, one.last))
        for (scope, session), wanted in ranges.items():
            try:
                for record in self._source.fetch(scope, session, wanted):
                    yield RepairRecord(*record)
            except Exception as error:  # the same
                raise RepairSourceError(f"source {self._name}, {scope}: {error!r}") from error


def started_text(now_ns: int) -> str:
    """A time of a repair, as its record has it."""
    return datetime.fromtimestamp(now_ns // 10**9, UTC).isoformat()
