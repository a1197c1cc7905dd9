"""The HTTP client: answers, refusals, silence, and callers in threads and coroutines."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from k2_streams.testing.client import (
    HttpClient,
    NoAnswerError,
    StatusError,
    fetch,
    fetch_json,
)
from k2_streams.testing.local.loopback import free_port


async def _answer(request: web.Request) -> web.Response:
    if request.path == "/slow":
        await asyncio.sleep(30)
    status = 404 if request.path == "/none" else 200
    key, asked = request.headers.get("X-API-Key"), dict(request.query)
    return web.json_response({"key": key, "asked": asked}, status=status)


@pytest.fixture
async def url():
    app = web.Application()
    app.router.add_get("/{path:.*}", _answer)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


async def test_a_thread_gets_json_with_its_key(url):
    found = await asyncio.to_thread(fetch_json, f"{url}/a?x=1", 5.0, "secret")
    assert found == {"key": "secret", "asked": {"x": "1"}}


async def test_another_status_is_an_error_with_the_body(url):
    with pytest.raises(StatusError, match="/none answered 404") as raised:
        await asyncio.to_thread(fetch, f"{url}/none", 5.0)
    assert raised.value.status == 404
    assert b"asked" in raised.value.body


async def test_a_coroutine_gets_every_status_and_keeps_its_headers(url):
    async with HttpClient("k") as client:
        answer = await client.get(f"{url}/none", [("x", "1"), ("y", "2")])
        drained = await client.drain(f"{url}/a")
    assert answer.status == 404
    assert answer.body == b'{"key": "k", "asked": {"x": "1", "y": "2"}}'
    assert (drained.status, drained.body) == (200, b"")


async def test_silence_ends_at_the_timeout(url):
    began = time.monotonic()
    with pytest.raises(NoAnswerError, match="/slow"):
        await asyncio.to_thread(fetch, f"{url}/slow", 0.2)
    assert time.monotonic() - began < 10


def test_a_port_that_nobody_listens_on_is_no_answer():
    with pytest.raises(NoAnswerError, match="127"):
        fetch(f"http://127.0.0.1:{free_port()}/", 5.0)


async def test_many_threads_ask_at_once(url):
    with ThreadPoolExecutor(8) as threads:
        loop = asyncio.get_running_loop()
        asked = [loop.run_in_executor(threads, fetch_json, f"{url}/{n}", 10.0) for n in range(40)]
        assert len(await asyncio.gather(*asked)) == 40
