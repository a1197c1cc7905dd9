"""Trades: raw messages in; rows, events and dead letters out; the lake behind; queries beside.

k2.trades.raw --> [sequencer] --> k2.trades --> [sink] --> Iceberg k2.trades
                       |              '-------> [tail] --.      |
                       |                                  hybrid query --> web
                       '--> k2.sequence-events, k2.dead-letter, changelog

faust -A topologies.trades worker -l info
"""

from collections.abc import AsyncIterator

from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.feeds.feed import FEEDS
from k2_streams.runtime.app import stream_app
from k2_streams.runtime.fetched import Fetched

app = stream_app(TRADES_INPUT, FEEDS)


@app.batch_agent(TRADES_INPUT.raw)
async def sequencer(batches: AsyncIterator[Fetched]) -> None:
    """Decode, validate, sequence: one task a partition, one transaction a checkpoint."""
    async for fetched in batches:
        app.owner.offer_raw(fetched)


@app.batch_agent(TRADES_INPUT.stream.log)
async def sink(batches: AsyncIterator[Fetched]) -> None:
    """Batches to Parquet to Iceberg: a commit is a compare-and-set on the offset vector."""
    async for fetched in batches:
        app.owner.offer_log(fetched)
