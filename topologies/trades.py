"""Trades: raw messages in; rows, events and dead letters out; the lake behind; queries beside.

k2.trades.raw --> [sequencer] --> k2.trades --> [sink] --> Iceberg k2.trades
                       |              '-------> [tail] --.      |
                       |                                  hybrid query --> web
                       '--> k2.sequence-events, k2.dead-letter, changelog

faust -A topologies.trades worker -l info
"""

from collections.abc import AsyncIterator

from k2_streams.kafka.topics import RAW, TRADES
from k2_streams.runtime.app import trades_app
from k2_streams.runtime.transport import Fetched

app = trades_app()


@app.batch_agent(RAW)
async def sequencer(batches: AsyncIterator[Fetched]) -> None:
    """Decode, validate, sequence: one task a partition, one transaction a checkpoint."""
    async for fetched in batches:
        app.owner.offer_raw(fetched)


@app.batch_agent(TRADES)
async def sink(batches: AsyncIterator[Fetched]) -> None:
    """Batches to Parquet to Iceberg: a commit is a compare-and-set on the offset vector."""
    async for fetched in batches:
        app.owner.offer_trades(fetched)
