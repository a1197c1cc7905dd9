"""Random schemas and values: what an agent emits is what log, tail and lake give back.

The tail's answer, the rows of the Iceberg table's files and the emitted rows are the same, by a
path of plain Python that shares nothing with the expansion.
"""

import asyncio
import datetime as dt
import tempfile
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k2_streams.core.records import log_record
from k2_streams.core.records.columns import table_as
from k2_streams.core.records.expand import expand
from k2_streams.core.records.log_record import LogBatch
from k2_streams.core.records.schema import MICROS, NAME
from k2_streams.core.records.stream import Stream
from k2_streams.core.records.vector import Range
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.schema import field_ids
from k2_streams.lake.table import Lake
from k2_streams.query import statement
from k2_streams.query.result import as_rows
from k2_streams.query.selection import Selection
from k2_streams.query.tail.rows import in_order, select
from k2_streams.query.tail.store import Tail

T0 = 1_700_000_000_000_000_000
ACCEPTED_US = 1_700_000_000_000_000
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
SCALARS = {
    pa.string(): TEXT,
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.bool_(): st.booleans(),
    pa.binary(): st.binary(max_size=6),
    pa.float64(): st.floats(allow_nan=False),
    pa.date32(): st.dates(dt.date(1900, 1, 1), dt.date(2200, 1, 1)),
    MICROS: st.integers(0, 4 * 10**15).map(lambda us: EPOCH + dt.timedelta(microseconds=us)),
    pa.decimal128(38, 18): st.integers(-(10**38) + 1, 10**38 - 1).map(lambda n: scaled(n, 18)),
    pa.decimal128(9, 0): st.integers(-(10**9) + 1, 10**9 - 1).map(Decimal),
}


def scaled(number: int, places: int) -> Decimal:
    """Exact: `Decimal.scaleb` would round to the context's 28 digits."""
    sign, digits, _ = Decimal(number).as_tuple()
    return Decimal((sign, digits, -places))


