"""A browser's session: opened with a key, without holding it, and ended with it."""

import pytest
from aiohttp import web
from web_support import CannedQueries, FixedClock, application, services

from k2_streams.web.http import session
from k2_streams.web.page import files
from k2_streams.web.pages import page_endpoints
from k2_streams.web.server import HANDLER_ARGS, install

KEY, OTHER = "k-of-a-desk", "k-of-another"


async def sign_in(client, key=KEY):
    response = await client.post(session.PATH, headers={"X-API-Key": key})
    assert response.status == 204, await response.text()
    return response


async def page_of(request):
    """What a desk has made for itself."""
    return f"<p>{request.path}</p>"


async def test_a_session_opens_every_path_that_its_key_opens(client_of):
    app = web.Application(handler_args=HANDLER_ARGS)
    served = services(keys=(KEY,), clock=FixedClock())
    install(app, served, page_endpoints([("/mine", page_of)], served.by_name))
    client = await client_of(app)
    assert (await client.get("/pages/mine")).status == 401
    await sign_in(client)
    for path in ("/pages/mine", "/v1/status", "/v1/trades", "/metrics"):
        assert (await client.get(path)).status == 200, path
    await client.delete(session.PATH)
    assert (await client.get("/pages/mine")).status == 401


async def test_the_cookie_holds_no_key_and_no_script_reads_it(client_of):
    client = await client_of(application(keys=(KEY,)))
    (cookie,) = (await sign_in(client)).cookies.values()
    assert KEY not in cookie.value
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    assert int(cookie["max-age"]) == session.LIFETIME_S
    assert not cookie["secure"]
    headers = {"X-API-Key": KEY, "X-Forwarded-Proto": "https"}
    behind_tls = await client.post(session.PATH, headers=headers)
    assert behind_tls.cookies[session.COOKIE]["secure"]


async def test_a_session_does_not_renew_itself(client_of):
    client = await client_of(application(keys=(KEY,)))
    await sign_in(client)
    assert (await client.get("/v1/status")).status == 200
    response = await client.post(session.PATH)
    assert (response.status, len(response.cookies)) == (401, 0)
    await sign_in(client)


@pytest.mark.parametrize("key", ["", "wrong", KEY + "x"])
async def test_another_key_opens_no_session(client_of, key):
    client = await client_of(application(keys=(KEY,)))
    response = await client.post(session.PATH, headers={"X-API-Key": key})
    assert (response.status, len(response.cookies)) == (401, 0)


async def test_a_session_ends_after_half_a_day(client_of):
    clock = FixedClock()
    client = await client_of(application(keys=(KEY,), clock=clock))
    await sign_in(client)
    clock.now_ns += (session.LIFETIME_S - 1) * 10**9
    assert (await client.get("/v1/status")).status == 200
    clock.now_ns += 10**9
    assert (await client.get("/v1/status")).status == 401


async def test_a_session_is_known_to_every_worker_with_its_key_and_ends_with_it(client_of):
    queries = CannedQueries()
    first = await client_of(application(keys=(KEY, OTHER)))
    (cookie,) = (await sign_in(first)).cookies.values()
    headers = {"Cookie": f"{session.COOKIE}={cookie.value}"}
    second = await client_of(application(keys=(OTHER, KEY)))
    assert (await second.get("/v1/status", headers=headers)).status == 200
    third = await client_of(application(queries, keys=(OTHER,)))
    assert (await third.get("/v1/trades", headers=headers)).status == 401
    assert queries.asked == []


@pytest.mark.parametrize("sites", ["cross-site", "same-site"])
async def test_what_another_origin_asks_is_not_answered_by_a_session(client_of, sites):
    client = await client_of(application(keys=(KEY,)))
    await sign_in(client)
    assert (await client.get("/v1/status", headers={"Sec-Fetch-Site": sites})).status == 401
    for own in ("same-origin", "none"):
        assert (await client.get("/v1/status", headers={"Sec-Fetch-Site": own})).status == 200


async def test_a_key_that_is_offered_counts_and_not_the_session_beside_it(client_of):
    client = await client_of(application(keys=(KEY,)))
    await sign_in(client)
    response = await client.get("/v1/status", headers={"X-API-Key": "wrong"})
    assert response.status == 401


@pytest.mark.parametrize(
    "forged",
    [
        "", "1", ".", "99999999999.", "9" * 400, "²³.00", "-1.00",
        f"99999999999.{'0' * 64}", session.token_of(b"x" * 32, 99_999_999_999),
    ],
)  # fmt: skip
async def test_a_forged_cookie_opens_nothing(client_of, forged):
    client = await client_of(application(keys=(KEY,)))
    headers = {"Cookie": f"{session.COOKIE}={forged}"}
    assert (await client.get("/v1/status", headers=headers)).status == 401


async def test_without_keys_there_is_no_session_to_open(client_of):
    client = await client_of(application())
    response = await client.post(session.PATH)
    assert response.status == 204
    assert response.cookies[session.COOKIE].value == ""


async def test_the_pages_files_need_no_key_and_are_kept_by_browsers(client_of):
    client = await client_of(application(keys=(KEY,)))
    index = await client.get("/")
    assert index.headers["Content-Security-Policy"].startswith("default-src 'self'; ")
    assert index.headers["Cache-Control"] == "no-cache"
    folder = f"{files.PREFIX}/{files.VERSION}"
    text = await index.text()
    assert f'src="{folder}/main.js"' in text
    assert files.PLACEHOLDER not in text
    for name in files.FILES:
        response = await client.get(f"{folder}/{name}")
        if name == files.INDEX:
            assert response.status == 404
            continue
        assert (response.status, response.headers["Cache-Control"]) == (200, files.FOREVER), name
        assert await response.read() == files.FILES[name]


@pytest.mark.parametrize(
    "name",
    ["", "nothing.js", "../files.py", "%2e%2e/files.py", "package.json",
     "vendor/lightweight-charts/LICENSE", "/etc/passwd"],
)  # fmt: skip
async def test_nothing_but_the_pages_files_can_be_asked_for(client_of, name):
    client = await client_of(application())
    response = await client.get(f"{files.PREFIX}/{files.VERSION}/{name}")
    assert response.status == 404


async def test_files_of_another_version_are_not_answered(client_of):
    client = await client_of(application())
    assert files.version_of({**files.FILES, "main.js": b""}) != files.VERSION
    assert (await client.get(f"{files.PREFIX}/0123456789abcdef/main.js")).status == 404
