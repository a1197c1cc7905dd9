"""`k2 demo-overload`: ten times too much, what is put off, what stays fresh, and nothing lost."""

import contextlib
import time
from pathlib import Path
from typing import Self

import click
import numpy as np
from rich.console import Console
from rich.live import Live
from rich.table import Table

from k2_streams.cli.errors import CannotError
from k2_streams.demo.frame import (
    EXIT_DIFFERENT,
    EXIT_SIGNALLED,
    Stopped,
    chapter,
    ignore_signals,
    stoppable,
    verdict,
)
from k2_streams.demo.load_picture import NoPictureError, draw, for_terminal
from k2_streams.demo.overload_run import Load, OverloadRun
from k2_streams.demo.stage import Stage
from k2_streams.demo.tier_freshness import waits_s
from k2_streams.demo.web import DemoError
from k2_streams.kafka.sender import UNREACHABLE
from k2_streams.runtime.settings.environment import SettingsError
from k2_streams.testing.local.broker_errors import BrokerError
from k2_streams.testing.local.load_watch import TIERS, LoadSample
from k2_streams.testing.local.workers import WorkerError

#: Between two lines where there is no terminal.
LINE_EVERY_S = 5.0
#: Symbols of each tier whose rows are looked at one by one.
SYMBOLS_A_TIER = 20
#: Two commits of the lake come before a verifier gives up.
VERIFY_WITHIN_S = 300

_EXAMPLES = """\b
Examples:
  k2 demo-overload                        a minute of too much; about a quarter of an hour
  k2 demo-overload --seconds 15           what is too much takes ten times as long to drain
  k2 demo-overload --picture load.png     where the picture goes

It has a Kafka, ports and a directory of its own, as `k2 demo` has.

Exit codes: 0 every number agrees; 1 one does not, or the story broke off; 2 it could not begin."""


@click.command(
    name="demo-overload",
    epilog=_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--seconds",
    type=click.FloatRange(5, 600),
    default=60.0,
    show_default=True,
    help="Of too much.",
)
@click.option(
    "--times",
    type=click.FloatRange(2, 50),
    default=10.0,
    show_default=True,
    help="As much as the worker's capacity.",
)
@click.option(
    "--capacity",
    type=click.IntRange(100, 100_000),
    default=1_000,
    show_default=True,
    help="Records a second, to which the worker is capped.",
)
@click.option("--cool-down", type=click.FloatRange(1), default=10.0, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=7, show_default=True, help="Of the faults.")
@click.option(
    "--picture",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("overload.png"),
    show_default=True,
    help="Where it is drawn.",
)
@click.pass_context
def demo_overload(
    context: click.Context,
    seconds: float,
    times: float,
    capacity: int,
    cool_down: float,
    seed: int,
    picture: Path,
) -> None:
    """Show K2 under ten times the load that it can take: put off, never lost."""
    console = Console(highlight=False)
    began = time.monotonic()
    load = Load(capacity=capacity, times=times, overload_s=seconds, seed=seed)
    picture = picture.absolute()
    try:
        with stoppable(), Stage() as stage, contextlib.ExitStack() as last:
            last.callback(ignore_signals)
            agreed = _tell(console, stage, load, cool_down, picture)
            console.print("\nstopping the worker and Kafka ...", style="dim")
    except Stopped as stopped:
        console.print(f"\n{stopped}: everything that was started has been stopped")
        context.exit(EXIT_SIGNALLED + stopped.number)
    except (BrokerError, SettingsError) as error:
        raise CannotError(str(error)) from error
    except (DemoError, WorkerError, *UNREACHABLE) as error:
        raise click.ClickException(f"the story broke off: {error}") from error
    console.print(verdict(agreed, time.monotonic() - began))
    context.exit(0 if agreed else EXIT_DIFFERENT)


