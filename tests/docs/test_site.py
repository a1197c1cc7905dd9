"""The documents make a site without a warning, and a reader's browser asks no other host."""

import re
import shutil
from pathlib import Path

import pytest

from deploy.site import staging
from deploy.site.__main__ import ROOT, build

#: What a browser fetches by itself. A link is followed by a reader.
FETCHED = re.compile(
    r"""<(?:script|img|link|iframe|source)\b[^>]*?(?:src|href)=["']?((?:https?:)?//[^"'\s>]+)"""
)
EVERY = sorted(staging.documents(ROOT))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = build(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


def test_every_document_is_a_page_of_the_site(site):
    pages = {path.with_suffix(".html") for path in EVERY if path.suffix == ".md"}
    # A folder's README is its first page.
    expected = {path.with_name(path.name.replace("README", "index")) for path in pages}
    found = {path.relative_to(site) for path in site.rglob("*.html")}
    assert len(expected) > 100
    assert expected <= found


def test_a_page_fetches_nothing_from_another_host(site):
    fetched = {
        (str(page.relative_to(site)), address)
        for page in site.rglob("*.html")
        for address in FETCHED.findall(page.read_text())
    }
    assert not fetched


def test_blocks_are_blocks_whatever_a_test_does_with_them(site):
    page = (site / "docs" / "how-to" / "maintain-the-lake.html").read_text()
    assert "```" not in page
    assert 'id="tags-and-holds"' in page


def test_a_link_to_a_page_that_is_not_there_fails_the_build(monkeypatch, tmp_path):
    def spoiled(root: Path, folder: Path) -> None:
        folder.mkdir(parents=True)
        shutil.copyfile(root / "README.md", folder / "README.md")

    monkeypatch.setattr("deploy.site.__main__.stage", spoiled)
    done = build(tmp_path)
    assert done.returncode == 1
    assert "page does not exist" in done.stdout + done.stderr
