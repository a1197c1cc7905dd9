"""The platform that is repaired: its states, what it lacks, and one run of a repair."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from k2_streams.clock import Clock
from k2_streams.core.enrich.instruments import Instruments, positive_prices
from k2_streams.core.ledger.repairs import RepairedRange
from k2_streams.core.records.source import RawInput
from k2_streams.core.sequence.step import ScopeState
from k2_streams.feeds.feed import Feeds
from k2_streams.kafka.publisher import Publisher
from k2_streams.kafka.sender import Sender
from k2_streams.kafka.topics import changelog_topic
from k2_streams.runtime.redrive.outlook import ReadTopic
from k2_streams.runtime.repair.missing import (
    GapSelection,
    PartitionStates,
    RepairPlan,
    plan_repair,
    read_states,
)
from k2_streams.runtime.repair.run import Chooser, Repair, repaired, wait_processed
from k2_streams.runtime.repair.sources import RepairSource, RepairSourceError, started_text
from k2_streams.runtime.settings.worker import Settings
from k2_streams.runtime.task.decoding import Decoding


@dataclass(frozen=True, slots=True)
class RepairRequest:
    """What a run is told.

    Attributes:
        selection: of the gaps.
        source: whom to ask.
        source_text: the same, for the repairs' topic.
        by: who repairs, for that too.
        rate: records per second at most; None: as fast as possible.
        within_s: until what was sent is processed.
        dry_run: ask the source, and send nothing.
    """

    selection: GapSelection
    source: RepairSource
    source_text: str
    by: str
    rate: float | None
    within_s: float
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Repaired:
    """What a run came to."""

    plan: RepairPlan
    ranges: list[RepairedRange]

    @property
    def is_missing(self) -> bool:
        """Whether something of what was selected is missing still, or was abandoned meanwhile."""
        asked = any(one.still_missing or one.abandoned for one in self.ranges)
        return asked or bool(self.plan.too_old) or self.plan.left_out > 0


@dataclass(frozen=True, slots=True)
class RepairPlatform:
    """See the module.

    Attributes:
        settings: as the worker has them.
        source: the raw topic.
        partitions: of it.
        feeds: of its stream.
        instruments: reference data, if the settings name a file.
        read: its topics.
        clock: the time.
    """

    settings: Settings
    source: RawInput
    partitions: int
    feeds: Feeds
    instruments: Instruments | None
    read: ReadTopic
    clock: Clock

    async def states(self) -> list[PartitionStates]:
        """Of the last checkpoint, by partition."""
        table, _ = self.source.tables
        changelog = changelog_topic(self.settings.app_id, table)
        return await read_states(self.read, changelog, self.partitions)

    async def plan(self, selection: GapSelection) -> RepairPlan:
        """What is missing now."""
        return self._plan(_scopes(await self.states()), selection)

    async def run(self, request: RepairRequest) -> Repaired:
        """Ask, send, wait, and write down what came of it.

        Raises:
            RepairSourceError: the source cannot be read, or nobody processes what was sent.
            NotAcknowledgedError: something was sent and is not known to have arrived.
            NotPublishedError: what came of it is not known to be written down.
        """
        scopes = _scopes(await self.states())
        plan = self._plan(scopes, request.selection)
        if not plan.ranges:
            return Repaired(plan, [])
        chooser = self._chooser(scopes, plan)
        name = uuid.uuid4().hex[:12]
        repair = Repair(name, plan, request.source, chooser, self.clock, request.rate)
        about = {
            "repair_id": name,
            "started": started_text(self.clock.time_ns()),
            "by": request.by,
            "source": request.source_text,
        }
        if request.dry_run:
            await repair.send(None)
            return Repaired(plan, repaired(chooser, scopes, plan.ranges, about))
        async with Sender(self.settings.kafka, self.source.raw, self.partitions) as sender:
            await repair.send(sender)
            ends = {partition: sent.next for partition, sent in sender.sent.items()}
        after = await wait_processed(self.states, ends, self.clock, request.within_s)
        if after is None:
            raise RepairSourceError(
                f"what was sent is not processed within {request.within_s:.0f} s: expected a "
                "worker that runs; `k2 repair plan` shows what is missing then"
            )
        done = repaired(chooser, after, plan.ranges, about)
        await self._write_down(done)
        return Repaired(plan, done)

    def _plan(self, scopes: Mapping[str, ScopeState], selection: GapSelection) -> RepairPlan:
        now_ms = self.clock.time_ns() // 1_000_000
        return plan_repair(scopes, selection, now_ms, self.settings.late_horizon_s * 1000)

    def _chooser(self, scopes: Mapping[str, ScopeState], plan: RepairPlan) -> Chooser:
        settings = self.settings
        decoding = Decoding(
            self.feeds,
            self.source.row_schema,
            self.source.raw,
            0,
            self.partitions,
            check_partition=False,
            price_domains=self.instruments.price_domain if self.instruments else positive_prices,
        )
        horizon_ms = settings.late_horizon_s * 1000
        return Chooser(scopes, plan.ranges, decoding, horizon_ms, settings.conflict_tolerance_ms)

    async def _write_down(self, done: Sequence[RepairedRange]) -> None:
        publisher = Publisher(self.settings.kafka)
        try:
            for one in done:
                value = msgspec.json.encode(one)
                await publisher.publish(self.source.repairs, one.scope.encode(), value)
        finally:
            await publisher.close()


def _scopes(states: Sequence[PartitionStates]) -> dict[str, ScopeState]:
    return {scope: state for one in states for scope, state in one.scopes.items()}
