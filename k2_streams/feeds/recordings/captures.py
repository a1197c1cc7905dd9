"""Files of recorded websocket messages, whatever wrote them, as one shape.

Three ways to write them are read, recognised by the first line:

    `<receive time ns> <text>`                           one connection per file
    `<receive time s>: <text>`                           the same, with `<address> <-> <s>` where it
                                                         was opened, `<address> <- <s>: <text>` sent
    `{"t": "recv", "conn":, "ts": <s>, "data": <text>}`  any number of connections, `connect` too

A file may be packed (`.gz`, `.zst`). What was sent to the venue and what was asked by HTTP is
skipped. Whatever is wrong with a file is a `RecordingError` that names it and the position.
"""

import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import msgspec
import pyarrow as pa

_BY_NS = re.compile(rb"(\d{1,19}) (?=[{\[])")
_BY_SECONDS = re.compile(rb"(\d{1,10}(?:\.\d{1,9})?): ")
_OPENED = re.compile(rb"(\S+) <-> (\d{1,10}(?:\.\d{1,9})?)$")
_SENT = re.compile(rb"\S+ <- \d{1,10}(?:\.\d{1,9})?: ")
_SECOND_NS = 1_000_000_000
#: A snapshot of a whole order book takes some megabytes. A longer line is no message: a packed file
#: of a few kilobytes can hold gigabytes without a line end.
MAX_LINE_BYTES = 64 << 20
#: What files raise when they cannot be read or unpacked: gzip's EOFError is no OSError, and a bad
#: block is zlib's. pyarrow raises OSError and ValueError.
_UNREADABLE = (OSError, EOFError, zlib.error, ValueError)


class RecordingError(ValueError):
    """A file that is not the recording it should be: use another file or another feed."""


class Connection(NamedTuple):
    """A connection to a venue."""

    name: str
    address: str  # "" where the recording does not say it
    opened_ns: int  # the recorder's time; 0 where the recording does not say it


class Captured(NamedTuple):
    """One message as it was received."""

    number: int  # of its line, from 1
    text: bytes
    receive_time_ns: int
    connection: Connection


class _Entry(msgspec.Struct):
    t: str
    conn: str = ""
    ts: Decimal = Decimal(0)
    addr: str = ""
    data: str = ""


#: What 64 bits hold in nanoseconds.
_LAST_S = (2**63 - 1) // _SECOND_NS
_ENTRY = msgspec.json.Decoder(_Entry)


def open_recording(path: Path) -> BinaryIO:
    """A recording's bytes, unpacked."""
    if path.suffix == ".gz":
        return cast("BinaryIO", gzip.open(path, "rb"))
    if path.suffix == ".zst":
        return io.BufferedReader(pa.input_stream(str(path), compression="zstd"))
    return path.open("rb")


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """A recording's lines with their numbers from 1, without their ends.

    Raises:
        RecordingError: the file cannot be read or unpacked, is empty, or has a line that is longer
            than `MAX_LINE_BYTES`. Lines before the damage have been given.
    """
    number = size_bytes = 0
    try:
        with open_recording(path) as file:
            while line := file.readline(MAX_LINE_BYTES + 1):
                _check_length(path, number + 1, line)
                number += 1
                size_bytes += len(line)
                yield number, line.rstrip(b"\r\n")
    except RecordingError:
        raise
    except _UNREADABLE as error:
        if not number:
            raise RecordingError(f"{path}: cannot be read: {_cause(error)}") from error
        raise RecordingError(
            f"{path}: cannot be read after line {number:,} (byte {size_bytes:,}{_unpacked(path)}): "
            f"{_cause(error)}: the file is damaged or incomplete, copy it again"
        ) from error
    if not number:
        raise RecordingError(f"{path}: expected recorded messages, found an empty file")


def _check_length(path: Path, number: int, line: bytes) -> None:
    if len(line) > MAX_LINE_BYTES:
        raise RecordingError(f"{path}:{number}: expected a line of {MAX_LINE_BYTES} bytes at most")


def _cause(error: Exception) -> str:
    """Why, without the file's name a second time."""
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


def _unpacked(path: Path) -> str:
    return " unpacked" if path.suffix in {".gz", ".zst"} else ""


def captured(path: Path) -> Iterator[Captured]:
    """The messages of a recording, in its order.

    Raises:
        RecordingError: the file cannot be read, a line is of none of the three kinds or of another
            than the first, or there is none.
    """
    kind: Callable[[Path, int, bytes, _Open], Captured | None] | None = None
    opened: _Open = {}
    for number, line in lines(path):
        if not line:
            continue
        kind = kind or _kind(path, number, line)
        found = kind(path, number, line, opened)
        if found is not None:
            yield found
    if kind is None:
        raise RecordingError(f"{path}: expected recorded messages, found blank lines alone")


_Open = dict[str, Connection]


def _kind(
    path: Path, number: int, line: bytes
) -> "Callable[[Path, int, bytes, _Open], Captured | None]":
    if _BY_NS.match(line):
        return _by_ns
    if _BY_SECONDS.match(line) or _OPENED.match(line):
        return _by_seconds
    if line.startswith(b'{"t":'):
        return _by_entries
    raise RecordingError(
        f"{path}:{number}: expected `<receive ns> <json>`, `<receive s>: <json>` or "
        f'`{{"t":"recv",...}}`, found {line[:40]!r}'
    )


def _by_ns(path: Path, number: int, line: bytes, opened: _Open) -> Captured:
    start = _BY_NS.match(line)
    if start is None:
        raise RecordingError(f"{path}:{number}: expected `<receive ns> <json>`")
    return Captured(number, line[start.end() :], int(start[1]), _of_file(path, opened))


def _by_seconds(path: Path, number: int, line: bytes, opened: _Open) -> Captured | None:
    start = _BY_SECONDS.match(line)
    if start is not None:
        received = _ns(start[1].decode())
        return Captured(number, line[start.end() :], received, _of_file(path, opened))
    begun = _OPENED.match(line)
    if begun is not None:
        opened[path.name] = Connection(path.name, begun[1].decode(), _ns(begun[2].decode()))
        return None
    if _SENT.match(line):
        return None
    raise RecordingError(f"{path}:{number}: expected `<receive s>: <json>`")


def _by_entries(path: Path, number: int, line: bytes, opened: _Open) -> Captured | None:
    try:
        entry = _ENTRY.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordingError(f'{path}:{number}: expected `{{"t":...}}`: {error}') from error
    if not 0 <= entry.ts <= _LAST_S:  # not a number is not either
        raise RecordingError(
            f"{path}:{number}: expected seconds since 1970 in ts, found {entry.ts}"
        )
    if entry.t == "connect":
        opened[entry.conn] = Connection(entry.conn, entry.addr, _ns(entry.ts))
    if entry.t != "recv":
        return None
    connection = opened.get(entry.conn) or Connection(entry.conn, "", 0)
    return Captured(number, entry.data.encode(), _ns(entry.ts), connection)


def _of_file(path: Path, opened: _Open) -> Connection:
    """The connection of a file that has but one."""
    return opened.get(path.name) or Connection(path.name, "", 0)


def _ns(seconds: Any) -> int:
    """Decimal seconds as ns, exactly."""
    return int(Decimal(seconds) * _SECOND_NS)
