"""The brokers of a stage: one, or a cluster of three of which each holds a copy of everything."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from k2_streams.testing.local.broker import LocalBroker
from k2_streams.testing.local.broker_files import HEAP_MB, Member
from k2_streams.testing.local.installed import java_program
from k2_streams.testing.local.loopback import HOST, free_ports

#: Three Java processes beside everything else on the machine.
HEAP_OF_THREE_MB = 256
#: Until a killed process has ended and its ports are free.
KILL_TIMEOUT_S = 60.0


class Cluster:
    """Local brokers that stop, are killed and come back on the same ports.

    Args:
        directory: of a broker alone; of several it has a folder per node.
        jars: as `k2 broker fetch` fills it.
        size: 1: a broker alone.
        host: where clients connect.
        detached: their processes outlive the session and the terminal of their starter.
    """

    def __init__(
        self,
        directory: Path,
        jars: Path,
        size: int = 1,
        host: str = HOST,
        *,
        detached: bool = False,
    ) -> None:
        ports = free_ports(2 * size)
        ports, controllers = ports[:size], ports[size:]
        java, alone = java_program(), size == 1
        self.nodes = tuple(
            LocalBroker(
                directory if alone else directory / f"node-{node}",
                jars,
                port=ports[node - 1],
                java=java,
                host=host,
                heap_mb=HEAP_MB if alone else HEAP_OF_THREE_MB,
                member=None if alone else Member(str(directory), node, tuple(controllers)),
                detached=detached,
            )
            for node in range(1, size + 1)
        )
        self.bootstrap = ",".join(f"{host}:{one}" for one in ports)

    def start(self) -> None:
        """Start what does not run; returns when all of it is ready.

        Raises:
            BrokerError: one does not start.
        """
        with ThreadPoolExecutor(len(self.nodes)) as together:
            list(together.map(LocalBroker.start, self.nodes))

    def kill(self, node: int = 0) -> None:
        """Kill -9 of one, by its index in `nodes`."""
        pid = self.nodes[node].status().pid
        if pid is None:
            raise RuntimeError(f"broker {node} does not run")
        process = psutil.Process(pid)
        process.kill()
        process.wait(KILL_TIMEOUT_S)

    def controller(self) -> int:
        """The index in `nodes` of the one that leads the quorum, by the newest vote."""
        votes = []
        for broker in self.nodes:
            file = broker.directory / "data" / "__cluster_metadata-0" / "quorum-state"
            state = json.loads(file.read_text())
            votes.append((state["leaderEpoch"], state["leaderId"]))
        return int(max(votes)[1]) - 1

    def logs(self) -> str:
        """The text of all of their logs."""
        files = [
            file
            for broker in self.nodes
            for file in broker.log_file.parent.glob(f"{broker.log_file.name}*")
        ]
        return "\n".join(file.read_text(errors="replace") for file in files)

    def stop(self) -> None:
        """End all."""
        with ThreadPoolExecutor(len(self.nodes)) as together:
            list(together.map(LocalBroker.stop, self.nodes))
