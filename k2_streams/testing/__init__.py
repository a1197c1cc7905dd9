"""For the tests of whoever writes a feed. The product imports nothing from here."""

from k2_streams.testing.feed_fuzz import FeedFaultError, fuzz_feed

__all__ = ["FeedFaultError", "fuzz_feed"]
