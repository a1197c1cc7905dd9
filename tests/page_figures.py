"""What a person who looks at the page waits for, and what it keeps: measured in the browser."""

import time
from dataclasses import dataclass
from typing import Any

from chromium import Visit
from page_node import KEY, PageNode

#: A produced trade is the last bar's close, which the page has drawn when it has put it into words.
SEEN = """
(() => {
  window.closes = {};
  const note = ({ textContent }) => {
    const [, close] = /C ([0-9.]+)/.exec(textContent) ?? [];
    if (close) window.closes[close] ??= Date.now();
  };
  const about = document.querySelector("#chart-about");
  new MutationObserver(() => note(about)).observe(about, { childList: true });
})()
"""
#: Rows per record while the page is open: about as many as a frame of a busy symbol has.
ROWS = 60
#: Between records, so that each is a frame of its own: the page asks for frames 100 ms apart.
FRAME_S = 0.1
#: Bars that the page keeps (`MAX_BARS` of model/bars.js): each second of the node's is one.
BARS_KEPT = 2_000
#: It keeps the scrapes of its last minute, too (model/history.js).
SCRAPES_KEPT_S = 75
#: Records of a frame while the page is filled.
AT_ONCE = 20
#: Between two looks; what is measured is the page's own time, which does not depend on them.
POLL_MS = 20.0
LONGEST_WAIT_S = 120.0


@dataclass(frozen=True)
class Heap:
    """Bytes that are used after a collection: at the start, and at the end of so many frames."""

    first: float
    last: float
    rows: int

    @property
    def ratio(self) -> float:
        return self.last / self.first


def _open(visit: Visit, window: str) -> Any:
    page = visit.open("symbol", key=KEY, window=window, interval="1s")
    page.wait_for_selector(".tape tbody tr")
    page.locator("#node", has_text="live").wait_for()
    return page


def _until(page: Any, expression: str, argument: object = None) -> Any:
    """Its value once it has one: the page's policy forbids what Playwright waits with."""
    deadline_s = time.monotonic() + LONGEST_WAIT_S
    while not (value := page.evaluate(expression, argument)):
        assert time.monotonic() < deadline_s, expression
        page.wait_for_timeout(POLL_MS)
    return value


def first_chart_ms(visit: Visit) -> float:
    """From the begin of the load to the first bars, by the page's own mark."""
    page = visit.open("symbol", key=KEY, window="5m", interval="5s")
    _until(page, "performance.getEntriesByName('chart').length")
    return float(page.evaluate("performance.getEntriesByName('chart')[0].startTime"))


def trade_ms(visit: Visit, node: PageNode, trades: int) -> list[float]:
    """Of each trade, from before it is appended to the log until it is on the chart."""
    page = _open(visit, "5m")
    page.evaluate(SEEN)
    delays = []
    for number in range(trades):
        price = f"{200 + number}.25"
        produced_ms = time.time() * 1000
        node.produce(price)
        drawn_ms = _until(page, "price => window.closes[price]", price)
        delays.append(drawn_ms - produced_ms)
    return delays


def heap(visit: Visit, node: PageNode, frames: int) -> Heap:
    """Of a page that gets so many frames, once it has as much as it keeps."""
    page = _open(visit, "1m")
    session = visit.context.new_cdp_session(page)
    _feed(page, node, BARS_KEPT + BARS_KEPT // 20, every_s=0.0)
    _until(page, f"performance.now() > {1000 * SCRAPES_KEPT_S}")
    first = _used(session)
    _feed(page, node, frames, every_s=FRAME_S)
    return Heap(first, _used(session), frames * ROWS)


def _feed(page: Any, node: PageNode, frames: int, *, every_s: float) -> None:
    for number in range(frames):
        price = f"{500 + number % 400}.5"
        node.produce(price, ROWS)
        if every_s or number % AT_ONCE == 0:
            page.wait_for_timeout(1000 * max(every_s, FRAME_S))
    # All of them are drawn: a page that has fallen behind would keep what it has not drawn.
    price = "499.5"
    node.produce(price, ROWS)
    about = page.locator("#chart-about", has_text=f"C {price}")
    about.wait_for(state="attached", timeout=1000 * LONGEST_WAIT_S)


def _used(session: Any) -> float:
    for _ in range(2):  # what the first one has finalized is collected by the second
        session.send("HeapProfiler.collectGarbage")
    return float(session.send("Runtime.getHeapUsage")["usedSize"])
