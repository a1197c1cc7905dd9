"""The as-of join: which row of another stream stood at the time of each row."""
