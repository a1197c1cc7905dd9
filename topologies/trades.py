"""Trades: raw messages in; rows, events and dead letters out; the lake behind; queries beside.

k2.trades.raw --> [sequencer] --> k2.trades --> [sink] --> Iceberg k2.trades
                       |              '-------> [tail] --.      |
                       |                                  hybrid query --> web
                       '--> k2.sequence-events, k2.dead-letter, changelog

faust -A topologies.trades worker -l info
"""

from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.feeds.feed import FEEDS
from k2_streams.runtime.app import stream_app

app = stream_app(TRADES_INPUT, FEEDS)
