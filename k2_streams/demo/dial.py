"""The live table of the flow: redrawn in place for a person, one line per interval for a log."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from k2_streams.demo.pictures import curve

#: Between two lines where there is no terminal.
LINE_INTERVAL_S = 3.0
#: A look that is older says nothing of now.
OLD_AFTER_S = 2.0


@dataclass(frozen=True, slots=True)
class FlowSample:
    """One look at a worker."""

    at_s: float  # of the story
    watermark: Mapping[int, int]  # per raw partition the next offset that no answer holds
    lag: int  # raw records that wait
    tail_rows: int
    lake_rows: int
    level: str

    @property
    def processed(self) -> int:
        """Raw records whose outcome can be seen."""
        return sum(self.watermark.values())


class FlowDial:
    """Use as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._line_at = 0.0

    def show(self, samples: Sequence[FlowSample], phase: str, at_s: float) -> None:
        """What is so now; as often as one likes."""
        if self._console.is_terminal:
            if samples:
                self._live.update(_table(samples, phase, at_s), refresh=True)
        elif samples and time.monotonic() - self._line_at >= LINE_INTERVAL_S:
            self._line_at = time.monotonic()
            one = samples[-1]
            self._console.print(
                f"{at_s:5.1f} s  worker {phase:14}"
                + (
                    f"processed {one.processed:>9,}  waiting {one.lag:>7,}  "
                    f"tail {one.tail_rows:>7,}  lake {one.lake_rows:>9,}"
                    if at_s - one.at_s < OLD_AFTER_S
                    else "no answer"
                ),
                soft_wrap=True,
            )

    def print_event(self, text: str) -> None:
        """Print a line above the table."""
        self._console.print(f"  ! {text}", style="bold yellow", soft_wrap=True)

    def __enter__(self) -> Self:
        """Begin to draw."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The table goes; printed events stay."""
        self._live.stop()


def _table(samples: Sequence[FlowSample], phase: str, at_s: float) -> Group:
    one = samples[-1]
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    table.add_row("records processed", f"{one.processed:,}", f"after {at_s:.0f} s")
    table.add_row("waiting in Kafka", f"{one.lag:,}", f"level {one.level}")
    table.add_row("rows in the tail", f"{one.tail_rows:,}", "not yet in the lake")
    table.add_row("rows in the lake", f"{one.lake_rows:,}", f"worker: {phase}")
    points = [(sample.at_s, float(sample.processed)) for sample in samples]
    return Group(table, Text(curve(points), style="green"), Text("records processed per second"))
