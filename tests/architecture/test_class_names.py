"""One name, one thing: no class of the product has the name of a class in another package."""

import ast
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def shared_names(sources: Iterable[tuple[str, str]]) -> set[str]:
    """Names of classes in more than one package, and public ones in more than one file.

    Args:
        sources: (package, text) of each file.
    """
    packages: defaultdict[str, list[str]] = defaultdict(list)
    for package, text in sources:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                packages[node.name].append(package)
    return {
        name
        for name, found in packages.items()
        if len(set(found)) > 1 or (len(found) > 1 and not name.startswith("_"))
    }


def _sources() -> list[tuple[str, str]]:
    package = ROOT / "k2_streams"
    own = [(file.relative_to(package).parts[0], file.read_text()) for file in package.rglob("*.py")]
    others = [
        (folder, file.read_text())
        for folder in ("topologies", "client/k2_client")
        for file in (ROOT / folder).rglob("*.py")
    ]
    return own + others


def test_no_class_name_is_used_twice():
    assert shared_names(_sources()) == set()


def test_a_name_used_twice_is_found():
    a, b = "class A:\n    class _B: pass", "class A: pass\nclass _B: pass"
    assert shared_names([("core", a), ("web", b)]) == {"A", "_B"}
    assert shared_names([("core", a), ("core", b)]) == {"A"}, "a file's own may be in another too"
    assert shared_names([("core", a), ("web", "class C: pass")]) == set()
