"""What logs and topics hold: streams, schemas, batches, events, offset vectors."""
