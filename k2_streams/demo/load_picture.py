"""A run under load as pictures: rate, backlog, level and freshness by tier, over time."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from k2_streams.demo.overload_run import LEVELS, OverloadRun
from k2_streams.demo.pictures import levels_line, slopes
from k2_streams.testing.local.load_watch import TIERS

#: Of a line in a terminal of 80 characters, with a name before it and the most behind it.
WIDTH = 40
#: Below it everything is at once, on a logarithmic scale.
FRESH_FLOOR_S = 0.1
_TIER_COLOURS = {1: "#1a7f37", 2: "#bf8700", 3: "#cf222e"}
_TIER_STYLES = {1: "green", 2: "yellow", 3: "red"}


class NoPictureError(Exception):
    """The library that draws it is not installed."""


def for_terminal(run: OverloadRun) -> Table:
    """Lines of blocks, one above the other: all have the same time."""
    points = [(run.at_s(sample), sample) for sample in run.samples]
    table = Table.grid(padding=(0, 1))
    for _ in range(3):
        table.add_column()

    def line(name: str, values: Sequence[tuple[float, float]], top: str, style: str) -> None:
        table.add_row(name, Text(levels_line(values, WIDTH), style=style), top)

    sent = slopes([(at, float(sample.sent)) for at, sample in points], WIDTH)
    steps = _even(points[0][0], points[-1][0])
    line("sent per second", list(zip(steps, sent, strict=True)), f"up to {max(sent):,.0f}", "cyan")
    waiting = [(at, float(sample.waiting)) for at, sample in points]
    most = max(value for _, value in waiting)
    line("waiting", waiting, f"up to {most:,.0f} records", "magenta")
    level = [(at, float(LEVELS.index(sample.level))) for at, sample in points]
    line("level", [*level], f"up to {run.highest()}", "white")
    for tier in TIERS:
        seen = [(at, sample.fresh_s[tier]) for at, sample in points]
        values = [(at, value) for at, value in seen if value is not None]
        if values:
            oldest = max(value for _, value in values)
            line(f"tier {tier}: age", values, f"up to {oldest:,.1f} s", _TIER_STYLES[tier])
    begin, end = points[0][0], points[-1][0]
    marks = [" "] * WIDTH
    for at, mark in zip(run.overload, "[]", strict=True):
        place = round((WIDTH - 1) * (at - begin) / max(end - begin, 1.0))
        marks[min(max(place, 0), WIDTH - 1)] = mark
    table.add_row("overload", Text("".join(marks)), f"{run.load.overload_s:.0f} s of {end:.0f} s")
    return table


def draw(run: OverloadRun, file: Path) -> None:
    """The same as a PNG.

    Raises:
        NoPictureError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra that not everybody has
    except ImportError as error:
        raise NoPictureError(
            "matplotlib is not installed: pip install 'k2-streams[demo]'"
        ) from error
    figure = Figure(figsize=(10, 10), layout="constrained")
    rate, backlog, level, fresh = figure.subplots(4, 1, sharex=True)
    times = [run.at_s(sample) for sample in run.samples]
    figure.suptitle(
        f"{run.load.times:g} times the capacity of {run.load.capacity:,} records per second, "
        f"for {run.load.overload_s:.0f} s"
    )

    steps = _even(times[0], times[-1])
    sent = slopes([(at, float(s.sent)) for at, s in zip(times, run.samples, strict=True)], WIDTH)
    processed = [(at, float(s.sent - s.waiting)) for at, s in zip(times, run.samples, strict=True)]
    rate.step(steps, sent, where="mid", label="sent", color="#0969da")
    rate.step(steps, slopes(processed, WIDTH), where="mid", label="processed", color="#1a7f37")
    rate.axhline(run.load.capacity, linestyle=":", color="#57606a", label="capacity")
    rate.set_ylabel("records per second")
    rate.set_yscale("symlog", linthresh=run.load.capacity / 10)
    rate.set_ylim(bottom=0)

    lag = [sample.lag for sample in run.samples]
    deferred = [sample.deferred for sample in run.samples]
    backlog.stackplot(
        times, lag, deferred, labels=["in the source", "deferred"], colors=["#8250df", "#d8b9ff"]
    )
    backlog.set_ylabel("records waiting")

    level.step(times, [LEVELS.index(s.level) for s in run.samples], where="post", color="#24292f")
    level.set_yticks(range(len(LEVELS)), LEVELS)
    level.set_ylim(-0.3, len(LEVELS) - 0.7)

    for tier in TIERS:
        seen = [(at, s.fresh_s[tier]) for at, s in zip(times, run.samples, strict=True)]
        shown = [(at, max(value, FRESH_FLOOR_S)) for at, value in seen if value is not None]
        fresh.plot(
            [at for at, _ in shown],
            [value for _, value in shown],
            label=f"tier {tier}",
            color=_TIER_COLOURS[tier],
        )
    fresh.set_yscale("log")
    fresh.set_ylabel("age of the newest row, s")
    fresh.set_xlabel("seconds since the first message")
    for axes in (rate, backlog, level, fresh):
        axes.axvspan(*run.overload, color="#ffebe9", zorder=0)
        axes.grid(visible=True, alpha=0.3)
        axes.margins(x=0)
    for axes in (rate, backlog, fresh):
        axes.legend(loc="upper right", fontsize="small")
    figure.savefig(file, dpi=110)


def _even(begin: float, end: float) -> list[float]:
    """The middles of as many equal parts of the time as a line has places."""
    width = (end - begin) / WIDTH
    return [begin + width * (place + 0.5) for place in range(WIDTH)]
