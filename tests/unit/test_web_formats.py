"""All formats of an answer hold the same rows, and their proof."""

import csv
import datetime as dt
import io
import json
import re
from decimal import Decimal

import jsonschema_rs
import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace
from web_support import META, trades_table

from k2_streams.core.records.schema import MICROS
from k2_streams.core.sequence.gaps import Gap
from k2_streams.query.answer import GapsMeta
from k2_streams.query.token import Token
from k2_streams.web.http import formats
from k2_streams.web.http.formats import Format, meta_header, render
from k2_streams.web.openapi import cell_schema


class Proof(msgspec.Struct):
    note: str = "t"
    offsets: dict[int, int] = msgspec.field(default_factory=lambda: {0: 7})
    gaps: list[str] = []
    gaps_omitted: int = 0


def rendered(rows, form):
    return b"".join(render(rows, Proof(), form))


@pytest.fixture(params=[0, 1, 5, 12])
def rows(request, monkeypatch):
    """Tables of no, one and several pieces, the last one full and not."""
    monkeypatch.setattr(formats, "ROWS_AT_ONCE", 4)
    monkeypatch.setattr(formats, "ARROW_ROWS", 4)
    return trades_table(request.param)


def test_json_holds_every_value(rows):
    answer = json.loads(rendered(rows, Format.JSON))
    assert answer["meta"] == {"note": "t", "offsets": {"0": 7}, "gaps": [], "gaps_omitted": 0}
    assert len(answer["data"]) == rows.num_rows
    for row, found in zip(rows.to_pylist(), answer["data"], strict=True):
        assert list(found) == rows.schema.names
        assert Decimal(found["price"]) == row["price"]
        assert found["exchange_time_ns"] == row["exchange_time_ns"]
        assert found["exchange_time"] == row["exchange_time"].strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        assert found["trading_date"] == row["trading_date"].isoformat()
        assert found["conditions"] == row["conditions"]
        assert found["vendor"] == (None if row["vendor"] is None else dict(row["vendor"]))
        for name in ("message_id", "symbol", "side", "sequence", "late", "tick_direction"):
            assert found[name] == row[name]


def test_csv_holds_every_value(rows):
    lines = list(csv.DictReader(io.StringIO(rendered(rows, Format.CSV).decode(), newline="")))
    assert len(lines) == rows.num_rows
    for row, found in zip(rows.to_pylist(), lines, strict=True):
        assert list(found) == rows.schema.names
        assert Decimal(found["price"]) == row["price"]
        assert found["symbol"] == row["symbol"]
        assert found["side"] == (row["side"] or "")
        assert found["late"] == str(row["late"]).lower()
        assert json.loads(found["conditions"] or "null") == row["conditions"]


def test_arrow_holds_the_table_and_its_proof(rows):
    with pa.ipc.open_stream(rendered(rows, Format.ARROW)) as reader:
        assert json.loads(reader.schema.metadata[b"k2.meta"])["note"] == "t"
        assert reader.read_all().replace_schema_metadata().equals(rows)


