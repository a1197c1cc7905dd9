"""What is added to a row: notional values and tick directions."""
