"""A cap on records per second: a bucket of tokens that fills with time."""


class TokenBucket:
    """Gives out at most `rate` tokens a second, and what it saved in up to `burst_s` before."""

    def __init__(self, rate: float, now_s: float, burst_s: float = 0.1) -> None:
        self.rate = rate
        self._size = max(rate * burst_s, 1.0)
        self._tokens = self._size
        self._at_s = now_s

    def take(self, wanted: int, now_s: float, *, share: float = 1.0, reserve: float = 0.0) -> int:
        """Tokens: `wanted`, or a whole `share` of the bucket if that is less; else none for now.

        A few at a time would cost more than they are worth. With `reserve`, another share, only
        what lies above it is given: whoever comes first then finds the rest.
        """
        self._tokens = min(self._size, self._tokens + (now_s - self._at_s) * self.rate)
        self._at_s = now_s
        given = min(wanted, max(int(self._size * share), 1))
        # A bucket of one token has nothing above a reserve.
        floor = reserve * self._size if self._size >= 2 else 0.0
        if self._tokens - floor < given:
            return 0
        self._tokens -= given
        return given

    def give_back(self, tokens: int) -> None:
        """Tokens that were taken and not used."""
        self._tokens = min(self._size, self._tokens + tokens)
