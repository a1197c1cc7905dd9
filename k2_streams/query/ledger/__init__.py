"""What is made of the ledger's tables: gaps, and coverage."""
