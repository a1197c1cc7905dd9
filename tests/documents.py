"""The documents as tests read them: fenced blocks with their info strings, links and headings.

A block's info string says what a test does with it: `LANGUAGE [KEY=VALUE ...]`.

- `python`: a unit test runs it. `file=NAME` writes it to a module that later blocks may import.
- `sh run=kafka`, `python run=kafka`: the integration test follows it, on a worker.
- `python run=notebook`: `tests/integration/test_notebook.py` runs the page's blocks as one program.
- `python run=sketches`: `tests/unit/test_sketches_app.py` runs the page's blocks on sketches.
- `sh run=kafka-end`: the same, after the blocks of all pages.
- `sh run=runbook`: `make runbooks` runs it when the alert of its page fires.
- `sh run=adopt`: `tests/integration/test_adopt.py` follows it, on a broker that was lost.
- `sh run=never reason=NAME`: not run, for one of `REASONS`; its commands are still checked.
- `json`, `csv`, `toml`, `text`: data. `java`, `sql`: a test of the page compiles or runs it.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: Why a block is not run.
REASONS = {
    "make": "installs packages, or runs for minutes: another test or target runs it",
    "minutes": "takes minutes",
    "foreground": "starts a worker that runs until it is stopped",
    "cluster": "needs a cluster, a catalog or an object store of the reader",
    "recording": "needs recordings that are not part of the repository",
    "deletes": "deletes data",
    "operator": "looks at a worker whose alert fires",
    "developer": "changes the checkout, or needs the network",
}
DATA = {"json", "csv", "toml", "text", "java", "sql"}
KEYS = {"run", "reason", "file"}


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is, its language, its options, its text."""

    page: Path
    line: int
    language: str
    options: dict[str, str]
    text: str

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def run(self) -> str | None:
        return self.options.get("run")


def pages() -> list[Path]:
    """Every document that people read on the repository's site."""
    return [
        *sorted(ROOT.glob("*.md")),
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted((ROOT / "examples").glob("*.md")),
        ROOT / "client" / "README.md",
    ]


@cache
def blocks(page: Path) -> tuple[Block, ...]:
    """A page's fenced blocks, in order; a fence may be indented (in a list)."""
    found, opened = [], None
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = re.match(r"( *)```(.*)$", line)
        if fence and opened is None:
            opened = (number, len(fence[1]), fence[2].split(), [])
        elif fence:
            at, indent, info, lines = opened
            text = "".join(f"{one[indent:]}\n" for one in lines)
            options = dict(part.partition("=")[::2] for part in info[1:])
            found.append(Block(page, at, info[0] if info else "", options, text))
            opened = None
        elif opened is not None:
            opened[3].append(line)
    assert opened is None, f"{page}: a fence is not closed"
    return tuple(found)


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^( *)```.*?^\1```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
        if found[slug]:
            found[f"{slug}-{found[slug]}"] = 0
    return set(found)


def links(page: Path) -> list[str]:
    """The targets of a page's links."""
    without_code = re.sub(r"`[^`\n]*`", "", prose(page))
    return re.findall(r"\[[^]]*\]\(([^)\s]+)\)", without_code)


def commands(block: Block) -> list[str]:
    """The commands of K2's own tools in a shell block, without variables and comments."""
    joined = re.sub(r"\\\n\s*", " ", block.text)
    found = []
    for line in joined.splitlines():
        for part in re.split(r"\s&&\s|\s\|\s|;\s", re.sub(r"(^|\s)#.*$", "", line)):
            text = re.sub(r"^(?:[A-Z0-9_]+=\S*\s+)+", "", part.strip())
            if text.startswith(("k2 ", "make ", "faust ", "python -m ", ".venv/bin/python -m ")):
                found.append(text.removeprefix(".venv/bin/"))
    return found
