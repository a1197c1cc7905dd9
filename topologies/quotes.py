"""Quotes: the best bid and offer, by the steps that trades have.

k2.quotes.raw --> accept --> k2.quotes --> [sink] --> Iceberg k2.quotes
                    |             '------> [tail] --.      |
                    |                           hybrid query --> web
                    '--> k2.quotes.sequence-events, k2.quotes.dead-letter, changelogs

faust -A topologies.quotes worker -l info
"""

import k2_streams as k2

app = k2.App("k2-quotes", web_port=6166, folder="quotes-worker")

raw = app.source(k2.QUOTES_INPUT)


@app.agent(raw, tables=[k2.SEQUENCE, k2.DEDUP], outputs=[raw.accepted])
def accept(records: k2.RawRecords, ctx: k2.RawContext) -> None:
    """From what venues sent to quotes: each one once, in order, with every gap known."""
    messages = ctx.decode(records)
    sequenced = ctx.sequence(messages)
    ctx.emit(raw.accepted, ctx.deduplicate(sequenced))
