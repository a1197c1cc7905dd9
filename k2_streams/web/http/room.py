"""Room for answers: what all of them may hold in memory from the question to the last byte.

Room is taken before the query runs, for as much as the answer may hold at most: an answer that
there is no room to send is not worked out. What it turns out to need less is given back.
"""

from typing import Self

from k2_streams.core.load.fair_shares import FairShares
from k2_streams.web.http.errors import BUSY, retry_later

#: Bytes of an answer's row in memory (Arrow), and of its text while a piece is rendered.
ROW_BYTES = 300
TEXT_ROW_BYTES = 1_200
#: Where nothing else is given: seven of the longest answers.
DEFAULT_TOTAL_BYTES = 512 << 20
#: An answer up to this passes large ones: the page's, and the default limit of 1,000 rows.
SMALL_BYTES = 2 << 20


class Room:
    """The budget of one server. For one event loop."""

    def __init__(self, total_bytes: int = DEFAULT_TOTAL_BYTES) -> None:
        self._shares = FairShares(total_bytes, SMALL_BYTES)

    @property
    def total_bytes(self) -> int:
        """The budget."""
        return self._shares.total

    @property
    def held_bytes(self) -> int:
        """What is taken now."""
        return self._shares.held

    def take(self, caller: str, size_bytes: int) -> "Reservation":
        """Room for an answer, until the block ends.

        Raises:
            ApiError: 503, there is none.
        """
        if not self._shares.take(caller, size_bytes):
            raise retry_later(
                BUSY,
                f"the answers on their way hold {self._shares.held} of {self._shares.total} bytes: "
                "read answers faster, lower limit, or retry later",
            )
        return Reservation(self._shares, caller, size_bytes)


class Reservation:
    """What one answer has taken. Use as a context manager."""

    def __init__(self, shares: FairShares, caller: str, size_bytes: int) -> None:
        self._shares = shares
        self._caller = caller
        self._size_bytes = size_bytes

    @property
    def size_bytes(self) -> int:
        """What it holds."""
        return self._size_bytes

    def needs(self, size_bytes: int) -> None:
        """So much turned out to be needed; if it is less than was taken, the rest is given back."""
        if size_bytes < self._size_bytes:
            self._shares.shrink(self._caller, self._size_bytes, size_bytes)
            self._size_bytes = size_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Give all of it back; once."""
        self._shares.give_back(self._caller, self._size_bytes)


def size_of(rows: int, rows_at_once: int, rows_bytes: int | None = None) -> int:
    """Bytes that an answer of so many rows holds at once: its rows, and the piece being sent."""
    held = rows * ROW_BYTES if rows_bytes is None else rows_bytes
    return held + min(rows, rows_at_once) * TEXT_ROW_BYTES
