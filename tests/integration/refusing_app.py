"""The trades app with a decoder that has a bug: it refuses each hundredth number."""

import k2_streams as k2
from k2_streams.feeds.canonical.feed import Canonical
from k2_streams.feeds.decoding.decoded import Bad, Decoded, Kind, RawBatch


class Refusing(Canonical):
    """K2's own format, of which a number that ends in 07 is taken for a wrong type."""

    def decode(self, batch: RawBatch) -> Decoded:
        """As K2's own, without these."""
        found = super().decode(batch)
        chosen = (found.sequence % 100 == 7) & (found.kind == Kind.TRADE)
        found.kind[chosen] = Kind.BAD
        found.bad += [Bad(at, "wrong-type", "price", "bug") for at in chosen.nonzero()[0].tolist()]
        found.rows = found.rows.filter(~chosen[found.rows.column("message").to_numpy()])
        return found


app = k2.App("k2", folder="worker")
raw = app.source(k2.TRADES_INPUT, feeds={"canonical": Refusing()})


@app.agent(raw, tables=[k2.SEQUENCE, k2.DEDUP], outputs=[raw.accepted])
def accept(records: k2.RawRecords, ctx: k2.RawContext) -> None:
    """As `topologies.trades`."""
    sequenced = ctx.sequence(ctx.decode(records))
    ctx.emit(raw.accepted, ctx.enrich(ctx.deduplicate(sequenced)))
