"""Streams over a real node: frames in both formats, resuming, pace, bounds, and readers that go."""

import asyncio
import json
import time

import aiohttp
import pyarrow as pa
import pytest
from aiohttp.test_utils import TestClient, TestServer
from lake_rows import NOON_NS
from metric_values import samples, value
from prometheus_client import CollectorRegistry
from web_node import RECORDS, ROWS, node, records
from web_support import CannedQueries, application, trades_table

from k2_streams.core.records.events import GapOpened
from k2_streams.core.records.vector import Range
from k2_streams.core.subscription.position import Places
from k2_streams.core.subscription.tally import Tally
from k2_streams.query.subscription.frames import FrameSizes, RowsFrame
from k2_streams.query.subscription.subscription import Subscription
from k2_streams.query.token import StreamToken, Token
from k2_streams.runtime.metrics.web import WebMetrics
from k2_streams.web.http import streaming, telemetry
from k2_streams.web.http.frames import FrameFormat
from k2_streams.web.http.room import ROW_BYTES, Room

PATH = "/v1/trades/stream"
PLACE = ("log_partition", "log_offset", "log_row")


@pytest.fixture
async def node_query(tmp_path):
    query, engine = await node(tmp_path)
    yield query
    await query.close()
    engine.close()


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
async def client(node_query, registry):
    app = application(
        node_query, streams_max=2, rate_limit_per_s=10_000, telemetry=WebMetrics(registry)
    )
    async with TestClient(TestServer(app, handler_cancellation=True)) as found:
        yield found


