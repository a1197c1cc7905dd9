"""An answer's rows in each format that is offered; its proof (`meta`) goes with all of them.

Pure and without the GIL for most of its work, so that it runs beside the event loop in a thread.
"""

import enum
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from k2_streams.web.http.texts import content, holds_any, json_parts, plain_texts, replaced

#: Rows rendered at a time: some 2 MB of text, which is what an answer holds beside its rows. Their
#: texts fit the processor's cache; no offset of Arrow's (2 GiB per column) can overflow.
ROWS_AT_ONCE = 2_048
#: Of an Arrow stream, whose rows take a quarter of their texts.
ARROW_ROWS = 4 * ROWS_AT_ONCE
#: Rows of a Parquet file's row group: compressed, they are smaller than a piece of text.
GROUP_ROWS = 8 * ROWS_AT_ONCE
#: A header longer than this is refused by common clients (8 KiB for all of a line). Gaps have no
#: bound, token and offsets grow with the partitions: what does not fit is left out of the header.
META_HEADER_BYTES = 4_096
META_HEADER = "X-K2-Meta"
META_KEY = b"k2.meta"
_ANY = msgspec.json.Decoder()
_CSV_SPECIAL = b',"\r\n'
_NEEDS_QUOTES = '[",\r\n]'
#: What would end a cell of Markdown, or be more than text in it.
_MARKDOWN_SPECIAL = b"|\r\n<&"
_MARKDOWN_ESCAPED = str.maketrans({"|": r"\|", "\r": " ", "\n": " ", "<": "&lt;", "&": "&amp;"})
_TYPE_PARAMETERS = {
    "text/csv": "; charset=utf-8; header=present",
    "text/markdown": "; charset=utf-8",
}


class Format(enum.Enum):
    """How an answer is written; the value is its media type."""

    JSON = "application/json"
    ARROW = "application/vnd.apache.arrow.stream"
    CSV = "text/csv"
    PARQUET = "application/vnd.apache.parquet"
    MARKDOWN = "text/markdown"

    @property
    def content_type(self) -> str:
        """The header's value."""
        media_type: str = self.value
        return media_type + _TYPE_PARAMETERS.get(media_type, "")

    @property
    def has_meta(self) -> bool:
        """Whether its bytes hold the proof; that of the others is in a header."""
        return self not in {Format.CSV, Format.MARKDOWN}


#: The formats, by their names in the parameter `format`.
BY_NAME = {form.name.lower(): form for form in Format}


def encode_json(value: Any) -> bytes:
    """Any plain value or struct as JSON; keys that are numbers become texts."""
    return msgspec.json.encode(value)


def render(rows: pa.Table, meta: msgspec.Struct, form: Format) -> Iterator[bytes]:
    """The answer's bytes, in pieces of about one size: of text `ROWS_AT_ONCE` rows.

    JSON: `{"data": [{...}, ...], "meta": {...}}`. CSV: RFC 4180 with a header line; null is an
    empty cell, an empty text is `""`. Markdown: a table as GitHub has them. The meta of both goes
    into a header (`meta_header`). Arrow: an IPC stream, its schema's metadata holding `k2.meta`, in
    pieces of `ARROW_ROWS`. Parquet: a file, whose metadata holds it too, in pieces of `GROUP_ROWS`.
    """
    match form:
        case Format.JSON:
            return _json_pieces(rows, meta)
        case Format.CSV:
            return _csv_pieces(rows)
        case Format.ARROW:
            return _arrow_pieces(rows, meta)
        case Format.PARQUET:
            return _parquet_pieces(rows, meta)
        case Format.MARKDOWN:
            return _markdown_pieces(rows)


def meta_header(meta: msgspec.Struct) -> str:
    """`meta` as one ASCII line of at most `META_HEADER_BYTES`.

    What does not fit is left out, the gaps first (`gaps_omitted` counts them), then the longest
    fields; `left_out` names those.
    """
    fields = _ANY.decode(encode_json(meta))
    text = _ascii_json(fields)
    if len(text) > META_HEADER_BYTES and isinstance(fields.get("gaps"), list):
        fields["gaps_omitted"] = fields.get("gaps_omitted", 0) + len(fields["gaps"])
        fields["gaps"] = []
        text = _ascii_json(fields)
    left_out: list[str] = []
    while len(text) > META_HEADER_BYTES:
        longest = max(fields.keys() - {"left_out"}, key=lambda name: len(_ascii_json(fields[name])))
        left_out.append(longest)
        fields = {name: value for name, value in fields.items() if name != longest}
        fields["left_out"] = left_out
        text = _ascii_json(fields)
    return text


def _ascii_json(value: Any) -> str:
    # What is not ASCII stands in strings only, where JSON has an escape for it.
    return json.dumps(value, separators=(",", ":"))


def json_arrays(rows: pa.Table, ends: Iterable[int]) -> Iterator[bytes]:
    """The rows up to each end, from the one before it on, as a JSON array without a line break."""
    texts = pa.chunked_array(_json_rows(rows), pa.string()).combine_chunks()
    start = 0
    for end in ends:
        yield b"".join((b"[", content(texts.slice(start, end - start))[:-1], b"]"))
        start = end


