"""`k2 demo`: a story to follow in a terminal. What flows, what goes wrong, what K2 makes of it."""

import contextlib
import subprocess
import time
from collections.abc import Sequence

import click
from rich.console import Console
from rich.text import Text

from k2_streams.cli.errors import CannotError
from k2_streams.cli.up import program
from k2_streams.demo.answers import Answer, ask, show_answer, travel
from k2_streams.demo.findings import compare
from k2_streams.demo.frame import (
    EXIT_DIFFERENT,
    EXIT_SIGNALLED,
    Stopped,
    chapter,
    ignore_signals,
    stoppable,
    verdict,
)
from k2_streams.demo.input import Source, sources
from k2_streams.demo.pictures import curve
from k2_streams.demo.stage import COMMIT_EVERY_S, Stage
from k2_streams.demo.watch import Watch
from k2_streams.demo.web import DemoError
from k2_streams.kafka.sender import UNREACHABLE
from k2_streams.runtime.settings.environment import SettingsError
from k2_streams.testing.local.broker_errors import BrokerError
from k2_streams.testing.local.workers import WorkerError
from k2_streams.testing.oracle import truth_file
from k2_streams.testing.oracle.observed import NotReachedError
from k2_streams.testing.oracle.report import Check
from k2_streams.testing.oracle.truth_file import Truth

#: Below, a few faults have no place; above, an answer of one symbol takes long to print.
MESSAGES_MIN, MESSAGES_MAX = 5_000, 2_000_000

_EXAMPLES = """\b
Examples:
  k2 demo
  k2 demo --messages 1000000 --seed 42     more of it, and other faults
  k2 demo --keep                           leave Kafka and worker running, to ask on

It has a Kafka, ports and a directory of its own; settings (K2_...) of the environment do not
matter to it, but K2_KAFKA_JARS. Ctrl-C ends it at any time, and all that it started.

Exit codes: 0 every number agrees; 1 one does not, or the story broke off; 2 it could not begin."""


@click.command(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--messages",
    type=click.IntRange(MESSAGES_MIN, MESSAGES_MAX),
    default=200_000,
    show_default=True,
    help="Synthetic trades to send, within about 20 s.",
)
@click.option("--seed", type=click.IntRange(0), default=7, show_default=True, help="Of the faults.")
@click.option("--keep", is_flag=True, help="Leave it running, and say how to stop it.")
@click.pass_context
def demo(context: click.Context, messages: int, seed: int, keep: bool) -> None:
    """Show K2 at work: trades with known faults in, and every number compared with the truth."""
    console = Console(highlight=False)
    began = time.monotonic()
    try:
        with stoppable(), Stage() as stage, contextlib.ExitStack() as last:
            last.callback(ignore_signals)
            agreed = _tell(console, stage, messages, seed)
            if keep:
                stage.keep()
                _say_how_to_stop(console, stage)
            else:
                console.print("\nstopping the worker and Kafka ...", style="dim")
    except Stopped as stopped:
        console.print(f"\n{stopped}: everything that was started has been stopped")
        context.exit(EXIT_SIGNALLED + stopped.number)
    except (BrokerError, SettingsError) as error:
        raise CannotError(str(error)) from error
    except (DemoError, WorkerError, NotReachedError, truth_file.TruthError, *UNREACHABLE) as error:
        raise click.ClickException(f"the story broke off: {error}") from error
    console.print(verdict(agreed, time.monotonic() - began))
    context.exit(0 if agreed else EXIT_DIFFERENT)


def _tell(console: Console, stage: Stage, messages: int, seed: int) -> bool:
    """The chapters, in order; whether every number agrees."""
    chapter(console, 1, "A Kafka and a worker")
    _start(console, stage)

    chapter(console, 2, "Trades flow, with known faults")
    flow = sources(stage.directory, messages, seed)
    for source in flow:
        console.print(f"{source.exchange:8} {source.about}", soft_wrap=True)
    if len(flow) == 1:
        console.print("(no recordings beside the checkout: synthetic trades alone)")
    console.print("In the middle of it the worker is killed.\n")
    watch, answer, truths = _flow(console, stage, flow)

    chapter(console, 3, "kill -9, and back")
    _show_recovery(console, watch)

    chapter(console, 4, "What K2 found")
    checks = compare(console, stage.worker, stage.bootstrap, flow, truths)

    chapter(console, 5, "One answer of two parts, asked while the trades flowed")
    show_answer(console, answer)

    chapter(console, 6, "The same question about the past")
    checks += travel(console, stage.worker, answer)
    _show_checks(console, checks)

    chapter(console, 7, "Every id, every value, every event against the truth: k2 verify")
    named = [part for source in flow for part in ("--truth", str(source.truth))]
    code = stage.run("verify", *named, "--url", stage.worker.url)
    return code == 0 and all(check.agrees for check in checks)


