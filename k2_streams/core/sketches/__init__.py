"""Small summaries of many rows, with bounds: distinct values, heavy hitters, quantiles.

They are for what is too big to count exactly, and no verdict rests on them. Each is the same for
any order and split of its rows and any order of merging, so that restarts and the number of
workers change no byte of one. That is why they are made here: the usual libraries compact at
random (KLL) or when their buffers happen to be full (t-digest, frequent items), and add up by the
order of arrival (the HIP estimator of HyperLogLog).
"""
