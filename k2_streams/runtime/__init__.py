"""The worker: the only place that wires. Faust assigns partitions and runs agents; K2 decides."""