def nested(children: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    fields = st.tuples(children, st.booleans())
    return st.one_of(
        fields.map(lambda one: pa.list_(pa.field("item", one[0], nullable=one[1]))),
        st.lists(fields, min_size=1, max_size=3).map(
            lambda many: pa.struct(
                [pa.field(f"f{at}", kind, nullable=n) for at, (kind, n) in enumerate(many)]
            )
        ),
        st.tuples(st.sampled_from([pa.string(), pa.int64()]), fields).map(
            lambda one: pa.map_(one[0], pa.field("value", one[1][0], nullable=one[1][1]))
        ),
    )


TYPES = st.recursive(st.sampled_from(list(SCALARS)), nested, max_leaves=4)


def values_of(kind: pa.DataType, *, nullable: bool) -> st.SearchStrategy:
    """Values of a type, as `to_pylist` gives them."""
    if pa.types.is_list(kind):
        item = values_of(kind.value_type, nullable=kind.value_field.nullable)
        found = st.lists(item, max_size=3)
    elif pa.types.is_struct(kind):
        found = st.fixed_dictionaries(
            {field.name: values_of(field.type, nullable=field.nullable) for field in kind}
        )
    elif pa.types.is_map(kind):
        keys = values_of(kind.key_type, nullable=False)
        item = values_of(kind.item_type, nullable=kind.item_field.nullable)
        found = st.dictionaries(keys, item, max_size=3).map(lambda pairs: list(pairs.items()))
    else:
        found = SCALARS[kind]
    return st.none() | found if nullable else found


@st.composite
def outputs(draw) -> tuple[Stream, list[list[dict]]]:
    """A described output, and the rows of some records, each of which may have none."""
    kinds = draw(st.lists(st.tuples(TYPES, st.booleans()), min_size=1, max_size=4))
    columns = [pa.field(f"c{at}", kind, nullable=n) for at, (kind, n) in enumerate(kinds)]
    time = pa.field("at_ns", pa.int64(), nullable=False)
    key = pa.field("k", draw(st.sampled_from([NAME, pa.string(), pa.int64()])), nullable=False)
    schema = pa.schema(draw(st.permutations([time, key, *columns])))
    names = st.integers(0, 3) if key.type == pa.int64() else st.sampled_from("abc")
    row = st.fixed_dictionaries(
        {
            "at_ns": st.integers(T0, T0 + 5),
            "k": names,
            **{one.name: values_of(one.type, nullable=one.nullable) for one in columns},
        }
    )
    records = draw(st.lists(st.lists(row, max_size=4), min_size=1, max_size=4))
    return Stream.of_output("out", schema, key=("k",), time="at_ns"), records


def batch_of(stream: Stream, rows: list[dict], offset: int) -> LogBatch:
    batch = pa.RecordBatch.from_pylist(rows, schema=stream.log_schema)
    (value,) = log_record.encode_checkpoint(
        stream.log_schema, [batch], offset % 2, ACCEPTED_US + offset
    )
    return log_record.decode(value, 0, offset)


def emitted(stream: Stream, records: list[list[dict]]) -> list[dict]:
    """The rows of the table, in the order of an answer, made by plain Python."""
    rows = [
        {name: row[name] for name in stream.log_schema.names}
        | {
            "source_partition": offset % 2,
            "log_partition": 0,
            "log_offset": offset,
            "log_row": place,
            "accepted_time": EPOCH + dt.timedelta(microseconds=ACCEPTED_US + offset),
        }
        for offset, rows in enumerate(records)
        for place, row in enumerate(rows)
    ]
    return sorted(rows, key=lambda row: (row["at_ns"], row["log_offset"], row["log_row"]))


def comparable(rows: list[dict]) -> list[dict]:
    """Maps in the order of their keys: an engine may give them in another one."""

    def of(value: object) -> object:
        if isinstance(value, dict):
            return {name: of(one) for name, one in value.items()}
        if isinstance(value, list):
            items = [of(one) for one in value]
            return sorted(items, key=repr) if items and isinstance(items[0], tuple) else items
        if isinstance(value, tuple):
            return tuple(of(one) for one in value)
        return value

    return [{name: of(value) for name, value in row.items()} for row in rows]


@given(outputs())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_log_to_tail_and_log_to_lake_are_what_was_emitted(engine, output):
    stream, records = output
    engine_, root = engine
    expected = comparable(emitted(stream, records))
    batches = [batch_of(stream, rows, offset) for offset, rows in enumerate(records)]
    tail = Tail(stream)
    tail.seek(0, 0)
    tail.append(0, Range(0, len(batches)), batches)
    view = tail.view()
    from_tail = select(stream, view.batches(view.ranges), Selection())
    assert from_tail.schema == stream.table_schema
    assert comparable(in_order(stream, from_tail, Selection()).to_pylist()) == expected

    folder = Path(tempfile.mkdtemp(dir=root))
    lake = Lake(LakeConfig(f"sqlite:///{folder}/k2.db", f"{folder}/w"), stream=stream)
    try:
        lake.ensure()
        lake.append(
            expand(stream, batches), {0: Range(0, len(batches))}, topic_id="t", commit_id="c"
        )
        paths = [file.path for file in lake.plan(lake.head().snapshot_id)]
    finally:
        lake.close()
    tables = [pq.read_table(path, partitioning=None) for path in paths]
    found = [row for one in tables for row in table_as(one, stream.table_schema).to_pylist()]
    place = ("at_ns", "log_offset", "log_row")
    found.sort(key=lambda row: tuple(row[name] for name in place))
    assert comparable(found) == expected
    if paths:
        scan = statement.scan_of(stream, field_ids(stream), ())
        asked = statement.rows(scan, paths, {}, tail=False, selection=Selection())
        nothing = stream.table_schema.empty_table()
        answer = asyncio.run(engine_.run(lambda session: session.table(asked, nothing)))
        assert comparable(as_rows(stream, answer).to_pylist()) == expected
