"""The stations of the ten-minute demo: each shows a part of K2, and asserts what it says."""
