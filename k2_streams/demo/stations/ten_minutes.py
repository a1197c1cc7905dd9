"""The ten-minute demo: which station is when, and the clock of a run."""

import select
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from k2_streams.demo.frame import chapter
from k2_streams.demo.stations import alerting, gaps, lake, pipeline, questions, scale
from k2_streams.demo.stations.tour import Expectation, Tour
from k2_streams.demo.web import DemoError
from k2_streams.testing.local.prometheus import NoPrometheusError
from k2_streams.testing.local.stage import Stage


@dataclass(frozen=True, slots=True)
class Station:
    """A part of the demo."""

    name: str
    title: str
    until_minute: int
    show: Callable[[Tour], None]


@dataclass(frozen=True, slots=True)
class StationResult:
    """What came of one.

    Attributes:
        left_out: why it was not shown; empty: it was.
        broke_off: why it did not come to its end; empty: it did.
    """

    name: str
    seconds: float
    expectations: Sequence[Expectation]
    left_out: str = ""
    broke_off: str = ""

    @property
    def holds(self) -> bool:
        """Whether all that it asserts does."""
        return not self.broke_off and all(one.holds for one in self.expectations)


STATIONS = (
    Station("pipeline", "The way of a record, and how long it takes", 1, pipeline.show),
    Station("gaps", "A gap is caught, and heals", 3, gaps.show),
    Station("lake", "The table, and a kill -9", 5, lake.show),
    Station("alerting", "Requests in Prometheus, and an alert", 7, alerting.show),
    Station("questions", "The last second and last Tuesday", 9, questions.show),
    Station("scale", "Another worker, another engine, and the cost", 10, scale.show),
)


def tell(
    console: Console, stage: Stage, *, is_live: bool, stations: Sequence[Station] = STATIONS
) -> bool:
    """Show the stations in order, then the clock; whether all that they assert holds.

    Where a machine watches, a station that is left out fails the run: it asserted nothing.

    Args:
        console: where.
        stage: on which nothing runs.
        is_live: for people: the browser opens the page, and a station lasts until its minute has
            passed or Enter is pressed. Else one follows the other.
        stations: which.

    Raises:
        DemoError: a station broke off; the text names it.
    """
    tour = Tour(console, stage, with_browser=is_live)
    results: list[StationResult] = []
    began = time.monotonic()
    for number, station in enumerate(stations, 1):
        chapter(console, number, f"{station.title}  (until minute {station.until_minute})")
        results.append(_visit(tour, station))
        if results[-1].broke_off:
            break
        if is_live and number < len(stations):
            _pause(console, began + 60.0 * station.until_minute - time.monotonic())
    console.print()
    console.print(clock(results))
    if results[-1].broke_off:
        raise DemoError(f"station {results[-1].name}: {results[-1].broke_off}")
    failed = [one.name for one in results if not one.holds]
    if failed:
        console.print(f"[bold red]does not hold[/]: station {', '.join(failed)}")
    left_out = [] if is_live else [one.name for one in results if one.left_out]
    if left_out:
        console.print(f"[bold red]not checked[/]: station {', '.join(left_out)}")
    return not failed and not left_out


def _visit(tour: Tour, station: Station) -> StationResult:
    tour.expectations = []
    began = time.monotonic()
    left_out = broke_off = ""
    try:
        station.show(tour)
    except NoPrometheusError as error:
        left_out = str(error)
        tour.console.print(f"left out: {left_out}", style="yellow", soft_wrap=True)
    except Exception as error:  # noqa: BLE001 - whatever it is, the clock is printed first
        broke_off = str(error) or type(error).__name__
    seconds = time.monotonic() - began
    return StationResult(station.name, seconds, tour.expectations, left_out, broke_off)


def clock(results: Sequence[StationResult]) -> Table:
    """Each station's seconds, and what it asserts."""
    table = Table(box=None, pad_edge=False)
    table.add_column("station")
    table.add_column("seconds", justify="right")
    table.add_column("")
    table.add_column("asserted", overflow="fold")
    table.add_column("found", overflow="fold")
    for result in results:
        name, seconds = result.name, f"{result.seconds:.1f}"
        if result.left_out:
            table.add_row(name, seconds, "[yellow]left out[/]", "", result.left_out)
        if result.broke_off:
            table.add_row(name, seconds, "[bold red]broke off[/]", "", result.broke_off)
            name = seconds = ""
        for one in result.expectations:
            mark = "[green]holds[/]" if one.holds else "[bold red]fails[/]"
            table.add_row(name, seconds, mark, one.what, one.found)
            name = seconds = ""
        table.add_section()
    table.add_row("in all", f"{sum(one.seconds for one in results):.1f}", "", "", "")
    return table


def _pause(console: Console, seconds: float) -> None:
    """Time to look at the page; Enter goes on."""
    if seconds <= 0 or not sys.stdin.isatty():
        return
    console.print(f"\n[dim]{seconds:.0f} s to look at the page; Enter goes on[/]")
    if select.select([sys.stdin], [], [], seconds)[0]:
        sys.stdin.readline()
