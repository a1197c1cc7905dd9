"""What bounds the streams of a node."""

#: K2_STREAMS_MAX's default: with it streams hold at most a quarter of the default room of answers.
STREAMS_MAX = 64