def _tell(console: Console, stage: Stage, load: Load, cool_down_s: float, picture: Path) -> bool:
    """The chapters, in order; whether every number agrees."""
    tiers_file = stage.directory / "tiers.csv"
    load.tiers.write(tiers_file, [f"SIM:{name}" for name in load.names()])
    chapter(console, 1, "A worker that can take so much, and no more")
    settings = load.settings(tiers_file) | {"K2_COOL_DOWN_S": f"{cool_down_s:g}"}
    with console.status("Kafka and the worker start ..."):
        stage.start_broker()
        stage.start_worker(settings)
    console.print(
        f"capped to {load.capacity:,} records a second; {load.symbols:,} symbols: the first "
        f"{load.tiers.symbols[0]} are of tier 1 with {load.tiers.shares[0]:.0%} of the messages, "
        f"the next {load.tiers.symbols[1]} of tier 2 with {load.tiers.shares[1]:.0%}\n"
        f"worker   {stage.worker.url}/",
        soft_wrap=True,
    )

    chapter(console, 2, f"{load.times:g} times too much, for {load.overload_s:.0f} s")
    console.print(
        f"Then a little load until nothing waits: {load.drain_s:.0f} s at the least, since what "
        "was too much has to be judged too.\n"
    )
    run = _follow(console, stage, load, tiers_file)

    chapter(console, 3, "What it looked like")
    console.print(for_terminal(run))
    console.print()
    for at_s, level in run.levels:
        console.print(f"  {at_s:7.1f} s  {level}")
    try:
        draw(run, picture)
        console.print(f"\npicture  {picture}", soft_wrap=True)
    except NoPictureError as error:
        console.print(f"\nno picture: {error}", soft_wrap=True)

    chapter(console, 4, "How fresh each tier was while it was too much")
    console.print(freshness(run))

    chapter(console, 5, "Everything is there: k2 verify")
    truth = ("--truth", str(_truth(stage)), "--timeout", str(VERIFY_WITHIN_S))
    code = stage.run("verify", *truth, "--url", stage.worker.url)
    if run.highest() not in {"AGGRESSIVE", "CIRCUIT_BREAK"}:
        console.print(f"[bold red]the level rose to {run.highest()} alone[/]")
        return False
    return code == 0


def _follow(console: Console, stage: Stage, load: Load, tiers_file: Path) -> OverloadRun:
    arguments = (*load.arguments(tiers_file), "--truth", str(_truth(stage)))
    log_file = stage.directory / "produce.log"
    producer = stage.spawn(log_file, "produce", *arguments, settings=load.settings(tiers_file))
    run = OverloadRun(load, load.watched(stage.worker.url), producer)
    with _Dial(console) as dial:
        try:
            run.follow(dial.show)
        except DemoError as error:
            said = log_file.read_text(errors="replace")[-2_000:]
            raise DemoError(f"{error}\n{stage.worker.last_words(5)}\n{said}") from error
    return run


def _truth(stage: Stage) -> Path:
    return stage.directory / "truth.jsonl.gz"


class _Dial:
    """What is so now: redrawn in place for a person, a line now and then for a log."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._line_at = 0.0
        self._level = ""

    def show(self, run: OverloadRun, sample: LoadSample | None) -> None:
        """After a look."""
        at_s = run.at_s(run.samples[-1]) if run.samples else 0.0
        if sample is not None and sample.level != self._level:
            self._level = sample.level
            text = f"  ! {at_s:.0f} s: {sample.level}, with {sample.waiting:,} records waiting"
            self._console.print(text, style="bold yellow")
        said = "no answer" if sample is None else sample.line()
        if self._console.is_terminal:
            if run.samples:
                head = f"{at_s:5.0f} s  {run.phase.value}  {said}"
                table = Table.grid()
                table.add_row(head)
                table.add_row(for_terminal(run))
                self._live.update(table, refresh=True)
        elif time.monotonic() - self._line_at >= LINE_EVERY_S:
            self._line_at = time.monotonic()
            self._console.print(f"{at_s:5.0f} s  {run.phase.value:11}  {said}", soft_wrap=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


def freshness(run: OverloadRun) -> Table:
    """What an asker saw, and what each row took; of all of it, and once AGGRESSIVE was reached."""
    title = "seconds: seen is the age of the newest row of an answer, took from append to accepted"
    table = Table(title=title, title_justify="left")
    for name in ("too much", "seen, p50", "p99", "rows", "took, p50", "p99"):
        table.add_column(name, justify="right", no_wrap=True)
    begin, end = run.overload
    reached = next((at for at, level in run.levels if level == "AGGRESSIVE"), end)
    for name, since in (("", begin), (", AGGRESSIVE", reached)):
        for tier in TIERS if since < end else ():
            seen = run.fresh(tier, since, end) or [float("nan")]
            symbols = run.load.busiest(tier, SYMBOLS_A_TIER)
            rows = waits_s(run.watched, symbols, run.began_s + since, run.began_s + end)
            table.add_row(
                f"tier {tier}{name}",
                *(f"{np.percentile(seen, share):.2f}" for share in (50, 99)),
                f"{len(rows):,}",
                *(f"{np.percentile(rows, share):.2f}" if len(rows) else "-" for share in (50, 99)),
            )
        table.add_section()
    return table
