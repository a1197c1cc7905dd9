"""Whether all of a finite stream has come: its own count and checksum against those of its end."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from k2_streams.core.records.stream import LOG_PLACE
from k2_streams.core.subscription.position import Places
from k2_streams.core.subscription.tally import Tally
from k2_streams.query.token import StreamToken, TokenError


class CheckedRows:
    """Counts rows as they come.

    Args:
        begin: the token with which the stream goes on, or what it begins at: a time or a word.
    """

    def __init__(self, begin: str = "begin") -> None:
        self._tally = Tally()
        try:
            begun = StreamToken.decode(begin)
        except TokenError:
            return
        self._tally = Tally(begun.rows, begun.checksum)

    @property
    def rows(self) -> int:
        """How many there were."""
        return self._tally.rows

    def take(self, rows: pa.Table) -> None:
        """The next rows have come."""
        columns = (rows.column(name).to_numpy().astype(np.int64) for name in LOG_PLACE)
        self._tally = self._tally.with_rows(Places(*columns))

    def difference(self, end: Mapping[str, Any]) -> str | None:
        """What the end of the stream says otherwise; None: all of it has come, once."""
        found = {"rows": self._tally.rows, "checksum": self._tally.text}
        wanted = {name: end.get(name) for name in found}
        return None if found == wanted else f"expected {wanted}, found {found}"
