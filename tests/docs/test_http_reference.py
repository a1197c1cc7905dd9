"""The samples of the guide to endpoints run, and the reference of HTTP is in plain words."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from web_support import services

from k2_streams.web.pages import page_endpoints
from k2_streams.web.reference import page
from k2_streams.web.server import install

DOCS = Path(__file__).resolve().parents[2] / "docs"
GUIDE = (DOCS / "contributing/add-an-endpoint.md").read_text(encoding="utf-8")
SAMPLES = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


def test_the_page_has_no_banned_word():
    banned = r"judged|put off|passed over|left alone|let go|given up|made anew"
    assert re.findall(banned, page()) == []


@pytest.fixture
async def client():
    """A server with the endpoints of the guide's samples."""
    names = {}
    for sample in SAMPLES:
        exec(compile(sample, "add-an-endpoint.md", "exec"), names)  # noqa: S102 - our own document
    status = {"uptime_s": 87.123}
    app = web.Application()
    # A file of the folder may be below /v1/, a view of one's own may not.
    views = [replace(one, path="/uptime") for one in names["endpoints"](())]
    views.append(names["newest"])
    served = services(status=lambda: status)
    pages = page_endpoints([("/newest-prices", names["newest_prices"])], served.by_name)
    install(app, served, [*views, *pages])
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_the_endpoint_of_the_guide_answers(client):
    assert await (await client.get("/uptime")).json() == {"uptime_s": 87.1}
    assert await (await client.get("/uptime?digits=0")).json() == {"uptime_s": 87.0}
    assert (await client.get("/uptime?digits=7")).status == 422


async def test_the_view_of_the_guide_answers(client):
    answer = await (await client.get("/newest")).json()
    assert answer == {"price": "61837.630000000000000000", "token": "token"}


async def test_the_page_of_the_guide_answers(client):
    response = await client.get("/pages/newest-prices?symbol=A")
    assert (await response.json())["prices"][0] == "61837.630000000000000000"
    assert (await client.get("/pages/newest-prices?symbol=A&symbol=B")).status == 422