async def until(holds):
    """Let the server work until a condition holds."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)


async def events_of(response):
    """The server-sent events, one by one."""
    fields = {}
    async for line in response.content:
        name, _, text = line.decode().rstrip("\n").partition(": ")
        if name:
            fields[name] = text
        elif "event" in fields:
            yield fields["event"], fields["id"], json.loads(fields["data"])
            fields = {}


async def stream(client, headers=None, **parameters):
    """All events of a stream that ends."""
    response = await client.get(PATH, params=parameters, headers=headers)
    assert response.status == 200, await response.text()
    return [event async for event in events_of(response)]


def rows_of(events):
    return [row for name, _, data in events if name == "rows" for row in data["data"]]


def tally_of(rows):
    columns = [[row[name] for row in rows] for name in PLACE]
    arrays = [pa.array(column, pa.int64()).to_numpy() for column in columns]
    return Tally().with_rows(Places(*arrays))


async def answer(client, **parameters):
    return await (await client.get("/v1/trades", params=parameters)).json()


async def test_history_and_tail_come_as_one_and_end_with_a_count_and_a_checksum(client):
    events = await stream(client, **{"from": "begin", "to": "end"})
    assert [events[0][0], events[-1][0]] == ["progress", "end"]
    end = events[-1][2]
    rows = rows_of(events)
    wanted = await answer(client, as_of=end["as_of"], limit=1_000)
    assert sorted(rows, key=lambda row: [row[name] for name in PLACE]) == sorted(
        wanted["data"], key=lambda row: [row[name] for name in PLACE]
    )
    assert (end["rows"], end["checksum"]) == (ROWS, tally_of(rows).text)
    assert (end["gaps_complete"], end["complete"], len(end["gaps"])) == (True, False, 2)
    assert all(data["token"] == token for _, token, data in events)


async def test_the_access_line_has_the_token_of_the_last_frame(client, monkeypatch):
    lines = []

    class Lines:
        def log(self, _level, _event, **fields):
            lines.append(fields)

    monkeypatch.setattr(telemetry, "_log", Lines())
    events = await stream(client, **{"from": "begin", "to": "end"})
    await until(lambda: lines)
    assert [line["token"] for line in lines] == [events[-1][1]]


async def test_rows_of_a_selection_come_in_order_of_event_time(client):
    parameters = {"symbol": "AAA", "order": "event", "clock": "event"}
    second = NOON_NS + 10**9
    events = await stream(client, **parameters, **{"from": second, "to": second + 10**10})
    wanted = await answer(client, symbol="AAA", start=second, end=second + 10**10)
    assert rows_of(events) == wanted["data"]
    assert wanted["data"]


@pytest.mark.slow
async def test_arrow_frames_hold_the_same_rows_and_tokens(client):
    sse = await stream(client, **{"from": "begin", "to": "end"})
    response = await client.get(PATH, params={"from": "begin", "to": "end", "format": "arrow"})
    reader = pa.ipc.open_stream(await response.read())
    batches = []
    while True:
        try:
            batch, metadata = reader.read_next_batch_with_custom_metadata()
        except StopIteration:
            break
        batches.append((json.loads(metadata[b"k2.frame"]), batch))
    assert [frame["frame"] for frame, _ in batches] == [name for name, _, _ in sse]
    places = [[row[name] for name in PLACE] for _, batch in batches for row in batch.to_pylist()]
    assert places == [[row[name] for name in PLACE] for row in rows_of(sse)]
    assert batches[-1][0]["checksum"] == sse[-1][2]["checksum"]
    assert StreamToken.decode(batches[0][0]["token"]).rows == 0


@pytest.mark.parametrize("order", ["log", "event"])
@pytest.mark.slow
async def test_every_token_goes_on_where_it_was_given(client, monkeypatch, order):
    monkeypatch.setitem(streaming.FRAME_SIZES, FrameFormat.SSE, FrameSizes(7, 2))
    parameters = {"to": "end", "order": order}
    whole = await stream(client, **parameters, **{"from": "begin"})
    for at, (_, token, _) in enumerate(whole[:-1]):
        browser = await stream(client, {"Last-Event-ID": token}, **parameters, **{"from": "begin"})
        rest = await stream(client, **parameters, **{"from": token})
        assert rows_of(whole[: at + 1]) + rows_of(rest) == rows_of(whole)
        assert rows_of(browser) == rows_of(rest)
        assert rest[-1][2]["checksum"] == whole[-1][2]["checksum"]
        assert rest[-1][2]["rows"] == ROWS


async def test_what_comes_later_is_given_when_it_comes(client, node_query):
    tail, gaps = node_query.log.tail, node_query.log.gaps
    async with client.get(PATH, params={"from": "now", "symbol": ["AAA", "BBB"]}) as response:
        events = events_of(response)
        name, _, first = await anext(events)
        assert (name, first["lag"]) == ("progress", {"0": 0, "1": 0})
        tail.append(0, Range(RECORDS, RECORDS + 1), records(0, RECORDS, RECORDS + 1))
        while (found := await anext(events))[0] != "rows":
            pass
        assert {row["log_offset"] for row in found[2]["data"]} == {RECORDS}
        gaps.apply(GapOpened(scope="SYN:AAA", session="0", first=90, last=91, size="small"), 0, 99)
        gaps.apply(GapOpened(scope="SYN:CCC", session="0", first=90, last=91, size="small"), 0, 100)
        tail.append(0, Range(RECORDS + 1, RECORDS + 2), [])
        while (found := await anext(events))[0] != "gap":
            pass
        assert (found[2]["type"], found[2]["scope"]) == ("gap_opened", "SYN:AAA")
        # The rows given so far, by the token of the next frame of progress.
        while (found := await anext(events))[0] != "progress":
            pass
        assert StreamToken.decode(found[1]).rows == 5
        assert Token.decode(found[2]["as_of"]).next == {0: RECORDS + 2, 1: RECORDS}


async def test_paced_rows_come_as_far_apart_as_they_were(client, registry):
    # The records are a second of event time apart; at 20 times that, 50 ms.
    began = time.monotonic()
    events = await stream(client, **{"from": "begin", "to": "end", "speed": "20x"})
    assert time.monotonic() - began > (RECORDS - 2) / 20
    assert len(rows_of(events)) == ROWS
    assert sum(name == "rows" for name, _, _ in events) > 2
    assert value(registry, "k2_stream_pace_error_seconds_count") > 0


async def test_places_for_streams_are_bounded_and_given_back(client, registry):
    first = await client.get(PATH)
    second = await client.get(PATH)
    assert value(registry, "k2_streams") == 2
    refused = await client.get(PATH)
    assert (refused.status, (await refused.json())["error"]["code"]) == (503, "busy")
    assert refused.headers["Retry-After"]
    assert value(registry, "k2_streams_refused_total") == 1
    first.close()
    second.close()
    # The work for a client that has gone ends within a second.
    async with asyncio.timeout(1):
        await until(lambda: value(registry, "k2_streams") == 0)
    assert len(await stream(client, **{"from": "begin", "to": "end"})) > 1
    scrape = samples(await (await client.get("/metrics")).text())
    assert scrape["k2_stream_rows_total"] == ROWS
    assert scrape["k2_http_response_memory_bytes"] == 0


class CannedSubscription(Subscription):
    """Frames without an end of its own choice, for what the server does around them."""

    def __init__(self, frames):
        self.paced_late_s = None
        self.fallbacks = 0
        self.released = 0
        self.left = frames

    async def frames(self, room, sizes):
        assert room.take(is_paced=True) == streaming.LEAST_ROWS
        token = StreamToken(Token("t", {0: 1}, 0, 0), None, None, None, 0, 0, 0, 0)
        while self.left:
            self.left -= 1
            yield RowsFrame(token, trades_table(sizes.rows))
            self.fallbacks += 1

    def release(self):
        self.released += 1


async def test_a_reader_that_stalls_costs_no_rows_and_gets_all(registry, monkeypatch):
    monkeypatch.setattr(streaming, "DROP_AFTER_S", 0.02)
    canned, frames = CannedSubscription(120), 120
    queries = CannedQueries()
    monkeypatch.setattr(queries, "subscribe", lambda _: asyncio.sleep(0, canned), raising=False)
    app = application(queries, telemetry=WebMetrics(registry))
    async with TestClient(TestServer(app)) as client, client.get(PATH) as response:
        # Nothing is taken: what the sockets hold is full before all is sent.
        await until(lambda: canned.released)
        assert canned.left > 0
        events = [event async for event in events_of(response)]
    assert len(rows_of(events)) == frames * streaming.FRAME_SIZES[FrameFormat.SSE].rows
    assert value(registry, "k2_stream_fallbacks_total") == frames - 1


async def test_a_reader_that_takes_nothing_for_long_has_gone(registry, monkeypatch):
    monkeypatch.setattr(streaming, "GONE_AFTER_S", 0.05)
    canned = CannedSubscription(1_000)
    queries = CannedQueries()
    monkeypatch.setattr(queries, "subscribe", lambda _: asyncio.sleep(0, canned), raising=False)
    app = application(queries, telemetry=WebMetrics(registry))
    async with TestClient(TestServer(app)) as client, client.get(PATH) as response:
        await until(lambda: value(registry, "k2_streams") == 0)
        assert canned.left > 0
        with pytest.raises(aiohttp.ClientError):
            await response.read()


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"order": "event"}, "order"),
        ({"from": "soon"}, "from"),
        ({"from": Token("another", {0: 1}, NOON_NS, 0).encode()}, "from"),
        ({"to": Token("another", {0: 1}, NOON_NS, 0).encode()}, "to"),
        ({"from": NOON_NS, "to": NOON_NS - 1}, "from"),
        ({"speed": "0"}, "speed"),
        ({"speed": "nan"}, "speed"),
        ({"speed": "-1"}, "speed"),
        ({"speed": "1e9"}, "speed"),
        ({"batch_ms": "-1"}, "batch_ms"),
        ({"clock": "wall"}, "clock"),
        ({"format": "csv"}, "format"),
        ({"begin": "now"}, "begin"),
    ],
)
async def test_what_cannot_be_streamed_is_refused_by_its_name(client, parameters, field):
    response = await client.get(PATH, params=parameters)
    assert response.status == 422
    assert (await response.json())["error"]["field"] == field


async def test_a_token_of_another_selection_is_refused(client):
    (_, token, _), *_ = await stream(client, **{"from": "begin", "to": "end"})
    response = await client.get(PATH, params={"from": token, "to": "end", "symbol": "AAA"})
    assert (response.status, (await response.json())["error"]["field"]) == (422, "from")


async def test_a_place_by_accepted_time_is_that_of_known_at(client):
    everything = (await answer(client, limit=1_000))["data"]
    times = sorted({row["accepted_time"] for row in everything})
    parameters = {"clock": "accepted", "from": times[1], "to": times[-1]}
    events = await stream(client, **parameters)
    wanted = [row for row in everything if times[1] <= row["accepted_time"] < times[-1]]
    assert sorted(row["message_id"] for row in rows_of(events)) == sorted(
        row["message_id"] for row in wanted
    )


def test_more_rows_are_read_at_a_time_where_there_is_room():
    most, some = streaming.READ_ROWS
    ample, small = Room(), Room(most * ROW_BYTES)
    rooms = [streaming.StreamRoom(ample, f"caller-{number}") for number in range(5)]
    assert [room.take(is_paced=False) for room in rooms][:4] == [most] * 4
    assert rooms[0].is_ample
    assert rooms[0].take(is_paced=True) == streaming.LEAST_ROWS
    assert not rooms[0].is_ample
    assert streaming.StreamRoom(small, "a").take(is_paced=False) == some
    assert streaming.StreamRoom(small, "b").take(is_paced=False) == some
    for room in rooms:
        room.close()
    assert ample.held_bytes == 0
