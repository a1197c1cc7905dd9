"""The records of `k2.levels`: when a worker's level changed, and what was measured then."""

import msgspec

from k2_streams.core.load.degradation import Level, Signals


class LevelChanged(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="level_changed"
):
    """One JSON object per record; the key is the worker's."""

    worker: str
    level: str
    previous: str
    reason: str  # "lag", "memory", "downstream"; "calm" on the way down
    lag_records: int  # of its partitions: not read, or deferred
    lag_s: float | None  # the same at the rate of the last 10 s
    memory_share: float
    time_us: int


def changed(
    worker: str, previous: Level, level: Level, reason: str, signals: Signals, time_us: int
) -> LevelChanged:
    """What a change is published as."""
    lag_s = signals.lag_s
    return LevelChanged(
        worker=worker,
        level=level.name,
        previous=previous.name,
        reason=reason,
        lag_records=signals.lag_records,
        lag_s=None if lag_s is None or lag_s == float("inf") else round(lag_s, 3),
        memory_share=round(signals.memory_share, 4),
        time_us=time_us,
    )


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(LevelChanged)


def encode(change: LevelChanged) -> bytes:
    """A change as a record's value."""
    return _ENCODER.encode(change)


def decode(value: bytes) -> LevelChanged:
    """A record's value as a change.

    Raises:
        msgspec.DecodeError: it is none of this version.
    """
    return _DECODER.decode(value)
