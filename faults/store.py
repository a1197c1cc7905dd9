"""`python -m faults.store [--minutes N]`: an object store that is slow, refuses, lies, or is gone.

A worker with its lake in an S3-compatible store and a REST catalog, under load, and asked all the
while; between it and the store a proxy, to which one thing after the other happens. It is killed
once during each. After each the oracle compares, and no two answers may contradict each other.
"""

import argparse
import contextlib
import signal
import sys
import tempfile
import time
from pathlib import Path

from bench.asker import Asking, Ledger
from faults import object_store
from faults.catalog import RestCatalog
from faults.object_store import KINDS, ObjectStore, StoreProxy
from faults.oracle import Outcome, compare
from faults.report import keep
from faults.stage import FaultStage
from k2_streams.testing.local.loopback import free_port

#: Fewer seconds of one kind prove nothing; more of them, and a run takes an hour.
LEAST_S, MOST_S = 10.0, 120.0
#: Of a kind's minutes the rest goes to recovery and comparison.
UNDER_FAULT = 0.5
#: A store that is gone is gone for longer than the client tries and the breaker waits.
SHARES = {"away": 3.0}
RATE = 1_000
#: Each flow has an exchange of its own: this symbol of each is asked for.
SYMBOL = "S0002"

_HEAD = (
    "| the store | requests | seconds | records | lost | doubled | wrong | answers "
    "| contradictions | recovery s |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
)


def main(arguments: list[str]) -> int:
    """Each kind for its share of the time; 1 if anything differs."""
    parser = argparse.ArgumentParser(prog="python -m faults.store", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=6.0, help="for all of it, about")
    parser.add_argument("--only", nargs="*", choices=KINDS, default=list(KINDS))
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    lines = [f"# The object store, seed {chosen.seed}", "", _HEAD]
    well = True
    with tempfile.TemporaryDirectory(prefix="k2-faults-") as folder, contextlib.ExitStack() as on:
        stage = FaultStage(Path(folder), chosen.seed)
        store = ObjectStore(Path(folder) / "s3", free_port())
        on.callback(store.close)
        catalog = RestCatalog(Path(folder) / "rest", free_port(), store)
        on.callback(catalog.close)
        proxy = StoreProxy(store.port, free_port(), chosen.seed)
        on.callback(proxy.close)
        stage.settings |= object_store.settings(proxy.url) | {
            "K2_CATALOG_URI": catalog.url,
            "K2_LAKE_COMMIT_INTERVAL_S": "0.5",
            "K2_BREAKER_OPEN_S": "2",
        }
        on.enter_context(stage.running(workers=1))
        shares = {kind: SHARES.get(kind, 1.0) for kind in chosen.only}
        one_s = chosen.minutes * 60 * UNDER_FAULT / sum(shares.values())
        for kind, share in shares.items():
            for_s = min(max(one_s * share, LEAST_S), MOST_S)
            line, agrees = _segment(stage, proxy, kind, for_s)
            lines.append(line)
            print(line, flush=True)
            well = well and agrees
        found = compare(stage, *stage.truths)
        well = well and _agrees(found)
        lines.append(_line("all of it together", proxy.done.total(), 0.0, found, Ledger(), 0.0))
    text = "\n".join(lines) + "\n"
    print(text, flush=True)
    keep(text, f"store-seed-{chosen.seed}")
    return 0 if well else 1


def _segment(stage: FaultStage, proxy: StoreProxy, kind: str, for_s: float) -> tuple[str, bool]:
    """One kind under load, with a kill in its middle; then all as it was."""
    print(f"{kind} for {for_s:.0f} s ...", flush=True)
    with (
        stage.flow(RATE, len(stage.truths) + 1) as truth,
        Asking(f"{SYMBOL}&exchange=F{len(stage.truths):03}", stage.workers.values()) as answers,
    ):
        proxy.kind = kind
        time.sleep(for_s / 2)
        stage.kill(0)
        stage.start(0)
        time.sleep(for_s / 2)
        proxy.kind = None
        began = time.monotonic()
        stage.all_ready()
        stage.caught_up()
        recovered_s = time.monotonic() - began
    found = compare(stage, truth)
    line = _line(kind, proxy.done[kind], for_s, found, answers, recovered_s)
    if not _agrees(found):
        print(found.text, flush=True)
    for wrong in answers.wrong[:5]:
        print(f"  {wrong}", flush=True)
    return line, _agrees(found) and answers.answers > 0 and not answers.wrong


def _line(
    kind: str, requests: int, for_s: float, found: Outcome, answers: Ledger, recovered_s: float
) -> str:
    return (
        f"| {kind} | {requests} | {for_s:.0f} | {found.records:,} | {found.lost} | {found.doubled} "
        f"| {found.wrong} | {answers.answers} | {len(answers.wrong)} | {recovered_s:.1f} |"
    )


def _agrees(found: Outcome) -> bool:
    return not (found.lost or found.doubled or found.wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
