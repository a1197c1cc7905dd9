"""Trades: raw messages in; rows, events and dead letters out; the lake behind; queries beside.

k2.trades.raw --> accept --> k2.trades --> [sink] --> Iceberg k2.trades
                    |             '------> [tail] --.      |
                    |                           hybrid query --> web
                    '--> k2.sequence-events, k2.dead-letter, changelogs

faust -A topologies.trades worker -l info
"""

import k2_streams as k2

app = k2.App("k2", folder="worker")

raw = app.source(k2.TRADES_INPUT)


@app.agent(raw, tables=[k2.SEQUENCE, k2.DEDUP], outputs=[raw.accepted])
def accept(records: k2.RawRecords, ctx: k2.RawContext) -> None:
    """From what venues sent to trades: each one once, in order, with every gap known."""
    messages = ctx.decode(records)  # by each record's feed; what is none is a dead letter
    sequenced = ctx.sequence(messages)  # a verdict each; gaps and duplicates become events
    trades = ctx.deduplicate(sequenced)  # by trade id where there is no sequence number
    ctx.emit(raw.accepted, ctx.enrich(trades))  # notional, tick direction
