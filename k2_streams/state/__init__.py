"""Tables: RocksDB on this machine, a changelog in Kafka, and the way back from one to the other."""
