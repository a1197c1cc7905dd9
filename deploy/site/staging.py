"""The documents as Zensical takes them."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

#: Beside docs/: what its pages link to.
BESIDE = ("*.md", "client/README.md", "examples/*.md")
#: A fence opens with a language, and then with what a test does with the block.
_FENCE = re.compile(r"^( *```\w+) .*$", re.MULTILINE)


def documents(root: Path) -> Iterator[Path]:
    """Every page and picture of a checkout, relative to its root."""
    for pattern in ("docs/**/*", *BESIDE):
        yield from (found.relative_to(root) for found in root.glob(pattern) if found.is_file())


def stage(root: Path, folder: Path) -> None:
    """Copy the documents of a checkout into an empty folder; links between them stay as they are.

    What only a test reads in the first line of a block is left out: Zensical would not take the
    block for one.
    """
    for path in documents(root):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            target.write_text(_FENCE.sub(r"\1", (root / path).read_text()))
        else:
            shutil.copyfile(root / path, target)
