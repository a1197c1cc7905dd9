"""Takes the picture of the page for the README: one symbol of a node, a gap, lake and tail."""

import sys
import tempfile
from pathlib import Path

import chromium
from page_node import KEY, PageNode
from PIL import Image

PICTURE = Path(__file__).parent.parent.parent / "docs/images/page.png"
SIZE = {"width": 1280, "height": 800}
#: As many as the eye needs: a quarter of the file's size.
COLOURS = 128


def take(url: str, path: Path) -> None:
    """A picture of the symbol view at its address."""
    with chromium.launched() as browser:
        context = browser.new_context(viewport=SIZE, color_scheme="light")
        page = context.new_page()
        page.goto(f"{url}/#/symbol?key={KEY}&window=5m&interval=5s")
        page.locator("#chart-about", has_text="The lake ends").wait_for(state="attached")
        page.locator(".spans li").wait_for()
        page.locator(".tape tbody tr").first.wait_for()
        page.screenshot(path=path)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(COLOURS).save(path, optimize=True)


def main() -> None:
    """Start the node, take the picture, end the node."""
    reason = chromium.why_not()
    if reason is not None:
        sys.exit(reason)
    with tempfile.TemporaryDirectory() as folder:
        node = PageNode(Path(folder))
        try:
            node.open_gap()
            take(node.url, PICTURE)
        finally:
            node.close()


if __name__ == "__main__":
    main()
