"""A stream to an output: lines of JSON, or one Arrow stream."""

from collections.abc import Iterable
from typing import Any, BinaryIO

import pyarrow as pa

from k2_streams.replay.checked import CheckedRows
from k2_streams.replay.lines import json_lines
from k2_streams.replay.topic import ReplayError, ReplayFrame


def to_output(
    frames: Iterable[ReplayFrame], output: BinaryIO, form: str, begin: str
) -> dict[str, Any]:
    """Write the rows of a stream until it ends.

    Args:
        frames: of the stream.
        output: takes bytes.
        form: `ndjson` or `arrow`.
        begin: where the stream begins; what a frame's token says of rows before counts as given.

    Returns:
        What the last frame says; nothing of a stream without an end.

    Raises:
        ReplayError: what came is not all of it.
    """
    checked, writer, end = CheckedRows(begin), None, dict[str, Any]()
    for frame in frames:
        if frame.kind == "end":
            end = dict(frame.fields)
            if difference := checked.difference(end):
                raise ReplayError(f"rows are missing or came twice: {difference}")
        if form == "arrow" and writer is None:
            writer = pa.ipc.new_stream(output, frame.rows.schema)
        if frame.kind == "rows":
            checked.take(frame.rows)
            if writer is not None:
                writer.write_table(frame.rows)
            else:
                output.writelines(line + b"\n" for line in json_lines(frame.rows))
        output.flush()
    if writer is not None:
        writer.close()
    return end
