"""Dead letters on brokers in memory, and redrives of them that may be killed."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from k2_streams.core.enrich.instruments import positive_prices
from k2_streams.core.records.source import TRADES_INPUT as SOURCE
from k2_streams.core.sequence.step import ScopeState
from k2_streams.core.types import TopicPartition
from k2_streams.feeds.feed import FEEDS, Feeds
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogReader, Record
from k2_streams.runtime.redrive.outlook import Outlook
from k2_streams.runtime.redrive.run import Redrive, RedriveReport, RedriveRequest
from k2_streams.runtime.task.decoding import Decoding
from k2_streams.runtime.task.epoch import dead_letter
from k2_streams.runtime.task.outputs import TaskOutputs
from k2_streams.testing.memory.clients import MemoryKafka, MemoryNetwork
from k2_streams.testing.memory.cluster import MemoryCluster
from k2_streams.testing.memory.faults import Faults, NoFaults, seeded
from k2_streams.testing.memory.loop import VirtualLoop, VirtualProcess
from k2_streams.testing.memory.ports import VirtualClock

T0_NS = 1_700_000_000_000_000_000
#: Few, so that a redrive of some letters takes several transactions.
TRANSACTION_RECORDS = 20
BIG = "x" * 1_000


def value(sequence: int | None, **changes: Any) -> bytes:
    """A trade of K2's own format."""
    fields = {
        "exchange": "X", "symbol": "A", "price": "1.5", "quantity": "2",
        "exchange_time_ns": T0_NS + (sequence or 0), "sequence": sequence,
    } | changes  # fmt: skip
    return json.dumps({name: one for name, one in fields.items() if one is not None}).encode()


def decoding(feeds: Feeds = FEEDS) -> Decoding:
    """Of the only partition."""
    return Decoding(
        feeds, SOURCE.row_schema, SOURCE.raw, 0, 1,
        check_partition=False, price_domains=positive_prices,
    )  # fmt: skip


async def read_log(
    kafka: KafkaConfig, topic: str, partition: int
) -> AsyncIterator[Sequence[Record]]:
    """What a partition holds now."""
    at = TopicPartition(topic, partition)
    async with LogReader(kafka) as reader:
        end = (await reader.settled_offsets([at])).stable[at]
        reader.assign({at: 0})
        while reader.position(*at) < end:
            for chunk in await reader.poll():
                yield [record for record in chunk.records if record.offset < end]


class RedriveWorld:
    """One partition of dead letters, and what redrives have sent."""

    def __init__(
        self, faults: Faults | None = None, states: dict[str, ScopeState] | None = None
    ) -> None:
        self.loop = VirtualLoop()
        topics = dict.fromkeys([SOURCE.raw, SOURCE.dead_letter, SOURCE.redrives], 1)
        self.cluster = MemoryCluster(self.loop, topics)
        network = MemoryNetwork(self.loop, faults or NoFaults(seeded(0, "faults")))
        self.kafka = MemoryKafka(self.cluster, network, 8)
        self.states = states or {}
        self.runs = 0

    def die(
        self, raw: bytes | None, *, offset: int, key: bytes | None = b"X:A", **more: Any
    ) -> None:
        """A dead letter as a task writes it."""
        letter = dead_letter(
            **{
                "of": TaskOutputs.of_raw(SOURCE), "partition": 0, "offset": offset, "key": key,
                "value": raw, "headers": (), "timestamp_ms": 1, "reason": "not-json",
                "field_name": None, "detail": "",
            } | more
        )  # fmt: skip
        self.cluster.append((letter.topic, 0), letter.key, letter.value, letter.headers)

    def redrive(self, *, limit: int | None = None, dry_run: bool = False) -> Redrive:
        """A redrive of all letters."""
        self.runs += 1

        async def outlook(_partition: int) -> Outlook:
            return Outlook(decoding(), self.states.get, 10**12, 1_000)

        request = RedriveRequest(
            f"run-{self.runs}",
            SOURCE,
            self.cluster.topics[SOURCE.dead_letter],
            "k2",
            lambda _partition, _record: True,
            limit,
            dry_run,
            TRANSACTION_RECORDS,
        )

        def read(topic: str, partition: int) -> AsyncIterator[Sequence[Record]]:
            return read_log(self.kafka, topic, partition)

        return Redrive(request, self.kafka, read, outlook, VirtualClock(self.loop))

    def run(self, **options: Any) -> RedriveReport:
        """One redrive to its end."""
        process = VirtualProcess(self.loop, f"redrive-{self.runs}")
        report: RedriveReport = self.loop.run_until_complete(
            process.start(self.redrive(**options).run())
        )
        return report

    def sent(self) -> list[tuple[bytes | None, bytes | None, dict[str, bytes | None]]]:
        """What is committed in the raw topic."""
        return [
            (record.key, record.value, dict(record.headers))
            for record in self.cluster.partitions[SOURCE.raw, 0].committed()
        ]

    def close(self) -> None:
        """Unwind what still runs."""
        self.loop.abandon()
