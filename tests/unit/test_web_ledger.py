"""The paths of a ledger: what they take, and what they ask."""

import datetime as dt

import pytest
from aiohttp.test_utils import TestClient, TestServer
from web_support import CannedQueries, application

from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.records.stream import TRADES
from k2_streams.query.ledger.coverage import CoverageRequest
from k2_streams.query.relations import ServedLog
from k2_streams.query.request import GapsRequest
from k2_streams.query.token import GapsCursor, Token
from k2_streams.web.endpoints import declared

LEDGER = TRADES_INPUT.ledger
SERVED = (TRADES, *LEDGER)
TOKEN = Token("topic", {0: 5}, 7, 0)
CURSOR = GapsCursor(TOKEN, ("X:A", 3), ("A",), (), ("open",), 1, 9, 2)


async def got(path: str, asked: CannedQueries) -> tuple[int, dict]:
    """Status and body of a worker that keeps a ledger."""
    logs = tuple(ServedLog(stream, asked) for stream in LEDGER)
    app = application(asked, outputs=logs)
    async with TestClient(TestServer(app)) as client, client.get(path) as response:
        return response.status, await response.json()


def test_each_log_of_a_ledger_has_a_path_written_as_paths_are():
    by_path = {endpoint.path: endpoint for endpoint in declared(SERVED)}
    assert set(by_path) >= {
        "/v1/gap-events", "/v1/dead-letters", "/v1/levels", "/v1/repairs", "/v1/coverage",
        "/v1/gaps",
    }  # fmt: skip
    names = {one.name for one in by_path["/v1/dead-letters"].parameter_set.parameters}
    assert {"reason", "feed", "start", "end", "format"} <= names
    assert not {"min_offsets", "view", "symbol"} & names


def test_without_a_ledger_there_is_no_coverage_and_gaps_have_no_token():
    by_path = {endpoint.path: endpoint for endpoint in declared((TRADES,))}
    assert "/v1/coverage" not in by_path
    names = {one.name for one in by_path["/v1/gaps"].parameter_set.parameters}
    assert not {"as_of", "cursor"} & names


async def test_coverage_is_asked_for_by_day_symbol_and_exchange():
    asked = CannedQueries()
    status, body = await got(
        "/v1/coverage?date=2026-11-30&date=2026-11-29&symbol=A&exchange=X&limit=5", asked
    )
    assert (status, body["data"]) == (200, [])
    assert asked.asked == [
        CoverageRequest(
            dates=(dt.date(2026, 11, 29), dt.date(2026, 11, 30)),
            symbols=("A",),
            exchanges=("X",),
            limit=5,
        )
    ]


@pytest.mark.parametrize("date", ["2026-13-01", "today", "20261130T00"])
async def test_a_date_that_is_none_is_refused(date):
    status, body = await got(f"/v1/coverage?date={date}", CannedQueries())
    assert (status, body["error"]["field"]) == (422, "date")


async def test_the_next_page_of_gaps_is_asked_for_by_its_cursor_alone():
    asked = CannedQueries()
    status, _ = await got(f"/v1/gaps?cursor={CURSOR.encode()}&limit=4", asked)
    assert status == 200
    assert asked.asked == [
        GapsRequest(
            symbols=("A",), states=("open",), start_ns=1, end_ns=9, limit=4, cursor=CURSOR,
            as_of=TOKEN,
        )
    ]  # fmt: skip
    status, body = await got(f"/v1/gaps?cursor={CURSOR.encode()}&symbol=A", asked)
    assert (status, body["error"]["field"]) == (422, "symbol")
    status, body = await got(f"/v1/gaps?cursor={TOKEN.encode()}", asked)
    assert (status, body["error"]["field"]) == (422, "cursor")


async def test_a_feed_without_dead_letters_is_not_unknown():
    asked = CannedQueries()
    await got("/v1/dead-letters?feed=none&reason=stale", asked)
    (request,) = asked.asked
    assert not request.checks_names
    assert dict(request.keys) == {"feed": ("none",), "reason": ("stale",)}
