"""Benchmarks of the whole platform. Figures are medians; comparisons are ratios within one run."""
