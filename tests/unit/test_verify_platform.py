"""What `k2 verify` asks, and how it takes a platform that is late, busy, wrong or not there."""

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pyarrow as pa
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner
from lake_rows import TOPIC_ID, record, table_of

from k2_streams.cli.verify import verify
from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.records.stream import TRADES
from k2_streams.core.records.vector import Range
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.table import Lake
from k2_streams.testing.oracle import observed as platform
from k2_streams.testing.oracle.observed import HttpPlatform, lake_rows, wait_for_lake
from k2_streams.testing.oracle.topic_records import NotReachedError


class ToyPlatform:
    """Answers as told, one answer a request; the last one for ever."""

    def __init__(self, *answers: tuple[int, bytes]) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, str]] = []
        self.keys: list[str | None] = []

    async def trades(self, request: web.Request) -> web.Response:
        self.asked.append(dict(request.query))
        self.keys.append(request.headers.get("X-API-Key"))
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.Response(status=status, body=body)

    async def status(self, request: web.Request) -> web.Response:
        return web.json_response({"watermark": {"0": 5, "1": None}})


@asynccontextmanager
async def served(toy: ToyPlatform, key: str | None = None, timeout_s: float = 5.0):
    """A client of the toy."""
    app = web.Application()
    app.router.add_get("/v1/trades", toy.trades)
    app.router.add_get("/v1/status", toy.status)
    async with TestServer(app) as server:
        url = str(server.make_url("/"))
        async with HttpPlatform(url, key, SYSTEM_CLOCK, timeout_s, TRADES) as http:
            yield http


def answer(**meta) -> tuple[int, bytes]:
    return 200, msgspec.json.encode({"data": [], "meta": meta})


def page(numbers: list[int], cursor: str | None) -> tuple[int, bytes]:
    meta = msgspec.json.encode({"next_cursor": cursor, "rows": len(numbers)})
    table = pa.table({"n": numbers}).replace_schema_metadata({"k2.meta": meta})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return 200, sink.getvalue().to_pybytes()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(platform, "RETRY_EVERY_S", 0.01)


async def test_it_waits_until_the_offsets_are_worked():
    toy = ToyPlatform((503, b"not_yet"), (429, b"slowly"), answer(offsets={"0": 9}))
    told = []
    async with served(toy) as http:
        meta = await http.wait({0: 12, 1: 4}, told.append)
    assert meta == {"offsets": {"0": 9}}
    # The last record below an end, not the end itself.
    assert {one["min_offsets"] for one in toy.asked} == {"0:11,1:3"}
    assert told == [5, 5]


async def test_it_does_not_wait_for_ever():
    toy = ToyPlatform((503, b"not_yet"))
    async with served(toy, timeout_s=0.1) as http:
        with pytest.raises(NotReachedError, match="503: not_yet"):
            await http.wait({0: 12}, lambda _: None)


async def test_an_answer_that_refuses_is_not_asked_again():
    toy = ToyPlatform((401, b"no key"))
    async with served(toy) as http:
        with pytest.raises(NotReachedError, match="401: no key"):
            await http.wait({0: 12}, lambda _: None)
    assert len(toy.asked) == 1


async def test_nobody_there(monkeypatch):
    monkeypatch.setattr(platform, "FIRST_ANSWER_WITHIN_S", 0.1)
    async with HttpPlatform("http://127.0.0.1:1", None, SYSTEM_CLOCK, 60, TRADES) as http:
        with pytest.raises(NotReachedError, match=r"127\.0\.0\.1:1"):
            await http.wait({0: 12}, lambda _: None)


async def test_pages_follow_the_cursor():
    toy = ToyPlatform(page([1, 2], "next"), (503, b"busy"), page([3], None))
    rows = []
    async with served(toy, key="secret") as http:
        async for table, _ in http.pages(["X", "Y"], {0: 7}):
            rows += table.column("n").to_pylist()
    assert rows == [1, 2, 3]
    assert toy.asked[0]["min_offsets"] == "0:6"
    assert [one.get("cursor") for one in toy.asked] == [None, "next", "next"]
    assert "exchange" not in toy.asked[1]
    assert set(toy.keys) == {"secret"}


def lake_with(config: LakeConfig, offset: int) -> None:
    lake = Lake(config, stream=TRADES)
    lake.ensure()
    rows = table_of(record(0, offset))
    lake.append(rows, {0: Range(offset, offset + 1)}, topic_id=TOPIC_ID, commit_id=f"c{offset}")
    lake.close()


@pytest.fixture
def config(tmp_path) -> LakeConfig:
    return LakeConfig(f"sqlite:///{tmp_path}/catalog.db", f"file://{tmp_path}/warehouse", {})


async def test_the_lake_is_waited_for(config):
    lake_with(config, 0)
    waiting = asyncio.create_task(
        wait_for_lake(config, {0: 2}, SYSTEM_CLOCK, 60, lambda _: None, TRADES)
    )
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await asyncio.to_thread(lake_with, config, 1)
    head = await waiting
    assert head.rows == 6
    assert sum(batch.num_rows for batch in lake_rows(config, head.snapshot_id, TRADES)) == 6


async def test_a_lake_that_stays_behind(config):
    lake_with(config, 0)
    with pytest.raises(NotReachedError, match=r"up to 0:5 in 0\.1 s; it holds 0:1"):
        await wait_for_lake(config, {0: 5}, SYSTEM_CLOCK, 0.1, lambda _: None, TRADES)


def test_a_lake_without_a_snapshot_has_no_rows(config):
    assert list(lake_rows(config, None, TRADES)) == []


@pytest.mark.parametrize(
    ("text", "said"), [("", "expected a header"), ("{}\n", "not a truth file")]
)
def test_a_truth_that_is_none_ends_with_2(tmp_path, text, said):
    path = tmp_path / "truth.jsonl"
    path.write_text(text)
    result = CliRunner().invoke(verify, ["--truth", str(path)])
    assert result.exit_code == 2
    assert said in result.output


def test_a_missing_truth_ends_with_2(tmp_path):
    assert CliRunner().invoke(verify, ["--truth", str(tmp_path / "none")]).exit_code == 2
