"""The page in Chromium (`make browser`): first chart, produced trade to chart, heap over frames.

The node is that of the page's tests: a lake, a tail, no Kafka. The delay of a trade is that of
tail, stream and page; what Kafka and the worker add is in `freshness`.
"""

import sys
import tempfile
from pathlib import Path

from bench.stage import percentile

TESTS = Path(__file__).parent.parent / "tests"
LOADS = 20


def run(trades: int = 200, frames: int = 1_000) -> dict[str, float]:
    """Measure each in a browser window of its own."""
    sys.path.insert(0, str(TESTS))
    import chromium  # noqa: PLC0415 - of the tests' folder
    import page_figures  # noqa: PLC0415
    from page_node import PageNode  # noqa: PLC0415

    reason = chromium.why_not()
    if reason is not None:
        sys.exit(reason)
    with tempfile.TemporaryDirectory() as folder, chromium.launched() as browser:
        node = PageNode(Path(folder))
        try:
            loads = []
            for _ in range(LOADS):
                visit = chromium.Visit(browser, node.url)
                loads.append(page_figures.first_chart_ms(visit))
                visit.context.close()
            delays = page_figures.trade_ms(chromium.Visit(browser, node.url), node, trades)
            used = page_figures.heap(chromium.Visit(browser, node.url), node, frames)
        finally:
            node.close()
    return {
        "first chart p50 ms": percentile(loads, 0.5),
        "first chart max ms": max(loads),
        "trade on the chart p50 ms": percentile(delays, 0.5),
        "trade on the chart p99 ms": percentile(delays, 0.99),
        "rows while open": used.rows,
        "heap at the start MiB": used.first / 2**20,
        "heap at the end, of that at the start": used.ratio,
    }
