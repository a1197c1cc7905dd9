"""The truth file: what was sent, and so what must come out.

JSON lines, gzipped if the name ends in `.gz`. First a header, then one line per
session of a scope, then the dead letters by reason and the raw positions, and last a line with the
number of lines: a file cut short is noticed. A file appears whole or not at all.

    {"type":"header","version":1,"topic":"k2.trades.raw","feed":"canonical","options":{...}}
    {"type":"session","scope":"SIM:S0001","session":"0","rows":[[1,500]],"count":500,...}
    {"type":"letters","reasons":{"not-json":3}}
    {"type":"positions","next":{"0":[0,251,251]}}
    {"type":"end","lines":5}
"""

import gzip
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from k2_streams.testing.oracle.model import Range, SessionTruth

VERSION = 1


class TruthError(ValueError):
    """A truth file that cannot be used; the text names it and says why."""


class Header(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="header"):
    """What made the stream."""

    version: int = VERSION
    topic: str
    stream: str = "trades"
    feed: str
    options: dict[str, str | int | float | bool | list[str] | None]
    sent: int  # records, all kinds
    controls: int = 0  # known records without a trade
    rows_by: str = "sequence"  # what identifies a row: "sequence", "trade_id", "place" (nothing)
    repeated: int = 0  # records of which every trade came before, by its id


class SessionLine(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="session"):
    """A `SessionTruth`; `value` is exact decimal text."""

    scope: str
    session: str
    rows: list[Range]
    count: int
    value: str
    opened: list[Range] = []
    filled: list[Range] = []
    abandoned: list[tuple[int, int, int, int, str]] = []
    late: list[Range] = []
    late_events: list[Range] = []
    stale: list[int] = []
    duplicates: list[Range] = []
    duplicate_count: int = 0
    conflicts: list[int] = []  # used for two messages, with repetition
    dead: list[Range] | None = None  # None: a file of before dead numbers were told
    reset: tuple[int, str] | None = None
    ids: list[str] = []  # of rows identified by them; `rows` are indices into this list


class Letters(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="letters"):
    """Dead letters by reason."""

    reasons: dict[str, int]


class SentRange(msgspec.Struct, frozen=True, array_like=True):
    """Of a raw partition: the first offset of the run, the next after its last, its records."""

    first: int
    next: int
    count: int


class Positions(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="positions"):
    """Where the run lies in the raw topic."""

    next: dict[int, SentRange]


class End(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="end"):
    """The last line."""

    lines: int  # with this one


Line = Header | SessionLine | Letters | Positions | End
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Line)


@dataclass(slots=True)
class Truth:
    """One run's truth, or several merged. `value` of a session is in units of 10^-scale."""

    header: Header
    sessions: list[SessionLine]
    reasons: Counter[str]
    positions: dict[int, SentRange]

    @property
    def rows(self) -> int:
        """How many trades must be rows."""
        return sum(session.count for session in self.sessions)

    @property
    def alone(self) -> bool:
        """Whether nobody else wrote to the raw topic between this run's records."""
        return all(one.count == one.next - one.first for one in self.positions.values())


def session_line(truth: SessionTruth, scale: int) -> SessionLine:
    """A model's answer as it is written."""
    return SessionLine(
        scope=truth.scope,
        session=truth.session,
        rows=truth.rows,
        count=truth.count,
        value=exact_text(truth.value, scale),
        opened=truth.opened,
        filled=truth.filled,
        abandoned=truth.abandoned,
        late=truth.late,
        late_events=truth.late_events,
        stale=truth.stale,
        duplicates=truth.duplicates,
        duplicate_count=truth.duplicate_count,
        conflicts=truth.conflicts,
        dead=truth.dead,
        reset=truth.reset,
        ids=truth.ids,
    )


def exact_text(units: int, scale: int) -> str:
    """A number of 10^-scale as decimal text, without zeros at its end."""
    if not scale:
        return str(units)
    whole, rest = divmod(abs(units), 10**scale)
    text = f"{whole}.{rest:0{scale}}".rstrip("0").rstrip(".")
    return f"-{text}" if units < 0 else text


