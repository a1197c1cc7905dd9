"""Trades: raw messages in; rows, events and dead letters out; the lake behind; queries beside.

k2.trades.raw --> [sequencer] --> k2.trades --> [sink] --> Iceberg k2.trades
                       |              '-------> [tail] --.      |
                       |                                  hybrid query --> web
                       '--> k2.sequence-events, k2.dead-letter, changelog

faust -A topologies.trades worker -l info
"""

import k2_streams as k2
from k2_streams.feeds.feed import FEEDS

app = k2.App("k2", folder="worker")

raw = app.source(k2.TRADES_INPUT, feeds=FEEDS)
