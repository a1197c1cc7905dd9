"""A subscription's frames as server-sent events, or as the batches of an Arrow stream.

Server-sent events: `id:` is the frame's token, so that a browser that reconnects goes on behind the
last frame it has; `event:` is the frame's name, `data:` one JSON object in one line. Arrow: each
batch has its frame, but for the rows, as JSON in the metadata `k2.frame` of its message; frames of
other kinds than rows are batches without rows.
"""

import enum
import io
from typing import Any

import msgspec
import pyarrow as pa

from k2_streams.query.subscription.frames import FRAME_NAMES, Frame, RowsFrame
from k2_streams.web.http.formats import Format, encode_json, json_arrays

#: Of a browser that lost its connection, until it connects again.
RECONNECT_AFTER_MS = 1_000
FRAME_KEY = b"k2.frame"


class FrameFormat(enum.Enum):
    """How frames are written; the value is the media type."""

    SSE = "text/event-stream"
    ARROW = Format.ARROW.value


class FrameWriter:
    """Writes the frames of one stream, in their order.

    Args:
        columns: of the rows.
        form: how they are written.
    """

    def __init__(self, columns: pa.Schema, form: FrameFormat) -> None:
        self._columns = columns
        self._sink = io.BytesIO()
        self._arrow: Any = None
        if form is FrameFormat.ARROW:
            self._arrow = pa.ipc.new_stream(self._sink, columns)
        else:
            self._sink.write(b"retry: %d\n\n" % RECONNECT_AFTER_MS)

    def write(self, frame: Frame) -> bytes:
        """A frame's bytes; those of the first frame begin the stream.

        Rows with cuts are one event per cut, made together: most of the work of a few rows is the
        same for many. Of Arrow they are one batch.
        """
        if self._arrow is None:
            self._write_event(frame)
        else:
            self._write_batch(frame)
        return self._drained()

    def end(self) -> bytes:
        """What comes behind the last frame."""
        if self._arrow is not None:
            self._arrow.close()
        return self._drained()

    def _write_event(self, frame: Frame) -> None:
        name = FRAME_NAMES[type(frame)].encode()
        if isinstance(frame, RowsFrame):
            cuts = (*frame.cuts, (frame.rows.num_rows, frame.token))
            arrays = json_arrays(frame.rows, [end for end, _ in cuts])
            for (_, cut), rows in zip(cuts, arrays, strict=True):
                token = cut.encode().encode()
                self._put(name, token, b'{"token":"%b","data":%b}' % (token, rows))
        else:
            self._put(name, frame.token.encode(), encode_json(frame))

    def _put(self, name: bytes, token: bytes, data: bytes) -> None:
        self._sink.write(b"id: %b\nevent: %b\ndata: %b\n\n" % (token, name, data))

    def _write_batch(self, frame: Frame) -> None:
        described: dict[str, Any] = {"frame": FRAME_NAMES[type(frame)]}
        if isinstance(frame, RowsFrame):
            described["token"] = frame.token.encode()
            rows = frame.rows
        else:
            described |= msgspec.to_builtins(frame, str_keys=True)
            rows = self._columns.empty_table()
        (batch,) = rows.combine_chunks().to_batches() or [
            pa.RecordBatch.from_pylist([], schema=self._columns)
        ]
        self._arrow.write_batch(batch, custom_metadata={FRAME_KEY: encode_json(described)})

    def _drained(self) -> bytes:
        piece = self._sink.getvalue()
        self._sink.seek(0)
        self._sink.truncate()
        return piece
