"""The page's modules: decisions know no browser, imports point one way, vendored code is unchanged.

main > views > dom, api > model > format, store, router
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import pytest

ASSETS = Path(__file__).parent.parent.parent / "k2_streams/web/page/assets"
#: What a module of a folder may import, by the first part of the path. A module that lies in no
#: folder is its own.
ALLOWED = {
    "main.js": {"api", "dom", "model", "router.js", "store.js", "views"},
    "views": {"api", "dom", "format.js", "model", "views"},
    "dom": {"dom", "format.js", "model", "router.js", "vendor"},
    "api": {"api", "dom/poll.js"},
    "model": {"api/json.js", "format.js", "model"},
    "format.js": set(),
    "store.js": set(),
    "router.js": set(),
}
#: Names of a browser that a decision does not know.
BROWSER = re.compile(
    r"\b(?:document|localStorage|sessionStorage|fetch|navigator|window(?=\.))\b(?!:)"
)
PURE = ("model", "format.js", "store.js", "router.js")
#: Text that becomes HTML or code is how a record's text would run as a script.
UNSAFE = re.compile(
    r"\b(?:innerHTML|outerHTML|insertAdjacentHTML|eval|document\.write|new Function)\b"
)
IMPORT = re.compile(r'^import [^;]*? from "([^"]+)";|^import "([^"]+)";', re.MULTILINE | re.DOTALL)


def home_of(name: str) -> str:
    return name.split("/", maxsplit=1)[0]


def resolved(name: str, imported: str) -> str:
    parts: list[str] = []
    for part in (PurePosixPath(name).parent / imported).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def problems_of(modules: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with modules, by their path below the assets."""
    for name, text in sorted(modules.items()):
        code = re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)
        for pair in IMPORT.findall(text):
            target = resolved(name, "".join(pair))
            if not {home_of(target), target} & ALLOWED[home_of(name)]:
                yield f"{name} imports {target}"
            if home_of(target) != "vendor" and target not in modules:
                yield f"{name} imports {target}, which does not exist"
        if home_of(name) in PURE and BROWSER.search(code):
            yield f"{name} knows the browser: {BROWSER.search(code)}"
        if UNSAFE.search(code):
            yield f"{name} makes code or HTML of text"


def modules() -> dict[str, str]:
    found = {path.relative_to(ASSETS).as_posix(): path.read_text() for path in ASSETS.rglob("*.js")}
    return {name: text for name, text in found.items() if home_of(name) != "vendor"}


def test_modules_of_the_page_keep_their_order():
    found = modules()
    assert len(found) > 20
    assert list(problems_of(found)) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("model/bars.js", 'import { h } from "../dom/elements.js";'),
        ("dom/panel.js", 'import { symbolView } from "../views/symbol.js";'),
        ("dom/panel.js", 'import {\n  createApi,\n} from "../api/api.js";'),
        ("format.js", 'import { fold } from "./model/bars.js";'),
        ("views/symbol.js", 'import { nothing } from "../dom/nothing.js";'),
        ("model/bars.js", "const place = document.body;"),
        ("views/sql.js", "rows.innerHTML = text;"),
        ("api/api.js", "const answer = eval(text);"),
    ],
)
def test_a_module_that_breaks_a_rule_is_found(name, text):
    assert list(problems_of({**modules(), name: text}))


def test_a_module_that_each_rule_allows_is_not_found():
    text = '// document\nimport { parseJson } from "../api/json.js";\nconst fetched = 1;'
    assert list(problems_of({**modules(), "model/bars.js": text})) == []


def test_vendored_code_is_what_its_checksums_say_and_has_its_licence():
    folder = ASSETS / "vendor/lightweight-charts"
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}
    assert set(sums) == {"lightweight-charts.js", "LICENSE"}
    for name, digest in sums.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
    assert "Apache License" in (folder / "LICENSE").read_text()
    notice = (folder / "NOTICE").read_text()
    assert "https://www.tradingview.com/" in notice
    index = (ASSETS / "index.html").read_text()
    assert "https://www.tradingview.com/" in index, "the licence asks for the link"
    assert re.search(r"<script(?![^>]* src=)|<style|style=| on\w+=", index) is None
