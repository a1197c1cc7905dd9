"""What was lost with a broker, rebuilt from the lake: decisions alone."""
