"""Every mutant, and the test that noticed it: `python -m mutants [NAME ...]`; `--write` a table.

Exit code 1 if one was not noticed.
"""

import argparse
import tempfile
from pathlib import Path

from mutants.harness import ROOT, Caught, caught
from mutants.registry import MUTANTS

TABLE = ROOT / "docs" / "mutants.md"
HEAD = """# Mutants

Builds in which one guarantee is broken on purpose, and the test that notices. Written by
`make mutants ARGS=--write`.

| mutant | what is broken | noticed by |
|---|---|---|
"""


def line(found: Caught) -> str:
    """A row of the table."""
    test = f"`{found.test}`" if found.test else "**nobody**"
    return f"| {found.mutant.name} | {found.mutant.broken} | {test} |"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="these alone")
    parser.add_argument("--write", action="store_true", help=f"write {TABLE.relative_to(ROOT)}")
    asked = parser.parse_args()
    lines, missed = [], []
    for mutant in MUTANTS:
        if asked.names and mutant.name not in asked.names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = caught(mutant, Path(folder))
        lines.append(line(found))
        print(lines[-1], flush=True)
        if found.test is None:
            missed.append(mutant.name)
    print(f"{len(lines) - len(missed)} of {len(lines)} noticed")
    if asked.write:
        TABLE.write_text(HEAD + "\n".join(lines) + "\n")
    if missed:
        print(f"not noticed: {', '.join(missed)}")
    return int(bool(missed))


if __name__ == "__main__":
    raise SystemExit(main())
