"""Sequence numbers of a scope: verdicts, gaps, sessions, and the horizon of late records."""
