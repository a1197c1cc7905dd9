"""Two workers and two query nodes: any node answers any question, and one may be killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from conftest import Cluster, eventually, processed  # type: ignore[import-not-found]

import k2_client
from k2_streams.testing.local import up_state
from k2_streams.testing.local.workers import LocalWorker

pytestmark = [pytest.mark.integration, pytest.mark.long]
MESSAGES = 3_000
TRAFFIC = ("--messages", str(MESSAGES), "--symbols", "5", "--gaps", "1%", "--invalid", "1%")
#: Of everything that was sent: from 1990 on.
ALL = "start=631152000000000000&end=4000000000000000000"
SELECT = "SELECT+symbol,count(*)+AS+n,sum(notional)+AS+v+FROM+trades+GROUP+BY+1+ORDER+BY+1"
PATHS = (
    "/v1/trades?limit=10000",
    f"/v1/trades?limit=10000&{ALL}&order=desc",
    "/v1/symbols?",
    f"/v1/bars?symbol=S0000&symbol=S0001&interval=all&{ALL}",
    "/v1/gap-events?limit=10000",
    "/v1/dead-letters?limit=10000",
    "/v1/gaps?limit=10000",
    f"/v1/sql?full=true&query={SELECT}",
)


def meet(nodes: list[LocalWorker]) -> None:
    """Every node has read everything that was sent, and what was found out about it."""

    def state(node: LocalWorker) -> tuple[object, ...]:
        meta = node.get("/v1/gaps?limit=1")["meta"]
        found = node.get("/v1/status")
        return found["lag_records"], processed(node), meta["positions"], meta["complete"]

    eventually(lambda: {str(state(node)) for node in nodes} == {str(state(nodes[0]))})
    assert state(nodes[0])[0] == 0


def body(node: LocalWorker, path: str) -> bytes:
    """The rows of an answer, as bytes; whatever a node says of itself is in a header."""
    return node.fetch(f"{path}&format=csv").body


def test_any_node_answers_any_question_and_a_client_of_two_sees_no_error(k2: Cluster) -> None:
    settings = {"K2_LEDGER": "1"}
    workers = [k2.worker(number, **settings).start() for number in (0, 1)]
    nodes = [k2.worker(number, K2_ROLE="query", **settings).start() for number in (2, 3)]
    everyone = [one.wait_ready() for one in (*workers, *nodes)]
    k2.produce(*TRAFFIC, "--seed", "1")
    meet(everyone)

    for path in PATHS:
        for first in (workers[0], nodes[0]):
            answer = first.get(path)
            token = answer["meta"]["token"]
            # Gaps that a node knows from memory have none.
            pinned = path if token is None else f"{path}&as_of={token}"
            found = {body(node, pinned) for node in everyone}
            assert len(found) == 1, path
            assert found.pop().count(b"\r\n") == len(answer["data"]) + 1 > 1, path
    assert not any(node.get("/v1/status")["partitions"] for node in nodes)
    assert sum(len(one.get("/v1/status")["partitions"]) for one in workers) == 4

    # The first of the two nodes that a client knows is killed while it asks and while it follows.
    with k2_client.connect([node.url for node in nodes]) as client:
        frames = client.stream("trades", start="begin")
        followed = [next(frames).rows.num_rows for _ in range(3)]
        k2.produce(*TRAFFIC, "--seed", "2", "--start", "now")
        nodes[0].kill()
        for _ in range(20):
            assert client.trades(limit=10).arrow().num_rows == 10
        meet([*workers, nodes[1]])
        rows = client.trades().arrow().num_rows
        while sum(followed) < rows:
            followed.append(next(frames).rows.num_rows)
        frames.close()
    assert sum(followed) == rows > MESSAGES


def test_up_in_front_runs_a_platform_until_it_is_interrupted(
    broker: str, tmp_path: Path, k2: Cluster
) -> None:
    environment = {name: value for name, value in os.environ.items() if name[:3] != "K2_"}
    directory = tmp_path / "platform"
    command = ["up", "--workers", "1", "--query-nodes", "1", "--free-ports"]
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "k2_streams.cli.main", *command],
        env={**environment, "K2_DATA_DIR": str(directory), "K2_BOOTSTRAP": broker},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    printed = []
    for line in process.stdout:
        printed.append(line)
        if line == "Ctrl-C stops all of it.\n":
            break
    state = up_state.recall(directory)
    assert state is not None, printed
    assert [member.name for member in state.members] == ["worker 0", "query node 1"]
    assert all(f"{one.name:14}{one.url}/, started, process {one.pid}, " in "".join(printed)
               for one in state.members)  # fmt: skip
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 0, text
    assert text.endswith("worker 0      stopped\nquery node 1  stopped\n")
    assert not any(psutil.pid_exists(member.pid) for member in state.members)
