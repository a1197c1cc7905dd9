"""The platform that is repaired: its states, what it lacks, and one run of a repair."""

import enum
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
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
from k2_streams.runtime.repair.held import HeldTrades
from k2_streams.runtime.repair.missing import (
    GapSelection,
    PartitionStates,
    RepairPlan,
    plan_repair,
    read_states,
)
from k2_streams.runtime.repair.run import Chooser, Repair, portions, repaired, wait_processed
from k2_streams.runtime.repair.sources import (
    RepairRecord,
    RepairSource,
    RepairSourceError,
    WholeSource,
    started_text,
)
from k2_streams.runtime.repair.trade_ids import LackingTrades, repaired_trades
from k2_streams.runtime.settings.worker import Settings
from k2_streams.runtime.task.decoding import Decoding


class RepairBy(enum.StrEnum):
    """What distinguishes the messages of a repair."""

    SEQUENCE = "sequence"  # their numbers: what is missing is known before anybody is asked
    TRADE_ID = "trade-id"  # the ids of their trades: it is known once the source has been read


@dataclass(frozen=True, slots=True)
class RepairRequest:
    """What a run is told.

    Attributes:
        by_what: numbers or ids.
        selection: of the gaps, or of the trades.
        source: whom to ask.
        source_text: the same, for the repairs' topic.
        by: who repairs, for that too.
        rate: records per second at most; None: as fast as possible.
        within_s: until what was sent is processed.
        dry_run: ask the source, and send nothing.
    """

    by_what: RepairBy
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
        asked = any(one.filled < one.asked for one in self.ranges)
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
        name = uuid.uuid4().hex[:12]
        about = {
            "repair_id": name,
            "started": started_text(self.clock.time_ns()),
            "by": request.by,
            "source": request.source_text,
        }
        by_what = self._by_number if request.by_what is RepairBy.SEQUENCE else self._by_trade_id
        return await by_what(request, about)

    async def _by_number(self, request: RepairRequest, about: Mapping[str, str]) -> Repaired:
        scopes = _scopes(await self.states())
        plan = self._plan(scopes, request.selection)
        if not plan.ranges:
            return Repaired(plan, [])
        settings = self.settings
        chooser = Chooser(
            scopes,
            plan.ranges,
            self._decoding(),
            settings.late_horizon_s * 1000,
            settings.conflict_tolerance_ms,
        )
        source = request.source
        after = await self._send(request, about, lambda: source.records(plan.ranges), chooser.of)
        done = repaired(chooser, scopes if after is None else after, plan.ranges, about)
        return Repaired(plan, await self._written_down(request, done))

    async def _by_trade_id(self, request: RepairRequest, about: Mapping[str, str]) -> Repaired:
        source, stream = request.source, self.source.stream
        if not isinstance(source, WholeSource) or "trade_id" not in stream.table_schema.names:
            raise RepairSourceError(
                f"source {request.source_text}: by trade ids {stream.name} cannot be repaired "
                "from it: expected trades, and a file, a topic or a lake, which are read as a whole"
            )
        trades = LackingTrades(self._decoding(), request.selection)
        held = HeldTrades(self.settings.lake, self.settings.kafka, stream, self.partitions)
        async for portion in portions(source.whole()):
            trades.ask(portion, self.clock.time_ns() // 1_000_000)
        if trades.is_nothing_asked:
            raise RepairSourceError(
                f"source {request.source_text}: no trade that is asked for is identified by its id "
                "alone: those of messages with sequence numbers are repaired by these"
            )
        async for rows in held.in_lake(trades.keys, trades.span_ns):
            trades.take_away(rows)
        async for rows in held.in_log():
            trades.take_away(rows)
        asked = trades.lacking()
        if asked:
            await self._send(request, about, source.whole, trades.of)
            async for rows in held.in_log():
                trades.take_away(rows)
        done = repaired_trades(asked, trades.sent, trades.lacking(), about)
        plan = RepairPlan(left_out=trades.left_out)
        return Repaired(plan, await self._written_down(request, done))

    async def _send(
        self,
        request: RepairRequest,
        about: Mapping[str, str],
        records: Callable[[], AsyncIterator[RepairRecord]],
        choose: Callable[[Sequence[RepairRecord], int], list[RepairRecord]],
    ) -> Mapping[str, ScopeState] | None:
        """The states once what was sent is processed; None of a dry run."""
        repair = Repair(about["repair_id"], records, choose, self.clock, request.rate)
        if request.dry_run:
            await repair.send(None)
            return None
        async with Sender(self.settings.kafka, self.source.raw, self.partitions) as sender:
            await repair.send(sender)
            ends = {partition: sent.next for partition, sent in sender.sent.items()}
        after = await wait_processed(self.states, ends, self.clock, request.within_s)
        if after is None:
            raise RepairSourceError(
                f"what was sent is not processed within {request.within_s:.0f} s: expected a "
                "worker that runs; `k2 repair plan` shows what is missing then"
            )
        return after

    def _plan(self, scopes: Mapping[str, ScopeState], selection: GapSelection) -> RepairPlan:
        now_ms = self.clock.time_ns() // 1_000_000
        return plan_repair(scopes, selection, now_ms, self.settings.late_horizon_s * 1000)

    def _decoding(self) -> Decoding:
        return Decoding(
            self.feeds,
            self.source.row_schema,
            self.source.raw,
            0,
            self.partitions,
            check_partition=False,
            price_domains=self.instruments.price_domain if self.instruments else positive_prices,
        )

    async def _written_down(
        self, request: RepairRequest, done: list[RepairedRange]
    ) -> list[RepairedRange]:
        """What came of a run, in the repairs' topic; a dry run leaves nothing there."""
        if request.dry_run:
            return done
        publisher = Publisher(self.settings.kafka)
        try:
            for one in done:
                value = msgspec.json.encode(one)
                await publisher.publish(self.source.repairs, one.scope.encode(), value)
        finally:
            await publisher.close()
        return done


def _scopes(states: Sequence[PartitionStates]) -> dict[str, ScopeState]:
    return {scope: state for one in states for scope, state in one.scopes.items()}
