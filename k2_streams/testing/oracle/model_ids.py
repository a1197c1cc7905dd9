"""What must come of messages that carry an id and no number: each id once.

As `expected`, but there is no order to speak of: nothing is missing, nothing is late.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from k2_streams.testing.oracle.model import SessionTruth, ranges_of


class ExpectedIds:
    """Fed with the stream in sending order; ids are numbers as text."""

    def __init__(self) -> None:
        self._scopes: list[str] = []
        self._sessions: list[str] = []
        self._seen: list[npt.NDArray[np.bool_]] = []  # of a group, by id
        self._values: list[int] = []
        self._repeated: list[int] = []

    def group(self, scope: str, session: str) -> int:
        """A number for a session of a scope, to be fed with."""
        self._scopes.append(scope)
        self._sessions.append(session)
        self._seen.append(np.zeros(64, np.bool_))
        self._values.append(0)
        self._repeated.append(0)
        return len(self._scopes) - 1

    def feed(
        self,
        groups: npt.NDArray[np.int64],
        ids: npt.NDArray[np.int64],
        values: npt.NDArray[Any],
    ) -> None:
        """Messages whose id can be read and which become a row, if it is new.

        Args:
            groups: as `group` gave them.
            ids: from 0.
            values: price times quantity in units.
        """
        for group in np.unique(groups).tolist():
            mine = groups == group
            numbers, value = ids[mine], values[mine]
            seen = self._seen[group]
            if numbers.max() >= len(seen):
                larger = np.zeros(2 * (int(numbers.max()) + 1), np.bool_)
                larger[: len(seen)] = seen
                seen = self._seen[group] = larger
            first = np.zeros(len(numbers), np.bool_)
            first[np.unique(numbers, return_index=True)[1]] = True
            first &= ~seen[numbers]
            seen[numbers] = True
            self._values[group] += int(value[first].sum())
            self._repeated[group] += int(np.count_nonzero(~first))

    def truths(self) -> Iterable[SessionTruth]:
        """What must have come of each session, by scope."""
        for group in sorted(range(len(self._scopes)), key=lambda one: self._scopes[one]):
            ids = np.flatnonzero(self._seen[group]).tolist()
            yield SessionTruth(
                scope=self._scopes[group],
                session=self._sessions[group],
                rows=ranges_of(ids),
                count=len(ids),
                value=self._values[group],
                duplicate_count=self._repeated[group],
            )