def json_rows(rows: pa.Table) -> Iterator[bytes]:
    """Each row as a JSON object, without a line break."""
    for texts in _json_rows(rows):
        for text in texts.to_pylist():
            yield text[:-1].encode()


def _json_pieces(rows: pa.Table, meta: msgspec.Struct) -> Iterator[bytes]:
    before = b'{"data":['
    for texts in _json_rows(rows):
        # Each row's text ends with a comma: the piece's last one is cut off.
        yield before + content(texts)[:-1]
        before = b","
    closing = b'],"meta":' + encode_json(meta) + b"}"
    yield closing if rows.num_rows else before + closing


def _csv_pieces(rows: pa.Table) -> Iterator[bytes]:
    yield (",".join(rows.schema.names) + "\r\n").encode()
    for texts in _csv_rows(rows):
        yield bytes(content(texts))


def _arrow_pieces(rows: pa.Table, meta: msgspec.Struct) -> Iterator[bytes]:
    schema = rows.schema.with_metadata({META_KEY: encode_json(meta)})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in rows.cast(schema).to_batches(max_chunksize=ARROW_ROWS):
            writer.write_batch(batch)
            yield _drained(sink)
    yield _drained(sink)


def _parquet_pieces(rows: pa.Table, meta: msgspec.Struct) -> Iterator[bytes]:
    schema = rows.schema.with_metadata({META_KEY: encode_json(meta)})
    sink = _Pieces()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for start in range(0, rows.num_rows, GROUP_ROWS):
            writer.write_table(rows.slice(start, GROUP_ROWS).cast(schema))
            yield sink.taken()
    yield sink.taken()


def _markdown_pieces(rows: pa.Table) -> Iterator[bytes]:
    names = [_cell_text(name) for name in rows.schema.names]
    yield f"| {' | '.join(names)} |\n|{'---|' * len(names)}\n".encode()
    for columns in _batches(rows):
        parts: list[Any] = []
        for column in columns:
            parts += [" | " if parts else "| ", _markdown_cells(column)]
        yield bytes(content(pc.binary_join_element_wise(*parts, " |\n", "")))


class _Pieces(io.RawIOBase):
    """A file that is taken away while it is written; its writer counts from its beginning."""

    def __init__(self) -> None:
        super().__init__()
        self._written = bytearray()
        self._taken_bytes = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._taken_bytes + len(self._written)

    def write(self, data: Any) -> int:
        self._written += data
        return len(data)

    def taken(self) -> bytes:
        """What was written since the last time."""
        piece = bytes(self._written)
        self._taken_bytes += len(piece)
        self._written.clear()
        return piece


def _drained(sink: io.BytesIO) -> bytes:
    piece = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return piece


def _batches(rows: pa.Table) -> Iterator[list[pa.Array]]:
    for start in range(0, rows.num_rows, ROWS_AT_ONCE):
        batch = rows.slice(start, ROWS_AT_ONCE).combine_chunks()
        yield [column.chunk(0) for column in batch.columns]


def _json_rows(rows: pa.Table) -> Iterator[pa.Array]:
    names = [msgspec.json.encode(name).decode() + ":" for name in rows.schema.names]
    for columns in _batches(rows):
        parts: list[Any] = []
        literal = "{"
        for name, column in zip(names, columns, strict=True):
            before, value, after = json_parts(column)
            literal += name + before
            if isinstance(value, str):
                literal += value
            else:
                parts += [literal, value]
                literal = ""
            literal += after + ","
        count = len(columns[0])
        parts.append(pa.repeat(literal[:-1] + "},", count) if not parts else literal[:-1] + "},")
        yield pc.binary_join_element_wise(*parts, "") if len(parts) > 1 else parts[0]


def _csv_rows(rows: pa.Table) -> Iterator[pa.Array]:
    for columns in _batches(rows):
        parts: list[Any] = []
        for column in columns:
            parts += ["," if parts else "", _csv_cells(column)]
        yield pc.binary_join_element_wise(*parts, "\r\n", "")


def _csv_cells(column: pa.Array) -> pa.Array:
    cells = plain_texts(column)
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_nested(kind):
        quoted = pc.equal(cells, "")
        if holds_any(cells, _CSV_SPECIAL):
            quoted = pc.or_(quoted, pc.match_substring_regex(cells, _NEEDS_QUOTES))
        if pc.any(quoted).as_py():
            cells = replaced(cells, quoted, lambda cell: '"' + cell.replace('"', '""') + '"')
    return cells.fill_null("") if cells.null_count else cells


def _markdown_cells(column: pa.Array) -> pa.Array:
    cells = plain_texts(column).fill_null("")
    if holds_any(cells, _MARKDOWN_SPECIAL):
        cells = replaced(cells, pc.match_substring_regex(cells, r"[|\r\n<&]"), _cell_text)
    return cells


def _cell_text(text: str) -> str:
    return text.translate(_MARKDOWN_ESCAPED)
