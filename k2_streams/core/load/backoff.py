"""How long to wait before another attempt: doubled each time, bounded, and never in step."""

#: Above it the doubling has long met any bound; it keeps the power finite.
_DOUBLINGS_MAX = 62


def wait_s(attempt: int, low_s: float, high_s: float, chance: float) -> float:
    """The pause after so many failed attempts (from 1).

    Half of it is chance: those who failed together do not come back together.

    Args:
        attempt: that failed, counted from 1.
        low_s: of the first pause, at the most.
        high_s: of any.
        chance: from 0 to 1.
    """
    longest_s = min(low_s * 2.0 ** min(attempt - 1, _DOUBLINGS_MAX), high_s)
    return longest_s * (0.5 + 0.5 * chance)
