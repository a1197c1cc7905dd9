"""Every mutant, and the test that noticed it: `python -m mutants [NAME ...]`.

`--write` updates the rows of those mutants in the table; other rows stay. Exit code 1 if one was
not noticed.
"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mutants.harness import ROOT, Caught, caught
from mutants.registry import MUTANTS

TABLE = ROOT / "docs" / "contributing" / "mutants.md"
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


def updated(table: str, rows: Mapping[str, str]) -> str:
    """The table with these rows, by name of the mutant, in the registry's order.

    A mutant without a new row keeps the one it has; rows of mutants that no longer exist go.
    """
    known = {
        row.split(" | ")[0].removeprefix("| "): row
        for row in table.splitlines()
        if row.startswith("| ")
    }
    every = known | rows
    return HEAD + "".join(every[one.name] + "\n" for one in MUTANTS if one.name in every)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="these alone")
    parser.add_argument("--write", action="store_true", help=f"update {TABLE.relative_to(ROOT)}")
    asked = parser.parse_args()
    rows: dict[str, str] = {}
    missed = []
    for mutant in MUTANTS:
        if asked.names and mutant.name not in asked.names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = caught(mutant, Path(folder))
        rows[mutant.name] = line(found)
        print(rows[mutant.name], flush=True)
        if found.test is None:
            missed.append(mutant.name)
    print(f"{len(rows) - len(missed)} of {len(rows)} noticed")
    if asked.write:
        TABLE.write_text(updated(TABLE.read_text(), rows))
    if missed:
        print(f"not noticed: {', '.join(missed)}")
    return int(bool(missed))


if __name__ == "__main__":
    raise SystemExit(main())
