"""What `k2 produce` says at its end."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from k2_streams.kafka.sender import Sent
from k2_streams.testing.load.sending import Outcome
from k2_streams.testing.oracle.model import Expected, SessionTruth


def report(
    console: Console,
    sessions: Sequence[SessionTruth],
    expected: Expected,
    outcome: Outcome,
    sent: Mapping[int, Sent],
    truth: Path | None,
    resets_missed: int,
) -> None:
    """Print what was sent and what must come of it."""
    table = Table(title="sent", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    figures = {
        "records": outcome.handed_over,
        "scopes": len({session.scope for session in sessions}),
        "rows to come": sum(session.count for session in sessions),
        "known messages without a trade": expected.controls,
        "repeated numbers": sum(session.duplicate_count for session in sessions),
        "gaps opened": sum(len(session.opened) for session in sessions),
        "gaps filled": sum(len(session.filled) for session in sessions),
        "ranges abandoned": sum(len(session.abandoned) for session in sessions),
        "late numbers": sum(
            last - first + 1 for session in sessions for first, last in session.late_events
        ),
        "sessions begun anew": sum(session.reset is not None for session in sessions),
        "records for the dead letter topic": expected.reasons.total(),
    }
    for name, figure in figures.items():
        table.add_row(name, f"{figure:,}")
    table.add_row("in seconds", f"{outcome.elapsed_s:,.1f}")
    table.add_row("records a second", f"{outcome.rate:,.0f}")
    ends = ",".join(f"{partition}:{one.next}" for partition, one in sorted(sent.items()))
    table.add_row("raw offsets reached", ends)
    console.print(table)
    if resets_missed:
        console.print(
            f"{resets_missed} resets found no place: there are too few messages a symbol for them"
        )
    if truth:
        console.print(f"truth written to {truth}", soft_wrap=True)
