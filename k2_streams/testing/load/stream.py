"""A stream to send: chunks that turn into records and tell the model what was sent."""

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from k2_streams.testing.load.invalid import KINDS
from k2_streams.testing.load.messages import Encoder, Names, Record
from k2_streams.testing.load.synthetic import (
    MAX_RESETS,
    PRICE_DECIMALS,
    QUANTITY_DECIMALS,
    Messages,
    Plan,
    Synthetic,
)
from k2_streams.testing.oracle.model import Expected
from k2_streams.testing.oracle.model_ids import ExpectedIds

_SESSIONS = MAX_RESETS + 1

Ints = npt.NDArray[np.int64]


class LoadChunk(Protocol):
    """Messages in sending order; any part of them can be sent, the rest not."""

    def __len__(self) -> int:
        """How many records."""
        ...

    def records(self, start: int, end: int) -> Iterator[tuple[int, list[Record]]]:
        """Messages [start, end) as records by partition, each partition's in sending order."""
        ...

    def tell(self, expected: Expected, start: int, end: int) -> None:
        """Tell the model that messages [start, end) were sent."""
        ...


class LoadStream(Protocol):
    """What the sending loop sends."""

    scale: int  # the model's values are in units of 10^-scale
    total: int | None  # records, as far as known; for the progress

    def chunks(self) -> Iterator[LoadChunk]:
        """All of it, once."""
        ...


class SyntheticStream:
    """A plan's messages, `repeat` times over; repeats leave the invalid records out."""

    scale = PRICE_DECIMALS + QUANTITY_DECIMALS

    def __init__(self, plan: Plan, names: Names, encoder: Encoder, repeat: int) -> None:
        self._plan = plan
        self._repeat = repeat
        self.names = names
        self.encoder = encoder
        self.groups = np.full(plan.symbols * _SESSIONS, -1, np.int64)
        self.readable = np.array([kind.readable for kind in KINDS])
        self.total = None if plan.messages is None else plan.messages * repeat
        self.resets_missed = 0
        self.ids = ExpectedIds() if plan.ids else None

    def chunks(self) -> Iterator["SyntheticChunk"]:
        """All of it, once."""
        for turn in range(self._repeat):
            synthetic = Synthetic(self._plan)
            for messages in synthetic.chunks():
                kept = messages if turn == 0 else messages[messages["bad"] < 0]
                yield SyntheticChunk(self, kept)
            if self._plan.resets >= 1:
                self.resets_missed = int(self._plan.resets) - synthetic.resets_made


class SyntheticChunk:
    """A chunk of synthetic messages."""

    def __init__(self, stream: SyntheticStream, messages: Messages) -> None:
        self._stream = stream
        self._messages = messages

    def __len__(self) -> int:
        """How many records."""
        return len(self._messages)

    def records(self, start: int, end: int) -> Iterator[tuple[int, list[Record]]]:
        """Messages [start, end) as records by partition."""
        return self._stream.encoder.by_partition(self._messages[start:end])

    def _groups(self, messages: Messages, group: Callable[[str, str], int]) -> Ints:
        """The model's number for each message's session."""
        stream = self._stream
        keys = messages["symbol"].astype(np.int64) * _SESSIONS + messages["session"]
        for key in np.unique(keys[stream.groups[keys] < 0]).tolist():
            symbol, session = divmod(key, _SESSIONS)
            stream.groups[key] = group(stream.names.scopes[symbol], stream.names.session(session))
        found: Ints = stream.groups[keys]
        return found

    def tell(self, expected: Expected, start: int, end: int) -> None:
        """Tell the model that messages [start, end) were sent."""
        messages, stream = self._messages[start:end], self._stream
        if stream.ids is not None:
            groups = self._groups(messages, stream.ids.group)
            values = messages["price"] * messages["quantity"]
            stream.ids.feed(groups, messages["sequence"], values)
            return
        bad = messages["bad"]
        for index, count in enumerate(np.bincount(bad[bad >= 0], minlength=len(KINDS)).tolist()):
            if count:
                expected.dead_letter(KINDS[index].reason, count)
        messages = messages[(bad < 0) | stream.readable[bad]]
        expected.feed(
            self._groups(messages, expected.group),
            messages["sequence"],
            messages["bad"] < 0,
            stream.encoder.worth(messages),
        )
