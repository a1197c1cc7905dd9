"""`python -m faults.acknowledgements [--times N] [--s3]`: a REST catalog whose answers get lost.

The worker commits through a proxy that lets every other commit land, or land late, and tells the
client something else: a conflict, an error, nothing at all.
"""

import argparse
import contextlib
import signal
import sys
import tempfile
from pathlib import Path

from faults import object_store
from faults.catalog import KINDS, LossyProxy, RestCatalog
from faults.object_store import ObjectStore
from faults.oracle import judge
from faults.stage import Stage, wait_until

#: Each commit takes up to half a minute where the answer is silence.
WITHIN_S = 1_800.0


def main(arguments: list[str]) -> int:
    """Lose each kind so many times; 1 if anything differs."""
    parser = argparse.ArgumentParser(prog="python -m faults.acknowledgements", description=__doc__)
    parser.add_argument("--times", type=int, default=10, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--s3", action="store_true", help="with the warehouse in an object store")
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="k2-faults-") as folder:
        stage = Stage(Path(folder), chosen.seed)
        with contextlib.ExitStack() as started:
            started.callback(stage.close)
            store = None
            if chosen.s3:
                store = ObjectStore(Path(folder) / "s3", stage.port())
                started.callback(store.close)
                stage.settings |= object_store.settings(store.url)
            catalog = RestCatalog(Path(folder) / "rest", stage.port(), store)
            started.callback(catalog.close)
            proxy = LossyProxy(catalog.port, stage.port())
            started.callback(proxy.close)
            stage.settings |= {
                "K2_CATALOG_URI": proxy.url,
                "K2_WAREHOUSE": catalog.warehouse,
                "K2_COMMIT_EVERY_S": "0.5",
            }
            well = _lose(stage, proxy, chosen.times)
    return 0 if well else 1


def _lose(stage: Stage, proxy: LossyProxy, times: int) -> bool:
    stage.start(0)
    stage.all_ready()
    with stage.flow(1_000, 1) as truth:
        proxy.active = True
        wait_until(
            lambda: all(proxy.lost[kind] >= times for kind in KINDS),
            f"each kind {times} times",
            WITHIN_S,
        )
        proxy.active = False
    stage.all_ready()
    found = judge(stage, truth)
    print("| acknowledgement lost as | times |\n|---|---:|")
    print("\n".join(f"| {kind} | {proxy.lost[kind]} |" for kind in KINDS))
    print(f"\n{found.records:,} records, {found.lost} lost, {found.doubled} doubled")
    if found.lost or found.doubled or found.wrong:
        print(found.text)
    return not (found.lost or found.doubled or found.wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
