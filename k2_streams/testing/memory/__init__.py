"""The world of a worker in memory: brokers, disk, catalog, clock, group, event loop.

Production's worker runs in it unchanged, behind its ports. Time is virtual, nothing is drawn but
from one seed, and everything happens on one thread: the same calls give the same run each time.
"""
