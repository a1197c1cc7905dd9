"""Station 3: the Iceberg table with its files and a snapshot; a kill -9; every row once."""

import time

from k2_streams.demo.stations.tour import Tour


def show(tour: Tour) -> None:
    """Look at the table, kill the worker in the flow, and compare all with the truth."""
    tour.page("time-travel?key=SIM:S0019&window=5m")
    code, _ = tour.command("maintain", "status")
    tour.expect("the table can be described", f"exit code {code}", holds=code == 0)
    newest = tour.rows("/v1/snapshots", limit=1)[0]
    vector = ", ".join(f"{p}: {end:,}" for p, end in sorted(newest["offsets"].items()))
    tour.say(
        f"the newest snapshot {newest['id']}: {newest['rows_total']:,} rows in {newest['files']} "
        f"files\n  offset vector, the next offset of k2.trades per partition: {vector}"
    )

    tour.say("\nkill -9 in the middle of the flow, and a new process in its place:")
    began = time.monotonic()
    tour.worker.kill()
    tour.stage.start(0).wait_ready()
    tour.expect("queries are answered again", f"after {time.monotonic() - began:.1f} s", holds=True)

    tour.say("\nThe flow ends, and all that was sent is compared with the truth:")
    code = tour.verify(tour.end_flow())
    tour.expect("k2 verify finds no difference", f"exit code {code}", holds=code == 0)
    tour.wait("the lake has all rows", lambda: _in_lake(tour) == _in_answers(tour))
    tour.expect("the table has as many rows as the answers", f"{_in_lake(tour):,} rows", holds=True)


def _in_lake(tour: Tour) -> int:
    return int(tour.rows("/v1/snapshots", limit=1)[0]["rows_total"])


def _in_answers(tour: Tour) -> int:
    return sum(int(row["trades"]) for row in tour.rows("/v1/symbols"))
