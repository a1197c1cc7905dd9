"""Faults over real processes and a real Kafka, and what was lost, doubled or wrong after them."""
