"""Every relative link of the documentation leads to a file, and every anchor to a heading."""

import re

from documents import ROOT, anchors, links, pages


def broken(page, target: str) -> str | None:
    """Why a link leads nowhere; None: it does not."""
    if re.match(r"[a-z]+:", target):
        return None
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.exists():
        return f"{target}: there is no {path}"
    if anchor and anchor not in anchors(file):
        return f"{target}: {file.name} has no heading {anchor}"
    return None


def missing(page) -> set[str]:
    """Files that a text names and that do not exist.

    Named in code style, from the root of the repository or from that of the package.
    """
    named = set(re.findall(r"`([a-z0-9_]+/[\w./-]+\.(?:py|md|toml|yaml))\b", page.read_text()))
    bases = (ROOT, ROOT / "k2_streams")
    return {name for name in named if not any((base / name).is_file() for base in bases)}


def test_links_lead_somewhere():
    found = {page: [broken(page, target) for target in links(page)] for page in pages()}
    assert {page: why for page, each in found.items() if (why := list(filter(None, each)))} == {}


def test_files_that_the_text_names_exist():
    now = [page for page in pages() if page.name != "CHANGELOG.md"]  # that one has past versions
    assert {page: names for page in now if (names := missing(page))} == {}


def test_every_page_is_reached_from_the_readme():
    seen, left = set(), [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        for target in links(page):
            if not re.match(r"[a-z]+:", target):
                found = (page.parent / target.partition("#")[0]).resolve()
                left += sorted(found.glob("*.md")) if found.is_dir() else [found]
    assert set(pages()) - seen == set()


def test_a_link_that_leads_nowhere_is_found():
    page = ROOT / "README.md"
    assert broken(page, "docs/nothing.md")
    assert broken(page, "docs/README.md#nothing")
    assert broken(page, "docs/README.md#how-to-guides") is None
    assert broken(page, "https://example.com/x") is None


def test_a_file_that_does_not_exist_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("`web/nothing.py`, `web/server.py`, `docs/README.md`")
    assert missing(page) == {"web/nothing.py"}


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 180
