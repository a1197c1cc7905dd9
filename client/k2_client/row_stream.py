"""A stream of rows without a socket: what to ask, what comes of its bytes, and how it goes on.

K2 sends an Arrow stream, each of whose batches has its frame as JSON in the metadata `k2.frame`.
Every frame has a token; where a connection breaks off, any node continues behind the last one.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from k2_client.columns import ColumnShape, shaped
from k2_client.errors import UnreadableError
from k2_client.exchange import Nodes, NoReply, Question, Reply, Send
from k2_client.parameters import Parameters

FRAME_KEY = b"k2.frame"
#: Of a message that is not whole yet: K2's are a twentieth of it.
MAX_MESSAGE_BYTES = 64 << 20


class StreamFrame(NamedTuple):
    """A part of a stream.

    Attributes:
        kind: `rows`, `progress`, `gap` or `end`.
        token: with which the stream goes on behind it (`start=`).
        fields: what K2 says in it; see its guide to streams.
        rows: of a frame of rows; the others have none.
    """

    kind: str
    token: str
    fields: Mapping[str, Any]
    rows: pa.Table


class RowStream:
    """One stream, over as many connections as it takes.

    Args:
        nodes: where.
        path: of the stream.
        asked: its parameters but for the place where it begins.
        start: that place: a token, a time, `begin` or `now`.
        shape: what becomes of the columns.
    """

    def __init__(
        self, nodes: Nodes, path: str, asked: Parameters, start: str, shape: ColumnShape
    ) -> None:
        self._attempts = nodes.attempts(path)
        self._path = path
        self._asked = asked
        self._start = start
        self._shape = shape
        self._reader = FrameReader(shape)
        self._is_open = False  # as far as is known
        self._is_ended = False

    def following(self) -> Send | None:
        """The connection to open next, behind the last frame; None: the stream has ended.

        Raises:
            UnavailableError: no node gave a frame for as long as the client is patient.
        """
        if self._is_ended:
            return None
        if self._is_open:
            self._attempts.failed(NoReply("the stream broke off"))
        self._is_open = True
        self._reader = FrameReader(self._shape)
        address, pause_s = self._attempts.following()
        more = (("from", self._start), ("format", "arrow"))
        return Send(address, Question(self._path, (*self._asked, *more)), pause_s)

    def receive(self, piece: Reply | NoReply | bytes) -> Iterator[StreamFrame]:
        """The frames that a piece of the answer completes.

        Raises:
            QuestionRefusedError: a node refuses the question.
            UnreadableError: the answer is not K2's.
        """
        if not isinstance(piece, bytes):
            self._is_open = False
            self._attempts.failed(piece)
            return
        for frame in self._reader.feed(piece):
            self._attempts.succeeded()
            self._start = frame.token
            self._is_ended = frame.kind == "end"
            yield frame


class FrameReader:
    """Makes frames of the bytes of one connection, however they are cut.

    Args:
        shape: what becomes of the columns of rows.
    """

    def __init__(self, shape: ColumnShape) -> None:
        self._shape = shape
        self._schema = b""  # the message that every batch is read with
        self._pending = b""

    def feed(self, piece: bytes) -> Iterator[StreamFrame]:
        """The frames that are whole now.

        Raises:
            UnreadableError: these are no frames of K2.
        """
        self._pending += piece
        if not self._schema and not self._take_schema():
            return
        while self._pending:
            source = pa.BufferReader(self._schema + self._pending)
            try:
                with pa.ipc.open_stream(source) as reader:
                    batch, metadata = reader.read_next_batch_with_custom_metadata()
                    taken = source.tell() - len(self._schema)
            except StopIteration:  # the end of the Arrow stream
                return
            except (pa.ArrowInvalid, OSError) as error:
                self._check_size(error)
                return
            self._pending = self._pending[taken:]
            yield self._frame(batch, metadata)

    def _take_schema(self) -> bool:
        source = pa.BufferReader(self._pending)
        try:
            with pa.ipc.open_stream(source):
                taken = source.tell()
        except (pa.ArrowInvalid, OSError) as error:
            self._check_size(error)
            return False
        self._schema, self._pending = self._pending[:taken], self._pending[taken:]
        return True

    def _check_size(self, error: Exception) -> None:
        """A message that is not whole is waited for; one that never will be is none."""
        if len(self._pending) > MAX_MESSAGE_BYTES:
            raise UnreadableError(f"expected an Arrow stream: {error}") from error

    def _frame(self, batch: pa.RecordBatch, metadata: Any) -> StreamFrame:
        try:
            fields = json.loads(dict(metadata)[FRAME_KEY])
            kind, token = fields.pop("frame"), fields["token"]
        except (KeyError, TypeError, ValueError) as error:
            raise UnreadableError(f"expected a frame in {FRAME_KEY!r}: {error}") from error
        return StreamFrame(kind, token, fields, shaped(pa.table(batch), self._shape))
