"""A rate limit per caller: a token bucket each, in bounded memory."""

import math
from collections import OrderedDict
from dataclasses import dataclass

#: Callers remembered; the one idle longest is forgotten first. A full bucket is what a forgotten
#: caller gets back, which it would have had after a second of idleness anyway.
MAX_CALLERS = 10_000


@dataclass(slots=True)
class _CallerTokens:
    tokens: float
    updated_s: float


class RateLimiter:
    """`rate_per_s` requests per second and caller, and as many at once after a second's rest."""

    def __init__(self, rate_per_s: float, max_callers: int = MAX_CALLERS) -> None:
        if rate_per_s <= 0 or max_callers <= 0:
            raise ValueError(f"expected a rate and a bound above 0, found {rate_per_s}")
        self._rate_per_s = rate_per_s
        self._max_callers = max_callers
        self._buckets: OrderedDict[str, _CallerTokens] = OrderedDict()

    def take(self, caller: str, now_s: float, rate_per_s: float | None = None) -> int:
        """Take one request of `caller` at `now_s` (monotonic).

        Args:
            caller: who asks.
            now_s: monotonic.
            rate_per_s: of this caller, if it has one of its own.

        Returns:
            0 if it may pass, else the whole seconds, at least 1, after which the next one may.
        """
        rate_per_s = rate_per_s or self._rate_per_s
        burst = max(1.0, rate_per_s)
        bucket = self._buckets.pop(caller, None) or _CallerTokens(burst, now_s)
        elapsed_s = max(0.0, now_s - bucket.updated_s)
        bucket.tokens = min(burst, bucket.tokens + elapsed_s * rate_per_s)
        bucket.updated_s = now_s
        self._buckets[caller] = bucket
        if len(self._buckets) > self._max_callers:
            self._buckets.popitem(last=False)
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            return 0
        return max(1, math.ceil((1 - bucket.tokens) / rate_per_s))

    def __len__(self) -> int:
        return len(self._buckets)
