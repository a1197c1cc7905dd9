"""What a user declares, and how its agents run: pure, without Kafka, RocksDB or Faust."""
