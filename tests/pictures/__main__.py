"""`python -m pictures`: the README's picture of the page. `python -m pictures FOLDER`: every view.

The views are taken at three widths, light and dark, for whoever changes the page to look at.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import chromium
from page_node import KEY, PageNode
from PIL import Image

PICTURE = Path(__file__).parent.parent.parent / "docs/images/page.png"
SIZE = {"width": 1280, "height": 800}
#: As many as the eye needs: a quarter of the file's size.
COLOURS = 128
SYMBOL = f"symbol?key={KEY}&window=5m&interval=5s"
VIEWS = {
    "overview": "overview",
    "symbol": SYMBOL,
    "time-travel": f"time-travel?key={KEY}&window=5m",
    "replay": f"replay?key={KEY}&speed=max&from=2025-11-23T12:00:00&to=2025-11-23T12:02:00",
    "sql": "sql?full=true&query=SELECT symbol, side, count(*) AS trades FROM trades GROUP BY ALL",
    "operations": "operations",
}
WIDTHS = (390, 1024, 1920)
HEIGHT = 900
#: Two scrapes of the metrics make the rates of the overview.
RATES_MS = 11_000


@contextmanager
def shown(browser: Any, url: str, view: str, **context: Any) -> Iterator[Any]:
    """A page that is open at a view whose panels have their content."""
    opened = browser.new_context(**context)
    page = opened.new_page()
    page.goto(f"{url}/#/{view}")
    page.locator("main .panel:visible").first.wait_for()
    page.locator("main .panel[aria-busy]:visible").first.wait_for(state="detached")
    yield page
    opened.close()


def take(url: str, path: Path) -> None:
    """A picture of the symbol view at its address."""
    with (
        chromium.launched() as browser,
        shown(browser, url, SYMBOL, viewport=SIZE, color_scheme="light") as page,
    ):
        page.locator("#chart-about", has_text="The lake ends").wait_for(state="attached")
        page.locator(".spans li").wait_for()
        page.locator(".tape tbody tr").first.wait_for()
        page.screenshot(path=path)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(COLOURS).save(path, optimize=True)


def take_all(url: str, folder: Path) -> None:
    """A picture of each view, width and scheme, from top to bottom: `overview-390-dark.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    with chromium.launched() as browser:
        for name, view in VIEWS.items():
            for width in WIDTHS:
                for scheme in ("light", "dark"):
                    size = {"width": width, "height": HEIGHT}
                    with shown(browser, url, view, viewport=size, color_scheme=scheme) as page:
                        _fill(page, name)
                        page.screenshot(
                            path=folder / f"{name}-{width}-{scheme}.png", full_page=True
                        )


def _fill(page: Any, view: str) -> None:
    """Wait for, or ask for, what the view shows."""
    if view == "overview":
        page.wait_for_timeout(RATES_MS)
    elif view == "symbol":
        page.locator("#chart-about", has_text="The lake ends").wait_for(state="attached")
        page.locator(".tape tbody tr").first.wait_for()
    elif view == "replay":
        page.locator("button:enabled", has_text="Play").click()
        page.locator(".facts", has_text="checksum").wait_for()
    elif view == "sql":
        page.get_by_role("button", name="Run").click()
        page.wait_for_selector("text=Answered in")


def main(arguments: list[str]) -> None:
    """Start the node, take the pictures, end the node."""
    reason = chromium.why_not()
    if reason is not None:
        sys.exit(reason)
    with tempfile.TemporaryDirectory() as folder:
        node = PageNode(Path(folder))
        try:
            node.open_gap()
            if arguments:
                take_all(node.url, Path(arguments[0]))
            else:
                take(node.url, PICTURE)
        finally:
            node.close()


if __name__ == "__main__":
    main(sys.argv[1:])
