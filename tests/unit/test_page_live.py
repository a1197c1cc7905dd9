"""The page over time: what it shows, and what it keeps. `python -m bench page` has the figures."""

import chromium
import page_figures
import pytest
from chromium import Visit
from page_node import PageNode

REASON = chromium.why_not()
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
]

TRADES, FRAMES = 200, 600
#: What a page that keeps nothing of what it no longer shows may differ by.
MOST = 1.10


@pytest.fixture
def node(tmp_path):
    running = PageNode(tmp_path)
    yield running
    running.close()


@pytest.fixture
def visit(node):
    with chromium.launched() as browser:
        one = Visit(browser, node.url)
        yield one
        one.context.close()


def test_the_first_chart_is_marked_once_and_nothing_is_wrong(visit):
    page_figures.first_chart_ms(visit)
    assert visit.page.evaluate("performance.getEntriesByName('chart').length") == 1
    visit.check()


def test_each_of_many_trades_is_on_the_chart(visit, node):
    assert len(page_figures.trade_ms(visit, node, TRADES)) == TRADES
    visit.check()


def test_a_page_that_stays_open_keeps_no_more_than_at_the_start(visit, node):
    used = page_figures.heap(visit, node, FRAMES)
    assert used.ratio < MOST, used
