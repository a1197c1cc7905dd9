"""How long each row took from the broker's append to the checkpoint that accepted it, by tier.

Not a sample: every row of some symbols, as the platform holds them at the end.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from k2_client import connect
from k2_streams.testing.local.load_watch import Watched

#: Rows of an answer.
PAGE = 50_000
#: Event time and the broker's differ by what a producer takes to start, and by late records.
MARGIN_S = 120.0


def waits_s(
    watched: Watched, symbols: Sequence[str], begin_s: float, end_s: float
) -> npt.NDArray[np.float64]:
    """Of each row of these symbols that was appended between two moments (seconds since 1970).

    Raises:
        ClientError: it was refused, or nobody answered in time.
    """
    with connect(watched.url, page_rows=PAGE) as client:
        rows = client.trades(
            symbols,
            exchange=watched.exchange,
            start=int((begin_s - MARGIN_S) * 1e9),
            end=int((end_s + MARGIN_S) * 1e9),
            columns=("accepted_time", "ingest_time"),
        ).arrow()
    accepted, ingested = (column.cast(pa.int64()).to_numpy() for column in rows.columns)
    inside = (ingested >= begin_s * 1e6) & (ingested < end_s * 1e6)
    waits: npt.NDArray[np.float64] = (accepted - ingested)[inside] / 1e6
    return waits