def _start(console: Console, stage: Stage) -> None:
    began = time.monotonic()
    with console.status("Kafka starts ..."):
        stage.start_broker()
    console.print(
        f"Kafka    {stage.bootstrap}, in {time.monotonic() - began:.1f} s", soft_wrap=True
    )
    began = time.monotonic()
    with console.status("the worker starts ..."):
        stage.start_worker()
    console.print(
        f"worker   {stage.worker.url}/, in {time.monotonic() - began:.1f} s; it commits to the "
        f"lake every {COMMIT_EVERY_S} s\ndata     {stage.directory}",
        soft_wrap=True,
    )


def _flow(
    console: Console, stage: Stage, flow: Sequence[Source]
) -> tuple[Watch, Answer, list[Truth]]:
    """Send, watch, kill, ask in the middle; all has been judged when this returns."""
    producers = [stage.spawn(source.log, "produce", *_arguments(source)) for source in flow]
    watch = Watch(console, stage.worker)
    answers: list[Answer] = []
    truths: list[Truth] = []

    def ask_in_the_middle() -> bool:
        """The first answer with rows of both parts is the one to show."""
        with contextlib.suppress(OSError, DemoError):
            answers.append(ask(stage.worker))
        return bool(answers and answers[-1].meta["rows_lake"] and answers[-1].meta["rows_tail"])

    def ends() -> dict[int, int]:
        truths.extend(
            _truth(source, producer) for source, producer in zip(flow, producers, strict=True)
        )
        merged = truth_file.merge(truths)
        return {partition: place.next for partition, place in merged.positions.items()}

    watch.run(producers, ends, ask_in_the_middle)
    return watch, answers[-1] if answers else ask(stage.worker), truths


def _arguments(source: Source) -> tuple[str, ...]:
    return (*source.arguments, "--truth", str(source.truth))


def _truth(source: Source, producer: subprocess.Popen[bytes]) -> Truth:
    if producer.returncode:
        said = source.log.read_text(errors="replace")[-2_000:]
        raise DemoError(f"k2 produce ended with {producer.returncode}\n{said}")
    return truth_file.read(source.truth)


def _show_recovery(console: Console, watch: Watch) -> None:
    recovery, samples = watch.recovery, watch.samples
    line = curve([(sample.at_s, float(sample.judged)) for sample in samples])
    begin, end = samples[0].at_s, samples[-1].at_s
    at = round(len(line) * (recovery.at_s - begin) / (end - begin))
    console.print("records judged a second, over the whole flow:")
    console.print(Text(line, style="green"))
    console.print(" " * min(at, len(line) - 1) + "^ kill -9\n")
    console.print(
        f"killed after {recovery.at_s:.1f} s, with {recovery.judged:,} records judged\n"
        f"queries answered again after [bold]{recovery.ready_s:.1f} s[/], "
        f"new records judged after [bold]{recovery.new_s:.1f} s[/]\n"
        f"{recovery.backlog:,} records waited in Kafka meanwhile; what the killed worker had not "
        "committed was worked again",
        soft_wrap=True,
    )


def _show_checks(console: Console, checks: Sequence[Check]) -> None:
    """What differs in chapters 4 and 6, and how much was compared."""
    wrong = [check for check in checks if not check.agrees]
    for check in wrong:
        console.print(f"[bold red]differs[/] {check.name}: {check.expected:,} and {check.found:,}")
        for text in check.differences[:3]:
            console.print(f"  {text}", markup=False, soft_wrap=True)
    console.print(f"\n{len(checks) - len(wrong)} of {len(checks)} figures and answers agree so far")


def _say_how_to_stop(console: Console, stage: Stage) -> None:
    console.print(
        f"\nStill running: {stage.worker.url}/\nTo stop it and remove its data:\n"
        f"  K2_DATA_DIR={stage.directory} {program()} down && rm -r {stage.directory}",
        soft_wrap=True,
    )