def write(path: Path, truth: Truth) -> None:
    """Write a truth: all of it, or nothing.

    Raises:
        OSError: the folder cannot be written.
    """
    lines: list[Line] = [truth.header, *truth.sessions]
    lines += [Letters(reasons=dict(truth.reasons)), Positions(next=truth.positions)]
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            with _packed(file, path.name.endswith(".gz")) as out:
                for line in (*lines, End(lines=len(lines) + 1)):
                    out.write(_ENCODER.encode(line) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _packed(file: IO[bytes], packed: bool) -> Iterator[IO[bytes]]:
    """The file, or a gzip stream into it that says nothing of when it was made."""
    if not packed:
        yield file
        return
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=3, mtime=0, filename="") as out:
        yield out  # type: ignore[misc] # a GzipFile is written like any other binary file


def read(path: Path) -> Truth:
    """Read a truth back.

    Raises:
        TruthError: the file cannot be read, or is not a whole truth file of this version.
    """
    lines: list[Line] = []
    try:
        lines.extend(_lines(path))
    except (msgspec.MsgspecError, ValueError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TruthError(f"{path}, line {len(lines) + 1}: not a truth file: {error}") from error
    except OSError as error:
        raise TruthError(f"{path}: cannot be read: {error.strerror or error}") from error
    header = lines[0] if lines else None
    if not isinstance(header, Header):
        raise TruthError(f"{path}: expected a header in the first line, found none")
    if header.version != VERSION:
        raise TruthError(f"{path}: expected version {VERSION}, found {header.version}")
    end = lines[-1]
    if not isinstance(end, End) or end.lines != len(lines):
        raise TruthError(f"{path}: cut short after {len(lines)} lines")
    reasons: Counter[str] = Counter()
    positions: dict[int, SentRange] = {}
    for line in lines:
        if isinstance(line, Letters):
            reasons.update(line.reasons)
        elif isinstance(line, Positions):
            positions.update(line.next)
    sessions = [line for line in lines if isinstance(line, SessionLine)]
    return Truth(header, sessions, reasons, positions)


def _lines(path: Path) -> Iterator[Line]:
    with path.open("rb") as plain:
        packed = plain.read(2) == b"\x1f\x8b"
        plain.seek(0)
        if not packed:
            yield from map(_DECODER.decode, plain)
            return
        with gzip.GzipFile(fileobj=plain) as file:
            yield from map(_DECODER.decode, file)


def merge(truths: Iterable[Truth]) -> Truth:
    """Several runs' truths as one.

    Raises:
        TruthError: two of them speak of the same session of a scope, or of different topics.
    """
    merged: Truth | None = None
    for truth in truths:
        if merged is None:
            merged = truth
            continue
        if truth.header.rows_by != merged.header.rows_by:
            raise TruthError(
                f"expected truths whose rows are identified by {merged.header.rows_by}, found "
                f"{truth.header.rows_by}: verify them one at a time"
            )
        if truth.header.topic != merged.header.topic:
            raise TruthError(
                f"expected truths of one topic, found {merged.header.topic} "
                f"and {truth.header.topic}"
            )
        known = {(line.scope, line.session) for line in merged.sessions}
        for line in truth.sessions:
            if (line.scope, line.session) in known:
                raise TruthError(
                    f"two truths speak of {line.scope}, session {line.session}: truths can be "
                    "merged where their scopes or sessions differ"
                )
        positions = dict(merged.positions)
        for partition, one in truth.positions.items():
            other = positions.get(partition, one)
            count = one.count + (other.count if partition in positions else 0)
            positions[partition] = SentRange(
                min(one.first, other.first), max(one.next, other.next), count
            )
        header = msgspec.structs.replace(
            merged.header,
            sent=merged.header.sent + truth.header.sent,
            controls=merged.header.controls + truth.header.controls,
            repeated=merged.header.repeated + truth.header.repeated,
        )
        merged = Truth(
            header,
            merged.sessions + truth.sessions,
            merged.reasons + truth.reasons,
            positions,
        )
    if merged is None:
        raise TruthError("no truth was given")
    return merged
