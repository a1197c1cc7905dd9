"""The registry of relations: what HTTP and its documents say follows from it, and how it reads."""

import pyarrow as pa
import pytest
from web_support import META, CannedQueries, services

from k2_streams.core.records.stream import QUOTES, RESERVED_STREAMS, TRADES, Stream
from k2_streams.query.relations import Asked, ServedLog, relations_of
from k2_streams.query.request import GapsRequest, RowsRequest, SnapshotsRequest, SymbolsRequest
from k2_streams.query.token import Token
from k2_streams.web.declaration.endpoint import TableAnswer
from k2_streams.web.endpoints import declared

ALERTS = Stream.of_output(
    "late-alerts",
    pa.schema(
        [
            pa.field("desk", pa.int32(), nullable=False),
            pa.field("time_ns", pa.int64(), nullable=False),
        ]
    ),
    key=("desk",),
    time="time_ns",
)
SERVED = (TRADES, QUOTES, ALERTS)
TOKEN = Token("topic", {0: 5}, 7, 0)


def test_each_log_and_each_list_is_one_relation():
    found = relations_of(SERVED)
    assert list(found) == ["trades", "quotes", "late-alerts", "gaps", "symbols", "snapshots"]
    assert all(relation.name == name for name, relation in found.items())


def test_an_output_is_a_relation_by_its_declaration_alone():
    alerts = relations_of(SERVED)["late-alerts"]
    assert alerts.columns == ALERTS.table_schema
    assert (alerts.keys, alerts.time, alerts.row) == (("desk",), "time_ns", "LateAlertsRow")
    assert alerts.is_log


def test_without_sequenced_rows_there_are_no_gaps_and_no_symbols():
    assert list(relations_of([ALERTS])) == ["late-alerts", "snapshots"]
    assert relations_of([]) == {}


def test_no_output_can_take_the_name_of_a_relation_of_another_kind():
    assert set(relations_of([TRADES])) <= RESERVED_STREAMS


def test_every_relation_has_one_path_with_its_columns_and_its_proof():
    tables = {
        endpoint.path: endpoint
        for endpoint in declared(SERVED)
        if isinstance(endpoint.answer, TableAnswer)
    }
    relations = relations_of(SERVED).values()
    made = tables.keys() - {f"/v1/{relation.name}" for relation in relations}
    # Made of relations: they have no rows of their own.
    assert made == {"/v1/bars", "/v1/sql", "/v1/trades/quotes"}
    for relation in relations:
        endpoint = tables[f"/v1/{relation.name}"]
        assert endpoint.summary == relation.summary
        assert endpoint.answer == TableAnswer(relation.row, relation.columns, relation.proof)
        assert endpoint.relations == ((relation.name,) if relation.is_log else ())


def test_services_serve_the_relations_of_their_logs():
    served = services(outputs=(ServedLog(ALERTS, CannedQueries()),))
    assert set(served.relations) == set(relations_of((TRADES, ALERTS)))


@pytest.mark.parametrize(
    ("name", "asked", "request_"),
    [
        (
            "trades",
            Asked(
                keys=(("symbol", ("A",)), ("exchange", ("X",))),
                start_ns=1,
                end_ns=2,
                limit=3,
                as_of=TOKEN,
            ),
            RowsRequest(
                symbols=("A",),
                exchanges=("X",),
                start_ns=1,
                end_ns=2,
                limit=3,
                as_of=TOKEN,
                checks_names=False,
            ),
        ),
        (
            "late-alerts",
            Asked(keys=(("desk", (1, 2)),)),
            RowsRequest(keys=(("desk", (1, 2)),), checks_names=False),
        ),
        (
            "gaps",
            Asked(keys=(("symbol", ("A",)),), limit=9),
            GapsRequest(symbols=("A",), limit=9),
        ),
        ("symbols", Asked(as_of=TOKEN), SymbolsRequest(as_of=TOKEN)),
        ("snapshots", Asked(limit=4), SnapshotsRequest(limit=4)),
    ],
)
async def test_a_relation_reads_its_rows_with_their_proof(name, asked, request_):
    relation = relations_of(SERVED)[name]
    query = CannedQueries()
    found = await relation.read({relation.log.name: query}, asked)
    assert query.asked == [request_]
    assert isinstance(found.proof, relation.proof)
    if not relation.is_log:
        assert found.rows.schema == relation.columns
    else:
        assert (found.rows, found.proof) == (query.table, META)
