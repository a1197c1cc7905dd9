"""The page in a real browser: what it shows, what it asks, and that everybody can use it."""

import re

import chromium
import pytest
from chromium import Visit
from lake_rows import NOON_NS
from page_node import KEY, SECOND_NS, PageNode

from k2_streams.testing.waiting import wait_until

REASON = chromium.why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

VIEWS = ("overview", "symbol", "time-travel", "replay", "sql", "operations")
API_KEY = "k-of-a-desk"
#: Of a span of two bars, over the height of a chart.
MANY_PIXELS = 2_000


@pytest.fixture(scope="module")
def browser():
    with chromium.launched() as running:
        yield running


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    running = PageNode(tmp_path_factory.mktemp("page"))
    yield running
    running.close()


@pytest.fixture
def visit(browser, node):
    visits = []

    def make(url=None, **context):
        visits.append(Visit(browser, url or node.url, **context))
        return visits[-1]

    yield make
    for one in visits:
        one.context.close()


def open_view(visit, view):
    page = visit.open(view, **({"key": KEY} if view in {"symbol", "time-travel"} else {}))
    page.locator("main .panel:visible").first.wait_for()
    page.locator("main .panel[aria-busy]:visible").first.wait_for(state="detached")
    if view == "symbol":
        page.wait_for_selector(".chart canvas")
    return page


def wait_for(page, place, text):
    """Until the element says so."""
    page.locator(place, has_text=text).first.wait_for(state="attached")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
@pytest.mark.slow
def test_every_view_opens_without_an_error_and_can_be_used_by_everybody(visit, scheme, width):
    """axe-core finds nothing serious, at the width of a desk and of a phone."""
    script = chromium.axe()
    one = visit(color_scheme=scheme, viewport={"width": width, "height": 844})
    for view in VIEWS:
        page = open_view(one, view)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view
        if script is None:
            continue  # skipped below, once all that needs no axe-core has been seen
        # As a tool would: past the policy, which lets no script of a string in.
        page.evaluate(script.read_text())
        found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        serious = [
            (rule["id"], [part["html"] for part in rule["nodes"]])
            for rule in found
            if rule["impact"] in {"serious", "critical"}
        ]
        assert serious == [], view
    one.check()
    if script is None:
        pytest.skip("no axe-core: `make browser` fetches it")


def shaded_pixels(page):
    """How many pixels of the chart have the tone of the hatch, which nothing else in it has."""
    return page.evaluate(
        """[...document.querySelectorAll('.chart canvas')].reduce((sum, canvas) => {
          const { width, height } = canvas;
          const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
          for (let at = 0; at < data.length; at += 4) {
            const toneOf = data[at] - data[at + 2];
            if (data[at] > 200 && toneOf > 8 && toneOf < 30) sum += 1;
          }
          return sum;
        }, 0)"""
    )


def test_a_chart_has_bars_shades_a_gap_and_clears_it_when_it_is_filled(visit, node):
    one = visit(viewport={"width": 1440, "height": 900})
    page = one.open("symbol", key=KEY, window="5m", interval="5s")
    page.wait_for_selector(".chart canvas")
    wait_for(page, "#chart-about", "The lake ends at 12:01:59")
    about = page.locator("#chart-about").text_content()
    assert "0 incomplete spans" in about
    clear = shaded_pixels(page)
    node.open_gap()
    page.wait_for_selector(".spans li")
    assert page.locator(".spans li").all_text_contents() == ["12:01:35 to 12:01:45: 997 missing"]
    assert page.get_by_text("Not known to be complete").is_visible()
    assert (
        page.get_by_role("region", name="Gaps").locator("tbody td").first.text_content() == "open"
    )
    wait_until(lambda: shaded_pixels(page) > clear + MANY_PIXELS, "the hatch, at the next frame")
    node.fill_gap()
    page.locator(".spans li").wait_for(state="detached")
    page.locator(".proof .verdict", has_text=re.compile("^Complete")).wait_for()
    wait_until(lambda: shaded_pixels(page) < clear + MANY_PIXELS / 10, "the chart without it")
    one.check()


def put_in(one, path, rows):
    """As if the node had a ledger: its description, and its rows."""

    def describe(route):
        described = route.fetch().json()
        described["paths"][path] = {"get": {"parameters": []}}
        route.fulfill(json=described)

    one.page.route("**/v1/openapi.json", describe)
    one.page.route(
        re.compile(re.escape(path) + r"(\?.*)?$"), lambda at: at.fulfill(json={"data": rows})
    )


def test_operations_list_what_became_of_repairs(visit):
    one = visit()
    asked = {
        "symbol": "BHP",
        "first": 11,
        "last": 20,
        "asked": 10,
        "filled": 9,
        "by": "an operator",
    }
    put_in(one, "/v1/repairs", [{"repair_id": "r-1", **asked}])
    page = one.open("operations")
    wait_for(page, "section.panel:has(h2:text-is('Repairs')) tbody tr", "r-1")
    row = page.locator("section.panel:has(h2:text-is('Repairs')) tbody tr").text_content()
    assert "an operator" in row
    one.check()


def test_a_raised_level_is_a_band_over_its_bars(visit):
    one = visit()
    change = {"worker": "w", "previous": "NORMAL", "level": "GRACEFUL"}
    put_in(one, "/v1/levels", [{**change, "time_ns": NOON_NS + 60 * SECOND_NS}])
    page = one.open("symbol", key=KEY, window="5m", interval="5s")
    wait_for(page, ".spans li", "12:01:00 to")
    assert "level GRACEFUL" in page.locator(".spans li").first.text_content()
    one.check()


