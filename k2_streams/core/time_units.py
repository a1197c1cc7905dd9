"""Units of time, in nanoseconds."""

SECOND_NS = 10**9
DAY_NS = 86_400 * SECOND_NS
