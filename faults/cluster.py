"""The brokers of a stage: one, or a cluster of three of which each holds a copy of everything."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from k2_streams.testing.local.broker import LocalBroker
from k2_streams.testing.local.broker_files import HEAP_MB, Member
from k2_streams.testing.local.installed import java_program
from k2_streams.testing.local.loopback import HOST

#: Three Java processes beside everything else on the machine.
HEAP_OF_THREE_MB = 256
#: Of a killed process: it is gone at once.
GONE_WITHIN_S = 60.0


class Cluster:
    """Local brokers that stop, die and come back on the same ports.

    Args:
        directory: of all of them, each in a folder of its own.
        jars: as `make jars` fills it.
        port: gives ports to come back to.
        size: 1: a broker alone.
        host: where clients connect.
    """

    def __init__(
        self,
        directory: Path,
        jars: Path,
        port: Callable[[], int],
        size: int = 1,
        host: str = HOST,
    ) -> None:
        ports = tuple(port() for _ in range(size))
        controllers = tuple(port() for _ in range(size))
        java, alone = java_program(), size == 1
        self.nodes = tuple(
            LocalBroker(
                directory / f"node-{node}",
                jars,
                port=ports[node - 1],
                java=java,
                host=host,
                heap_mb=HEAP_MB if alone else HEAP_OF_THREE_MB,
                member=None if alone else Member(str(directory), node, controllers),
            )
            for node in range(1, size + 1)
        )
        self.bootstrap = ",".join(f"{host}:{one}" for one in ports)

    def start(self) -> None:
        """Start what does not run; returns when all of it is ready."""
        with ThreadPoolExecutor(len(self.nodes)) as together:
            list(together.map(LocalBroker.start, self.nodes))

    def kill(self, node: int = 0) -> None:
        """Kill -9 of one, by its place in `nodes`."""
        pid = self.nodes[node].status().pid
        assert pid is not None
        process = psutil.Process(pid)
        process.kill()
        process.wait(GONE_WITHIN_S)  # only then are its ports free

    def controller(self) -> int:
        """The place in `nodes` of the one that leads the quorum, as the newest vote says."""
        votes = []
        for broker in self.nodes:
            said = broker.directory / "data" / "__cluster_metadata-0" / "quorum-state"
            state = json.loads(said.read_text())
            votes.append((state["leaderEpoch"], state["leaderId"]))
        return int(max(votes)[1]) - 1

    def in_sync(self) -> bool:
        """Whether every partition has all of its copies; no, while nobody can say."""
        try:
            return asyncio.run(self._in_sync())
        except (KafkaError, OSError):
            return False

    async def _in_sync(self) -> bool:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            topics = await admin.describe_topics()
        finally:
            await admin.close()
        return all(
            len(part["isr"]) == len(self.nodes) for topic in topics for part in topic["partitions"]
        )

    def said(self) -> str:
        """What is in all of their logs."""
        logs = [
            log
            for broker in self.nodes
            for log in broker.log_file.parent.glob(f"{broker.log_file.name}*")
        ]
        return "\n".join(log.read_text(errors="replace") for log in logs)

    def stop(self) -> None:
        """End all."""
        with ThreadPoolExecutor(len(self.nodes)) as together:
            list(together.map(LocalBroker.stop, self.nodes))
