"""Bars over lake and tail, at one read point, with their proof."""
