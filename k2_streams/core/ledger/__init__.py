"""The ledger: what was missing, what could not be processed, and when load was high, as rows."""
