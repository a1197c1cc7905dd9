"""Processes on this machine: a local Kafka without Docker, and workers."""
