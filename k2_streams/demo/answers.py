"""The demo's questions: one over lake and tail, and the same ones about the past."""

import urllib.parse
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from k2_streams.demo.input import QUESTION_SYMBOL
from k2_streams.demo.web import answered
from k2_streams.testing.local.workers import LocalWorker
from k2_streams.testing.oracle.report import Check

#: As many as an answer may have: the demo's symbol has far fewer.
LIMIT = 100_000
SHOWN_ROWS = 3

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DemoAnswer:
    """A question and its answer."""

    url: str
    rows: list[Row]
    meta: dict[str, Any]


def ask(
    worker: LocalWorker, as_of: str | None = None, exchange: str = "SIM", limit: int = LIMIT
) -> DemoAnswer:
    """The demo's question: the last fifteen minutes of one symbol, now or as of a token.

    Raises:
        ClientError: it was refused, or nobody answered in time.
    """
    question = {
        "exchange": exchange, "symbol": QUESTION_SYMBOL, "window": "15m", "limit": str(limit),
    }  # fmt: skip
    if as_of is not None:
        question["as_of"] = as_of
    path = f"/v1/trades?{urllib.parse.urlencode(question)}"
    body = answered(worker, path)
    return DemoAnswer(worker.url + path, body["data"], body["meta"])


def show_answer(console: Console, answer: DemoAnswer) -> None:
    """The answer's proof, part by part."""
    meta = answer.meta
    _show_curl(console, answer.url)
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(overflow="fold")
    table.add_row("rows", f"{meta['rows']:,}")
    table.add_row("  of the lake", f"{meta['rows_lake']:,}   snapshot {meta['snapshot']}")
    table.add_row("  of the tail", f"{meta['rows_tail']:,}   not yet in the lake")
    ends = ", ".join(f"{p}: {end:,}" for p, end in sorted(meta["offsets"].items()))
    table.add_row("stands for", f"k2.trades below {ends}")
    table.add_row("token", meta["token"])
    table.add_row("gaps in its range", _gaps(meta))
    table.add_row("complete", "yes" if meta["complete"] else "no: something is known to be missing")
    table.add_row("took", f"{meta['elapsed_ms']:.1f} ms")
    console.print(table)
    newest = Table(box=None, pad_edge=False, title="its newest rows", title_justify="left")
    newest.add_column("exchange time", no_wrap=True)
    for name in ("sequence", "price", "quantity", "raw record", "k2.trades"):
        newest.add_column(name, justify="right")
    for row in answer.rows[-SHOWN_ROWS:]:
        newest.add_row(
            *(str(row[name]) for name in ("exchange_time", "sequence", "price", "quantity")),
            f"{row['source_partition']}:{row['source_offset']}",
            f"{row['log_partition']}:{row['log_offset']}:{row['log_row']}",
        )
    console.print(newest)


def travel(console: Console, worker: LocalWorker, before: DemoAnswer) -> list[Check]:
    """Ask of the past, and compare.

    1. The question of the middle of the flow again, by its token: what was in two parts then is
       in the lake now, and must be the same rows.
    2. The same as of an earlier snapshot: exactly the rows that lay below its offsets, twice.

    Raises:
        ClientError: it was refused, or nobody answered in time.
    """
    now = ask(worker)
    again = ask(worker, before.meta["token"])
    snapshots = answered(worker, "/v1/snapshots")["data"]
    older = _earlier(snapshots, before.meta["snapshot"])
    first, second = (ask(worker, older["token"]) for _ in range(2))
    below = [row for row in now.rows if _is_below(row, older["offsets"])]

    _show_curl(console, first.url)
    table = Table(box=None, pad_edge=False)
    for name in ("asked", "rows", "of the lake", "of the tail"):
        table.add_column(name, justify="left" if name == "asked" else "right")
    for name, answer in (
        ("then, in the middle of the flow", before),
        ("again now, by its token", again),
        (f"as of snapshot {older['id']}", first),
        ("the same once more", second),
        ("now", now),
    ):
        meta = answer.meta
        numbers = (meta["rows"], meta["rows_lake"], meta["rows_tail"])
        table.add_row(name, *(f"{number:,}" for number in numbers))
    console.print(table)
    return [
        _same("an answer again, by its token", before.rows, again.rows),
        _same("rows as of an earlier snapshot", below, first.rows),
        _same("the same asked twice", first.rows, second.rows),
    ]


def _earlier(snapshots: list[dict[str, Any]], than: int | None) -> dict[str, Any]:
    """Of the snapshots with rows before this one, newest first, the one in the middle.

    If there is none it is this one itself.
    """
    with_rows = [one for one in snapshots if one["token"] is not None and one["rows_total"]]
    ids = [one["id"] for one in with_rows]
    at = ids.index(than) if than in ids else 0
    older = with_rows[at + 1 :] or with_rows[at:]
    return older[len(older) // 2]


def _is_below(row: Row, offsets: dict[str, int]) -> bool:
    return bool(row["log_offset"] < offsets.get(str(row["log_partition"]), 0))


def _same(name: str, expected: list[Row], found: list[Row]) -> Check:
    check = Check(f"time travel: {name}", len(expected), len(found))
    for one, other in zip(expected, found, strict=False):
        if one != other:
            check.differ(f"expected {one}, found {other}")
    return check


def _gaps(meta: dict[str, Any]) -> str:
    states: dict[str, int] = {}
    for gap in meta["gaps"]:
        states[gap["state"]] = states.get(gap["state"], 0) + 1
    return ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none"


def _show_curl(console: Console, url: str) -> None:
    console.print(f"$ curl -s '{url}'", style="cyan", markup=False, soft_wrap=True)