def test_parquet_holds_the_table_and_its_proof(rows, monkeypatch):
    monkeypatch.setattr(formats, "GROUP_ROWS", 4)
    pieces = list(render(rows, Proof(), Format.PARQUET))
    file = pq.ParquetFile(pa.BufferReader(b"".join(pieces)))
    assert json.loads(file.schema_arrow.metadata[b"k2.meta"])["note"] == "t"
    assert file.num_row_groups == len(pieces) - 1 == -(-rows.num_rows // 4)
    assert file.read().replace_schema_metadata().equals(rows)


def test_markdown_is_a_table_whose_cells_are_text(rows):
    head, line, *lines = rendered(rows, Format.MARKDOWN).decode().splitlines()
    assert head == f"| {' | '.join(rows.schema.names)} |"
    assert line == f"|{'---|' * rows.num_columns}"
    assert len(lines) == rows.num_rows
    for row, text in zip(rows.to_pylist(), lines, strict=True):
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", text)[1:-1]]
        assert len(cells) == rows.num_columns
        found = dict(zip(rows.schema.names, cells, strict=True))
        assert found["symbol"] == row["symbol"]
        assert found["message_id"].replace(r"\|", "|") == row["message_id"]
        assert found["side"] == (row["side"] or "")


def test_markdown_has_no_markup_of_a_value():
    rows = pa.table({"a|b": ["<b>|&\r\nx", None, ""]})
    expected = "| a\\|b |\n|---|\n| &lt;b>\\|&amp;  x |\n|  |\n|  |\n"
    assert rendered(rows, Format.MARKDOWN).decode() == expected


def test_another_engine_reads_arrow_csv_and_parquet():
    rows = trades_table(1_000)
    stream = pl.read_ipc_stream(rendered(rows, Format.ARROW))
    text = pl.read_csv(rendered(rows, Format.CSV))
    file = pl.read_parquet(rendered(rows, Format.PARQUET))
    assert file["price"].to_list() == stream["price"].to_list()
    assert stream["price"].sum() == sum(rows["price"].to_pylist())
    assert text["source_offset"].to_list() == rows["source_offset"].to_pylist()


def test_csv_tells_null_from_empty_and_quotes_what_needs_it():
    rows = pa.table({"a": ["", None, 'say "hi"', "x,y", "two\nlines", "plain"]})
    assert rendered(rows, Format.CSV) == (
        b'a\r\n""\r\n\r\n"say ""hi"""\r\n"x,y"\r\n"two\nlines"\r\nplain\r\n'
    )


def test_a_row_of_one_value_throughout():
    rows = pa.table({"a": ["x"] * 3, "b": [1] * 3})
    assert json.loads(rendered(rows, Format.JSON))["data"] == [{"a": "x", "b": 1}] * 3


def test_meta_in_a_header_is_ascii_and_drops_gaps_that_do_not_fit():
    small = meta_header(Proof(note="é\n"))
    assert small.isascii()
    assert small.isprintable()
    assert json.loads(small)["note"] == "é\n"
    large = meta_header(Proof(gaps=["g" * 100] * 100, gaps_omitted=3))
    assert len(large) < formats.META_HEADER_BYTES
    assert json.loads(large)["gaps"] == []
    assert json.loads(large)["gaps_omitted"] == 103


def gap(n):
    return Gap(
        scope=f"X:币安{n}",
        exchange="X",
        symbol=f"币安{n}",
        session="0",
        first=n,
        last=n + 1,
        size="small",
        state="open",
        missing=((n, n + 1),),
        abandoned=(),
        previous_time_ns=None,
        next_time_ns=None,
        opened_time_ns=n,
        closed_time_ns=None,
        reason=None,
        source_partition=0,
        source_offset=n,
    )


MANY = {partition: 2**40 + partition * 2**30 for partition in range(1_000)}
TOKEN = Token("A" * 22, MANY, 2**62, 2**40).encode()


@pytest.mark.parametrize(
    ("meta", "left_out"),
    [
        (replace(META, gaps=tuple(map(gap, range(100))), gaps_omitted=3), set()),
        (replace(META, offsets=MANY, token=TOKEN), {"offsets", "token"}),
        (
            replace(META, gaps=tuple(map(gap, range(9))), offsets=MANY, next_cursor=TOKEN),
            {"offsets", "next_cursor"},
        ),
        (GapsMeta(gaps=1, omitted=0, positions=MANY, complete=True), {"positions"}),
    ],
)
def test_the_proof_of_a_csv_fits_a_header(meta, left_out):
    """The product's own objects: their gaps are tuples, and their partitions up to 1,000."""
    text = meta_header(meta)
    found = json.loads(text)
    assert len(text.encode()) <= formats.META_HEADER_BYTES
    assert text.isascii()
    assert set(found.pop("left_out", ())) == left_out
    whole = json.loads(formats.encode_json(meta))
    if whole["gaps"] != 1:
        whole["gaps_omitted"] += len(whole["gaps"])
        whole["gaps"] = []
    assert found == {name: whole[name] for name in whole.keys() - left_out}


LEVEL = pa.struct([pa.field("price", pa.decimal128(9, 2), nullable=False), ("at", MICROS)])
NESTED = pa.schema(
    [
        ("bids", pa.list_(LEVEL)),
        ("best", LEVEL),
        ("by_venue", pa.map_(pa.string(), pa.list_(pa.int64()))),
        ("ratio", pa.float64()),
    ]
)
NOON = dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)
NOON_TEXT = "2024-01-01T12:00:00.000000Z"


@pytest.fixture
def nested():
    bid = {"price": Decimal("1.50"), "at": NOON}
    return pa.Table.from_pylist(
        [
            {"bids": [bid, None], "best": bid, "by_venue": [('a,"b"', [1, None])], "ratio": 0.25},
            {"bids": [], "best": None, "by_venue": None, "ratio": float("nan")},
            {"bids": None, "best": bid | {"at": None}, "by_venue": [], "ratio": None},
        ],
        schema=NESTED,
    )


def nested_as_json():
    bid = {"price": "1.5", "at": NOON_TEXT}
    return [
        {"bids": [bid, None], "best": bid, "by_venue": {'a,"b"': [1, None]}, "ratio": 0.25},
        {"bids": [], "best": None, "by_venue": None, "ratio": None},
        {"bids": None, "best": bid | {"at": None}, "by_venue": {}, "ratio": None},
    ]


def test_nested_columns_are_arrays_and_objects_of_json(nested):
    assert json.loads(rendered(nested, Format.JSON))["data"] == nested_as_json()


def test_nested_columns_are_json_in_a_cell_of_csv(nested):
    lines = csv.DictReader(io.StringIO(rendered(nested, Format.CSV).decode(), newline=""))
    found = [
        {name: json.loads(cell) if cell else None for name, cell in line.items() if name != "ratio"}
        for line in lines
    ]
    expected = [
        {name: value for name, value in row.items() if name != "ratio"} for row in nested_as_json()
    ]
    assert found == expected


def test_nested_columns_keep_their_types_in_arrow(nested):
    with pa.ipc.open_stream(rendered(nested, Format.ARROW)) as reader:
        found = reader.read_all()
    assert found.schema.equals(NESTED)
    assert found.drop_columns(["ratio"]).equals(nested.drop_columns(["ratio"]))


def test_the_schema_of_a_row_says_what_its_json_is(nested):
    schema = {
        "type": "object",
        "properties": {
            field.name: cell_schema(field.type, nullable=field.nullable) for field in NESTED
        },
        "required": NESTED.names,
    }
    for row in json.loads(rendered(nested, Format.JSON))["data"]:
        jsonschema_rs.validate(schema, row)
    assert schema["properties"]["bids"]["items"]["properties"]["price"]["type"] == "string"
