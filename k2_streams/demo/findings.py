"""What K2 found, counted from its own answers and topics, beside what was injected."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields

from rich.console import Console
from rich.table import Table

from k2_streams.demo.input import Figures, Source, injected
from k2_streams.demo.pictures import bars
from k2_streams.demo.web import DemoError, answered
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.topics import DEAD_LETTER
from k2_streams.testing.local.workers import LocalWorker
from k2_streams.testing.oracle.report import Check
from k2_streams.testing.oracle.topic_records import read_topic
from k2_streams.testing.oracle.truth_file import Truth
from k2_streams.testing.waiting import StuckError, wait_until

#: The events are read beside the trades: a moment later at most, but the machine may be busy.
EVENTS_TIMEOUT_S = 30.0
_RETRY_INTERVAL_S = 0.2
_NAMES = {
    "rows": "trades accepted",
    "duplicates": "repeated sequence numbers",
    "late": "late sequence numbers",
    "stale": "stale sequence numbers",
    "resets": "new sessions",
    "gaps_opened": "gaps opened",
    "gaps_filled": "gaps filled later",
    "gaps_abandoned": "gaps abandoned at a reset",
}


def found(worker: LocalWorker, exchange: str) -> Figures:
    """The platform's counts of an exchange, once it has read its events as far as its trades.

    Raises:
        DemoError: it has not in time.
        OSError: no answer.
    """
    path = f"/v1/symbols?exchange={exchange}"
    try:
        wait_until(
            lambda: answered(worker, path)["meta"]["gaps_complete"],
            "events read as far as the trades",
            EVENTS_TIMEOUT_S,
            _RETRY_INTERVAL_S,
        )
    except StuckError as error:
        raise DemoError(str(error)) from error
    figures = Figures()
    for symbol in answered(worker, path)["data"]:
        figures.rows += symbol["trades"]
        for name in _NAMES:
            if name != "rows":
                setattr(figures, name, getattr(figures, name) + symbol[name])
    return figures


async def _letters(bootstrap: str) -> Counter[str]:
    """The dead letters there are, by reason."""
    reasons: Counter[str] = Counter()
    async for _, records in read_topic(KafkaConfig(bootstrap=bootstrap), DEAD_LETTER):
        for record in records:
            reasons[(dict(record.headers)["k2.reason"] or b"").decode()] += 1
    return reasons


def compare(
    console: Console,
    worker: LocalWorker,
    bootstrap: str,
    sources: Sequence[Source],
    truths: Sequence[Truth],
) -> list[Check]:
    """Count both sides, show them beside each other, and draw what K2 found.

    Raises:
        DemoError: the platform has not read its own events in time.
        OSError: no answer.
    """
    checks: list[Check] = []
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for name in ("injected", "K2 found", ""):
        table.add_column(name, justify="right" if name else "left")

    def add(label: str, expected: int, there: int) -> None:
        check = Check(label, expected, there)
        checks.append(check)
        result = "[green]agrees[/]" if check.agrees else "[bold red]differs[/]"
        table.add_row(f"  {label}", f"{expected:,}", f"{there:,}", result)

    total = Figures()
    for source in sources:
        wanted, there = injected(truths, source.exchange), found(worker, source.exchange)
        table.add_row(f"[bold]{source.exchange}[/]")
        for name, label in _NAMES.items():
            count = getattr(there, name)
            add(label, getattr(wanted, name), count)
            setattr(total, name, getattr(total, name) + count)
    wanted_reasons = sum((truth.reasons for truth in truths), Counter[str]())
    total.reasons = asyncio.run(_letters(bootstrap))
    table.add_row("[bold]dead letters, by reason[/]")
    for reason in sorted(wanted_reasons | total.reasons):
        add(reason, wanted_reasons[reason], total.reasons[reason])
    table.add_row("[bold]all messages[/]")
    processed = sum(answered(worker, "/v1/status")["watermark"].values())
    without_trade = processed - total.rows - total.duplicates - total.reasons.total()
    add("processed", sum(truth.header.sent for truth in truths), processed)
    add("without a trade: book updates", sum(one.header.controls for one in truths), without_trade)
    console.print(table)
    console.print()
    _draw(console, total, processed, without_trade)
    return checks


def _draw(console: Console, total: Figures, processed: int, without_trade: int) -> None:
    """What became of the messages, as bars."""
    in_order = total.rows - total.late
    console.print(
        bars(
            [
                ("messages", processed, "white"),
                ("book updates", without_trade, "white"),
                ("in order", in_order, "green"),
                ("late, accepted", total.late, "yellow"),
                ("repeated, dropped", total.duplicates, "magenta"),
                ("dead letters", total.reasons.total(), "red"),
                ("gaps opened", total.gaps_opened, "cyan"),
                ("of them filled", total.gaps_filled, "cyan"),
                ("new sessions", total.resets, "blue"),
            ]
        )
    )
    console.print("(bars on a logarithmic scale)", style="dim")


assert {*_NAMES, "reasons"} == {one.name for one in fields(Figures)}  # noqa: S101 - each is compared
