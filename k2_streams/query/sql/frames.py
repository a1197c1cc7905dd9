"""Messages between a worker and a process that runs its statements, over two pipes.

A frame is its length, eight bytes, and that many bytes. A call is a frame in pickle, which the
process takes of the worker alone, and a frame per table, as an Arrow stream. The answer is a frame
in JSON and, of a statement, its rows as an Arrow stream: the worker believes no more of it than its
shape, since a statement may have broken the process.
"""

import struct
from typing import IO, Any

import msgspec
import pyarrow as pa

_LENGTH = struct.Struct("<Q")


class EndOfFramesError(Exception):
    """The other side has ended, or sent what is no frame."""


class CallAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of a call.

    Attributes:
        rows: of a plain call.
        error: the kind of what went wrong; None: nothing did.
        text: of DuckDB about it.
        has_table: a frame with rows follows.
    """

    rows: list[list[Any]] = []
    error: str | None = None
    text: str = ""
    has_table: bool = False


def write_frame(pipe: IO[bytes], content: bytes | memoryview | pa.Buffer) -> None:
    """Write one."""
    view = memoryview(content)
    pipe.write(_LENGTH.pack(view.nbytes))
    pipe.write(view)
    pipe.flush()


def read_frame(pipe: IO[bytes], at_most: int) -> bytes:
    """Read one.

    Raises:
        EndOfFramesError: there is none, or it is larger than `at_most`.
    """
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EndOfFramesError("the pipe has ended")
    (length,) = _LENGTH.unpack(head)
    if length > at_most:
        raise EndOfFramesError(f"a frame of {length} bytes")
    content = pipe.read(length)
    if len(content) < length:
        raise EndOfFramesError("the pipe has ended within a frame")
    return content


def encoded(table: pa.Table) -> pa.Buffer:
    """A table as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def decoded(content: bytes) -> pa.Table:
    """An Arrow stream as a table, over the same bytes."""
    with pa.ipc.open_stream(content) as reader:
        return reader.read_all()
