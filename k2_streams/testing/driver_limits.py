"""What bounds the workers of a `StreamDriver`."""

from k2_streams.runtime.limits import Limits

#: Production's, but that nothing is looked at more often than a test needs: an hour passes in a few
#: seconds.
DRIVER_LIMITS = Limits(sink_tick_s=0.5, load_tick_s=2.0, watchdog_tick_s=5.0, tail_fetch_ms=5_000)
#: Records of one fetch of one partition.
FETCH_RECORDS = 8_192
