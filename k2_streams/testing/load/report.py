"""What `k2 produce` prints at its end."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from k2_streams.kafka.sender import Sent
from k2_streams.testing.load.sending import SendOutcome
from k2_streams.testing.oracle.model import Expected, SessionTruth


def report(
    console: Console,
    sessions: Sequence[SessionTruth],
    expected: Expected,
    outcome: SendOutcome,
    sent: Mapping[int, Sent],
    truth: Path | None,
    resets_missed: int,
) -> None:
    """Print what was sent and the expected results."""
    table = Table(title="sent", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    figures = {
        "records": outcome.handed_over,
        "scopes": len({session.scope for session in sessions}),
        "rows to come": sum(session.count for session in sessions),
        "control messages": expected.controls,
        "repeated sequence numbers": sum(session.duplicate_count for session in sessions),
        "gaps opened": sum(len(session.opened) for session in sessions),
        "gaps filled": sum(len(session.filled) for session in sessions),
        "ranges abandoned": sum(len(session.abandoned) for session in sessions),
        "late sequence numbers": sum(
            last - first + 1 for session in sessions for first, last in session.late_events
        ),
        "new sessions": sum(session.reset is not None for session in sessions),
        "records for the dead letter topic": expected.reasons.total(),
    }
    for name, figure in figures.items():
        table.add_row(name, f"{figure:,}")
    table.add_row("in seconds", f"{outcome.elapsed_s:,.1f}")
    table.add_row("records per second", f"{outcome.rate:,.0f}")
    ends = ",".join(f"{partition}:{one.next}" for partition, one in sorted(sent.items()))
    table.add_row("raw offsets reached", ends)
    console.print(table)
    if resets_missed:
        console.print(
            f"{resets_missed} resets were not made: there are too few messages per symbol"
        )
    if truth:
        console.print(f"truth written to {truth}", soft_wrap=True)
