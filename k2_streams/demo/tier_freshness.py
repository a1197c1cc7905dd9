"""How long each row took from the broker's append to the checkpoint that accepted it, by tier.

Not a sample: every row of some symbols, as the platform holds them at the end.
"""

import urllib.parse
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from k2_streams.testing.client import fetch
from k2_streams.testing.local.load_watch import Watched

#: Rows of an answer.
PAGE = 50_000
ANSWER_WITHIN_S = 60.0
#: Event time and the broker's differ by what a producer takes to start, and by late records.
MARGIN_S = 120.0


def waits_s(
    watched: Watched, symbols: Sequence[str], begin_s: float, end_s: float
) -> npt.NDArray[np.float64]:
    """Of each row of these symbols that was appended between two moments (seconds since 1970).

    Raises:
        OSError: no answer.
    """
    query = [
        *(("symbol", symbol) for symbol in symbols),
        ("exchange", watched.exchange),
        ("start", str(int((begin_s - MARGIN_S) * 1e9))),
        ("end", str(int((end_s + MARGIN_S) * 1e9))),
        ("limit", str(PAGE)),
        ("format", "arrow"),
    ]
    cursor: list[tuple[str, str]] = []
    parts = []
    while True:
        url = f"{watched.url}/v1/trades?{urllib.parse.urlencode(query + cursor)}"
        rows = pa.ipc.open_stream(fetch(url, ANSWER_WITHIN_S).body).read_all()
        micros = [
            rows[name].cast(pa.int64()).to_numpy() for name in ("accepted_time", "ingest_time")
        ]
        inside = (micros[1] >= begin_s * 1e6) & (micros[1] < end_s * 1e6)
        parts.append((micros[0] - micros[1])[inside] / 1e6)
        following = msgspec.json.decode(rows.schema.metadata[b"k2.meta"])["next_cursor"]
        if following is None:
            return np.concatenate(parts)
        cursor = [("cursor", following)]
