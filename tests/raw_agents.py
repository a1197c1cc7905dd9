"""The agent of a raw source, as `topologies.trades` declares it, of any input and feeds."""

from collections.abc import Mapping
from typing import Any

from k2_streams.core.records.source import TRADES_INPUT, RawInput
from k2_streams.feeds.feed import FEEDS
from k2_streams.runtime.task.raw_context import RawContext, RawRecords
from k2_streams.topology.declarations import DEDUP, SEQUENCE, Agent, RawSource, Topology


def raw_agent(source: RawInput = TRADES_INPUT, feeds: Mapping[str, Any] = FEEDS) -> Agent:
    """All steps, one after the other."""
    raw = RawSource(source, feeds)

    def accept(records: RawRecords, ctx: RawContext) -> None:
        sequenced = ctx.sequence(ctx.decode(records))
        ctx.emit(raw.accepted, ctx.enrich(ctx.deduplicate(sequenced)))

    return Agent("accept", raw, accept, (SEQUENCE, DEDUP), (raw.accepted,))


def raw_topology(
    name: str, source: RawInput = TRADES_INPUT, feeds: Mapping[str, Any] = FEEDS
) -> Topology:
    """A topology of this agent alone."""
    agent = raw_agent(source, feeds)
    return Topology(name, (agent.source,), (agent,))
