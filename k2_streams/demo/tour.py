"""The story of `k2 demo`: trades with known faults, a kill, queries, and every number compared."""

import contextlib
import subprocess
import time
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from k2_streams.demo.answers import DemoAnswer, ask, show_answer, travel
from k2_streams.demo.findings import compare
from k2_streams.demo.frame import LAKE_COMMIT_INTERVAL_S, chapter
from k2_streams.demo.input import Source, sources
from k2_streams.demo.pictures import curve
from k2_streams.demo.watch import Watch
from k2_streams.demo.web import DemoError
from k2_streams.testing.local.stage import Stage, log_file_of
from k2_streams.testing.oracle import truth_file
from k2_streams.testing.oracle.report import Check
from k2_streams.testing.oracle.truth_file import Truth

#: Of a producer's log, in an error.
_LOG_CHARACTERS = 2_000


def tell(console: Console, stage: Stage, messages: int, seed: int) -> bool:
    """The chapters, in order; whether every number agrees.

    Raises:
        DemoError: the story cannot go on.
        WorkerError, BrokerError: a process did not start.
        NotReachedError, TruthError: the platform or a truth file cannot be read.
        OSError: no answer.
    """
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
    checks = compare(console, stage.workers[0], stage.bootstrap, flow, truths)

    chapter(console, 5, "One answer of two parts, asked while the trades flowed")
    show_answer(console, answer)

    chapter(console, 6, "The same question about the past")
    checks += travel(console, stage.workers[0], answer)
    _show_checks(console, checks)

    chapter(console, 7, "Every id, every value, every event against the truth: k2 verify")
    code = stage.verify(*(source.truth for source in flow))
    return code == 0 and all(check.agrees for check in checks)


def _start(console: Console, stage: Stage) -> None:
    began = time.monotonic()
    with console.status("Kafka starts ..."):
        stage.brokers.start()
    console.print(
        f"Kafka    {stage.bootstrap}, in {time.monotonic() - began:.1f} s", soft_wrap=True
    )
    began = time.monotonic()
    with console.status("the worker starts ..."):
        worker = stage.start().wait_ready()
    console.print(
        f"worker   {worker.url}/, in {time.monotonic() - began:.1f} s; it commits to the "
        f"lake every {LAKE_COMMIT_INTERVAL_S} s\ndata     {stage.directory}",
        soft_wrap=True,
    )


def _flow(
    console: Console, stage: Stage, flow: Sequence[Source]
) -> tuple[Watch, DemoAnswer, list[Truth]]:
    """Send, watch, kill, ask in the middle; all has been processed when this returns."""
    worker = stage.workers[0]
    producers = [stage.start_produce(source.truth, *source.arguments) for source in flow]
    watch = Watch(console, worker)
    answers: list[DemoAnswer] = []
    truths: list[Truth] = []

    def ask_in_the_middle() -> bool:
        """The first answer with rows of both parts is the one to show."""
        with contextlib.suppress(OSError, DemoError):
            answers.append(ask(worker))
        return bool(answers and answers[-1].meta["rows_lake"] and answers[-1].meta["rows_tail"])

    def ends() -> dict[int, int]:
        truths.extend(
            _truth(source, producer) for source, producer in zip(flow, producers, strict=True)
        )
        merged = truth_file.merge(truths)
        return {partition: sent.next for partition, sent in merged.positions.items()}

    watch.run(producers, ends, ask_in_the_middle)
    return watch, answers[-1] if answers else ask(worker), truths


def _truth(source: Source, producer: subprocess.Popen[bytes]) -> Truth:
    if producer.returncode:
        output = log_file_of(source.truth).read_text(errors="replace")[-_LOG_CHARACTERS:]
        raise DemoError(f"k2 produce ended with {producer.returncode}\n{output}")
    return truth_file.read(source.truth)


def _show_recovery(console: Console, watch: Watch) -> None:
    recovery, samples = watch.recovery, watch.samples
    line = curve([(sample.at_s, float(sample.processed)) for sample in samples])
    begin, end = samples[0].at_s, samples[-1].at_s
    column = round(len(line) * (recovery.at_s - begin) / (end - begin))
    console.print("records processed per second, over the whole flow:")
    console.print(Text(line, style="green"))
    console.print(" " * min(column, len(line) - 1) + "^ kill -9\n")
    console.print(
        f"killed after {recovery.at_s:.1f} s, with {recovery.processed:,} records processed\n"
        f"queries answered again after [bold]{recovery.ready_s:.1f} s[/], "
        f"new records processed after [bold]{recovery.new_s:.1f} s[/]\n"
        f"{recovery.backlog:,} records waited in Kafka meanwhile; what the killed worker had not "
        "committed was processed again",
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
