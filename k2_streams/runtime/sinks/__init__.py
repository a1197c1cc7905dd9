"""Sinks: each appends a log to its Iceberg table."""
