"""What the demo sends: synthetic trades with known faults, and real ones if they are at hand."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from k2_streams.testing.oracle.truth_file import Truth

#: The messages are spread over so long: enough to watch, to kill a worker in the middle, and to
#: see the lake take several snapshots before and after.
FLOW_S = 20
SYMBOLS = 40
#: Of the synthetic symbols, a middling one: a few rows in a hundred seconds as in a thousand.
QUESTION_SYMBOL = "S0019"
_FAULTS = {
    "--gaps": "0.2%",
    "--duplicates": "0.5%",
    "--disorder": "0.3%",
    "--late": "0.2%",
    "--invalid": "0.1%",
    "--resets": "8",
}
#: Lines of the two recorded files: what their pace is made of.
_RECORDED_LINES = 99_574
#: Recordings are no part of the checkout; they may lie beside it.
RECORDINGS = Path(__file__).resolve().parents[3] / "shared" / "data" / "binance-2024-08-08"


@dataclass(frozen=True, slots=True)
class Source:
    """One run of `k2 produce`."""

    exchange: str
    about: str
    arguments: tuple[str, ...]
    truth: Path


@dataclass(slots=True)
class Figures:
    """What comes of messages, counted: by a truth, or by K2."""

    rows: int = 0
    duplicates: int = 0
    late: int = 0
    stale: int = 0
    resets: int = 0
    gaps_opened: int = 0
    gaps_filled: int = 0
    gaps_abandoned: int = 0
    reasons: Counter[str] = field(default_factory=Counter)  # of dead letters


def sources(directory: Path, messages: int, seed: int) -> list[Source]:
    """What is sent, all of it at once."""
    faults = [part for fault in _FAULTS.items() for part in fault]
    count = ("--messages", str(messages), "--symbols", str(SYMBOLS), "--seed", str(seed))
    pace = ("--start", "now", "--rate", str(max(1, messages // FLOW_S)))
    found = [
        Source(
            exchange="SIM",
            about=f"{messages:,} synthetic trades of {SYMBOLS} symbols, seed {seed}: "
            + ", ".join(f"{name[2:]} {share}" for name, share in _FAULTS.items()),
            arguments=(*count, *pace, *faults),
            truth=directory / "truth-sim.jsonl",
        )
    ]
    files = sorted(RECORDINGS.glob("spot-btcusdt_*.gz"))
    if files:
        found.append(
            Source(
                exchange="BINANCE",
                about=f"{len(files)} recorded Binance files, as they are: trades between book "
                "updates, nothing missing and nothing twice",
                arguments=(
                    *("--feed", "binance.spot", "--rate", str(_RECORDED_LINES // FLOW_S)),
                    *map(str, files),
                ),
                truth=directory / "truth-binance.jsonl",
            )
        )
    return found


def injected(truths: Iterable[Truth], exchange: str) -> Figures:
    """What must come of an exchange's messages."""
    figures = Figures()
    for truth in truths:
        lines = [line for line in truth.sessions if line.scope.startswith(f"{exchange}:")]
        if lines:
            figures.reasons.update(truth.reasons)
        for line in lines:
            figures.rows += line.count
            figures.duplicates += line.duplicate_count
            figures.late += sum(last - first + 1 for first, last in line.late_events)
            figures.stale += len(line.stale)
            figures.resets += line.reset is not None
            figures.gaps_opened += len(line.opened)
            figures.gaps_filled += len(line.filled)
            figures.gaps_abandoned += len({(one[2], one[3]) for one in line.abandoned})
    return figures
