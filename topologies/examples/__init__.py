"""Topologies to start from: each a stateful agent with a table and an output, in one file."""
