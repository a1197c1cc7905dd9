"""All that speaks to Kafka: clients, transactions, topics, and the local broker."""
