"""What all tasks of a worker share about load: the level, the tiers, the cap on the rate."""

from typing import Any, NamedTuple

import structlog

from k2_streams.clock import Clock
from k2_streams.core.load.backlog import NO_TIER
from k2_streams.core.load.degradation import Level
from k2_streams.core.load.rate import TokenBucket
from k2_streams.core.load.tiers import DEFAULT_TABLE, TierTable, TierTableError, parse
from k2_streams.feeds.decoding import keys
from k2_streams.feeds.decoding.decoded import MAX_VALUE_BYTES
from k2_streams.runtime.settings.text_files import ENCODING, encoding_error
from k2_streams.runtime.settings.worker import OverloadSettings

log = structlog.get_logger(__name__)

#: Keys whose tier is remembered: every scope of a worker, some 10 MB.
_REMEMBERED_KEYS = 100_000
#: A task takes this share of the saved tokens at once, so that every task comes to its turn.
TOKEN_SHARE = 0.25
#: What is drained leaves this share of them to the sources of all partitions.
DRAIN_RESERVE = 0.5


class Overload:
    """Read by the tasks, for each batch; the level is set by the monitor alone."""

    def __init__(self, settings: OverloadSettings, clock: Clock) -> None:
        self.level = Level.NORMAL
        self.worked = 0  # records processed so far
        self.tiers = Tiers(settings)
        self._enrich = settings.enrich
        self._clock = clock
        self._bucket = (
            TokenBucket(settings.max_rate, clock.monotonic()) if settings.max_rate else None
        )

    @property
    def enriches(self) -> bool:
        """Whether rows are enriched as they are made."""
        return self._enrich and self.level < Level.SOFT

    @property
    def is_capped(self) -> bool:
        """Whether K2_MAX_RATE_PER_S is set."""
        return self._bucket is not None

    def tokens(self, wanted: int, *, drain: bool = False) -> int:
        """So many records, up to `wanted`, may be worked now."""
        if self._bucket is None:
            return wanted
        reserve = DRAIN_RESERVE if drain else 0.0
        now_s = self._clock.monotonic()
        return self._bucket.take(wanted, now_s, share=TOKEN_SHARE, reserve=reserve)

    def give_back(self, tokens: int) -> None:
        """Not needed after all."""
        if self._bucket is not None:
            self._bucket.give_back(tokens)


class _Known(NamedTuple):
    """A table, and the tiers of keys that were looked up in it."""

    table: TierTable
    tiers: dict[bytes, int]


class Tiers:
    """The tier table, read again when its file changes; a bad file changes nothing."""

    def __init__(self, settings: OverloadSettings) -> None:
        self._file = settings.tiers_file
        self._stamp: tuple[int, int] | None = None
        # One object: the tasks' thread looks keys up while the loop's thread takes another table.
        self._now = _Known(parse(DEFAULT_TABLE), {})
        self.error: str | None = None
        self.reload()

    @property
    def table(self) -> TierTable:
        """The newest one that could be read."""
        return self._now.table

    def use(self, table: TierTable) -> None:
        """Take another table; nothing is remembered of the one before."""
        self._now = _Known(table, {})

    def of_record(self, record: Any) -> int:
        """A record's tier; `NO_TIER` of what will be a dead letter for its key or its size."""
        key, value = record.key, record.value
        if key is None or (value is not None and len(value) > MAX_VALUE_BYTES):
            return NO_TIER
        tier = self._now.tiers.get(key)
        return self.of_key(key) if tier is None else tier

    def of_key(self, key: bytes) -> int:
        """A key's tier; `NO_TIER` of what is no scope's key."""
        now, parsed = self._now, keys.parse(key)
        if len(now.tiers) >= _REMEMBERED_KEYS:
            now.tiers.clear()
        tier = now.tiers[key] = NO_TIER if parsed is None else now.table.tier_of(parsed.text)
        return tier

    def reload(self) -> None:
        """Look whether the file is another one; what is wrong with it is logged once."""
        if self._file is None:
            return
        try:
            stat = self._file.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            if stamp == self._stamp:
                return
            table = parse(self._file.read_text(ENCODING))
        except (OSError, UnicodeDecodeError, TierTableError) as error:
            text = str(error)
            if isinstance(error, UnicodeDecodeError):
                text = encoding_error(self._file, error)
            if text != self.error:
                self.error = text
                log.error("tiers not read", file=str(self._file), error=self.error)  # noqa: TRY400 - a person reads the text
            return
        self.use(table)
        self._stamp, self.error = stamp, None
        log.info("tiers read", file=str(self._file), patterns=len(table))
