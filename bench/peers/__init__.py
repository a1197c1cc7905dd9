"""The same work on Kafka Streams and on Quix Streams, measured beside K2: `make bench-peers`.

See docs/concepts/performance.md for what is compared, and what each of them does not do.
"""