def test_a_trade_that_is_produced_appears(visit, node):
    one = visit()
    page = one.open("symbol", key=KEY, window="5m", interval="1s")
    page.wait_for_selector(".tape tbody tr")
    wait_for(page, "#node", "live")
    node.produce("123.45")
    wait_for(page, ".tape tbody", "123.45")
    wait_for(page, "#chart-about", "C 123.45")
    one.check()


def test_another_symbol_shows_nothing_of_the_one_before(visit):
    one = visit()
    page = one.open("symbol", key=KEY, window="5m")
    page.wait_for_selector(".tape tbody tr")
    page.get_by_label("Symbol", exact=True).fill("SYN:NOPE")
    page.keyboard.press("Enter")
    page.wait_for_selector(".problem")
    assert "NOPE" in page.locator(".problem").first.text_content()
    assert not page.locator(".chart").is_visible()
    assert not page.locator(".tape tbody tr").first.is_visible()


def test_two_read_points_are_compared(visit):
    page = open_view(visit(), "time-travel")
    wait_for(page, ".verdict", "They differ")
    slider = page.get_by_label("Snapshot, the oldest at the left")
    assert slider.get_attribute("max") == "2"
    page.get_by_label("Read point").first.select_option("now")
    wait_for(page, ".note", "Both answers are the same")


def test_the_past_is_played_again_and_ends_with_its_count(visit):
    one = visit()
    span = {"from": "2025-11-23T12:00:00", "to": "2025-11-23T12:01:00"}
    page = one.open("replay", key=KEY, speed="max", **span)
    page.locator("button:enabled", has_text="Play").click()
    wait_for(page, ".facts", "180 rows, checksum")
    assert page.locator(".clock").text_content() == "2025-11-23 12:00:59.500"
    one.check()


def test_a_statement_is_run_and_its_rows_have_a_proof(visit):
    one = visit()
    page = open_view(one, "sql")
    page.get_by_label("Statement").fill("SELECT symbol, count(*) AS n FROM trades GROUP BY symbol")
    page.get_by_label("Read all of a relation").check()
    page.keyboard.press("Tab")
    page.get_by_label("Statement").press("Control+Enter")
    page.wait_for_selector("text=1 row")
    cells = page.get_by_role("region", name="Rows of the answer").locator("td").all_text_contents()
    assert cells[0] == "AAA"
    assert int(cells[1]) >= 540
    assert page.locator(".token").text_content().startswith("trades:")
    page.get_by_label("Statement").fill("SELECT nothing")
    page.get_by_role("button", name="Run").click()
    page.wait_for_selector(".problem")
    assert not page.get_by_role("region", name="Rows of the answer").is_visible()


def test_the_statement_that_the_view_begins_with_is_answered(visit):
    one = visit()
    page = open_view(one, "sql")
    page.get_by_role("button", name="Run").click()
    page.wait_for_selector("text=Answered in")
    assert page.locator(".problem:visible").count() == 0
    one.check()


def test_views_are_reached_by_keys_and_a_dialog_says_which(visit):
    page = open_view(visit(), "overview")
    for key, view in zip("123456", VIEWS, strict=True):
        page.keyboard.press(key)
        page.locator(f"nav a[aria-current=page][href='#/{view}']").wait_for()
        assert page.locator("nav a[aria-current=page]").count() == 1
    page.keyboard.press("2")
    page.locator("main .key").first.wait_for()
    page.keyboard.press("/")
    page.wait_for_function("document.activeElement.matches('.key')")
    page.locator("main").focus()
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keyboard shortcuts").wait_for()


def test_a_browser_signs_in_once_and_opens_what_a_key_opens(browser, tmp_path):
    node = PageNode(tmp_path, keys=(API_KEY,))
    one = Visit(browser, node.url)
    try:
        page = one.open("symbol", key=KEY)
        page.get_by_role("button", name="Sign in").first.click()
        dialog = page.get_by_role("dialog", name="Sign in")
        dialog.get_by_label("API key").fill("wrong")
        dialog.get_by_role("button", name="Sign in").click()
        page.wait_for_selector("text=The node does not know this key.")
        dialog.get_by_label("API key").fill(API_KEY)
        dialog.get_by_role("button", name="Sign in").click()
        page.wait_for_selector(".chart canvas")
        page.wait_for_selector(".tape tbody tr")
        kept = page.evaluate(
            "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"
        )
        assert API_KEY not in kept
        assert "k2_session" not in kept, "a script can read the session"
        page.reload()
        page.wait_for_selector(".tape tbody tr")
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_selector("text=This node asks for an API key.")
        assert one.hosts == {node.url.split("/")[2]}
    finally:
        one.context.close()
        node.close()


def test_a_node_that_goes_away_is_not_shown_as_ready(browser, tmp_path):
    node = PageNode(tmp_path)
    one = Visit(browser, node.url)
    page = one.open("overview")
    page.wait_for_selector("#node >> text=Ready")
    node.close()
    page.wait_for_selector("#node >> text=No answer")
    assert "Ready" not in page.locator("#node").text_content()
    wait_for(page, ".problem", "What is shown is from")
    one.context.close()
