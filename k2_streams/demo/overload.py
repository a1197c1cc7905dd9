"""The story of `k2 demo-overload`: a load above the capacity, deferred, drained, and compared."""

import time
from pathlib import Path
from typing import Self

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.table import Table

from k2_streams.demo.frame import chapter
from k2_streams.demo.load_picture import NoPictureError, draw, for_terminal
from k2_streams.demo.overload_run import Load, OverloadRun
from k2_streams.demo.tier_freshness import waits_s
from k2_streams.demo.web import DemoError
from k2_streams.testing.local.load_watch import TIERS, LoadSample
from k2_streams.testing.local.stage import Stage, log_file_of

#: Between two lines where there is no terminal.
LINE_INTERVAL_S = 5.0
#: Symbols of each tier whose rows are looked at one by one.
SYMBOLS_PER_TIER = 20
#: Two commits of the lake come before a verifier stops waiting.
VERIFY_TIMEOUT_S = 300
#: Of a producer's log, in an error.
_LOG_CHARACTERS = 2_000


def tell(console: Console, stage: Stage, load: Load, cool_down_s: float, picture: Path) -> bool:
    """The chapters, in order; whether every number agrees.

    Raises:
        DemoError: the story cannot go on.
        WorkerError, BrokerError: a process did not start.
        OSError: no answer.
    """
    tiers_file = stage.directory / "tiers.csv"
    load.tiers.write(tiers_file, [f"SIM:{name}" for name in load.names()])
    chapter(console, 1, "A worker with a limited capacity")
    settings = load.settings(tiers_file) | {"K2_COOL_DOWN_S": f"{cool_down_s:g}"}
    with console.status("Kafka and the worker start ..."):
        stage.brokers.start()
        worker = stage.start(0, **settings).wait_ready()
    console.print(
        f"limited to {load.capacity:,} records per second; {load.symbols:,} symbols: the first "
        f"{load.tiers.symbols[0]} are of tier 1 with {load.tiers.shares[0]:.0%} of the messages, "
        f"the next {load.tiers.symbols[1]} of tier 2 with {load.tiers.shares[1]:.0%}\n"
        f"worker   {worker.url}/",
        soft_wrap=True,
    )

    chapter(console, 2, f"{load.times:g} times the capacity, for {load.overload_s:.0f} s")
    console.print(
        f"Then a low load until the backlog is empty: {load.drain_s:.0f} s at the least, since "
        "every record is processed.\n"
    )
    truth = stage.directory / "truth.jsonl.gz"
    run = _follow(console, stage, load, tiers_file, truth)

    chapter(console, 3, "The load over time")
    _show_run(console, run, picture)

    chapter(console, 4, "Freshness by tier during the overload")
    console.print(freshness(run))

    chapter(console, 5, "Nothing is lost: k2 verify")
    code = stage.verify(truth, options=("--timeout", str(VERIFY_TIMEOUT_S)))
    if run.highest() not in {"AGGRESSIVE", "CIRCUIT_BREAK"}:
        console.print(f"[bold red]the level rose to {run.highest()} only[/]")
        return False
    return code == 0


def _show_run(console: Console, run: OverloadRun, picture: Path) -> None:
    console.print(for_terminal(run))
    console.print()
    for at_s, level in run.levels:
        console.print(f"  {at_s:7.1f} s  {level}")
    try:
        draw(run, picture)
        console.print(f"\npicture  {picture}", soft_wrap=True)
    except NoPictureError as error:
        console.print(f"\nno picture: {error}", soft_wrap=True)


def _follow(
    console: Console, stage: Stage, load: Load, tiers_file: Path, truth: Path
) -> OverloadRun:
    worker = stage.workers[0]
    producer = stage.start_produce(
        truth, *load.arguments(tiers_file), settings=load.settings(tiers_file)
    )
    run = OverloadRun(load, load.watched(worker.url), producer)
    with _LoadDial(console) as dial:
        try:
            run.follow(dial.show)
        except DemoError as error:
            output = log_file_of(truth).read_text(errors="replace")[-_LOG_CHARACTERS:]
            raise DemoError(f"{error}\n{worker.last_words(5)}\n{output}") from error
    return run


class _LoadDial:
    """The present state: redrawn in place for a person, one line per interval for a log."""

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
        text = "no answer" if sample is None else sample.line()
        if self._console.is_terminal:
            if run.samples:
                head = f"{at_s:5.0f} s  {run.phase.value}  {text}"
                table = Table.grid()
                table.add_row(head)
                table.add_row(for_terminal(run))
                self._live.update(table, refresh=True)
        elif time.monotonic() - self._line_at >= LINE_INTERVAL_S:
            self._line_at = time.monotonic()
            self._console.print(f"{at_s:5.0f} s  {run.phase.value:11}  {text}", soft_wrap=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


def freshness(run: OverloadRun) -> Table:
    """The age of the newest row, and the time of each row, during the overload and AGGRESSIVE."""
    title = "seconds: seen is the age of the newest row of an answer, took from append to accepted"
    table = Table(title=title, title_justify="left")
    for name in ("overload", "seen, p50", "p99", "rows", "took, p50", "p99"):
        table.add_column(name, justify="right", no_wrap=True)
    begin, end = run.overload
    reached = next((at for at, level in run.levels if level == "AGGRESSIVE"), end)
    for name, since in (("", begin), (", AGGRESSIVE", reached)):
        for tier in TIERS if since < end else ():
            seen = run.fresh(tier, since, end) or [float("nan")]
            symbols = run.load.busiest(tier, SYMBOLS_PER_TIER)
            rows = waits_s(run.watched, symbols, run.began_s + since, run.began_s + end)
            table.add_row(
                f"tier {tier}{name}",
                *(f"{np.percentile(seen, share):.2f}" for share in (50, 99)),
                f"{len(rows):,}",
                *(f"{np.percentile(rows, share):.2f}" if len(rows) else "-" for share in (50, 99)),
            )
        table.add_section()
    return table
