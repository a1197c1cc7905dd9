"""What was compared, and what differed: collected without a bound on the count, but on the text."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

ROWS_LOST, ROWS_TWICE = "sql: rows lost", "sql: rows twice"
#: Differences kept of a check; how many more there were is counted.
MAX_KEPT = 200


@dataclass(slots=True)
class Check:
    """One comparison: a figure on each side, and what differs in detail."""

    name: str
    expected: int
    found: int
    differences: list[str] = field(default_factory=list)
    count: int = 0  # of differences, kept or not
    note: str = ""  # why it was not made, or how far it reaches

    def differ(self, text: str) -> None:
        """Note a difference."""
        self.count += 1
        if len(self.differences) < MAX_KEPT:
            self.differences.append(text)

    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return not self.count and self.expected == self.found


def write_report(path: Path, sent: int, checks: Sequence[Check]) -> None:
    """The checks as JSON, for programs: how many records, what differs, rows lost and doubled."""
    found = {check.name: check.found for check in checks}
    report = {
        "sent": sent,
        "agrees": all(check.agrees for check in checks),
        "lost": found.get(ROWS_LOST),
        "doubled": found.get(ROWS_TWICE),
        "checks": [
            {
                "name": check.name,
                "agrees": check.agrees,
                "expected": check.expected,
                "found": check.found,
                "differences": check.differences,
            }
            for check in checks
        ],
    }
    path.write_bytes(msgspec.json.encode(report))


def show(console: Console, checks: list[Check], limit: int) -> bool:
    """Print the checks and up to `limit` differences; whether all agree."""
    table = Table(title="compared with the truth", title_justify="left")
    table.add_column("what")
    table.add_column("expected", justify="right")
    table.add_column("found", justify="right")
    table.add_column("")
    for check in checks:
        verdict = "[green]agrees[/]" if check.agrees else "[bold red]differs[/]"
        table.add_row(
            check.name,
            f"{check.expected:,}",
            f"{check.found:,}",
            f"{verdict} {check.note}".rstrip(),
        )
    console.print(table)
    left = limit
    for check in checks:
        if check.agrees:
            continue
        console.print(f"[bold]{check.name}[/]: {max(check.count, 1):,} differences")
        for text in check.differences[: max(left, 0)]:
            console.print(f"  {text}", markup=False, highlight=False, soft_wrap=True)
            left -= 1
        if check.count > len(check.differences) or left < 0:
            console.print("  ...")
    return all(check.agrees for check in checks)
