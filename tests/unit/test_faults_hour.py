"""What is said of a worker that was watched for an hour."""

from itertools import pairwise

from faults.hour import Sample, findings, floors


def test_growth_is_seen_and_the_warm_up_is_not():
    """200 MiB at once in the first minutes count for nothing, 12 MiB an hour afterwards do.

    Of them, 6 are footers and 3 RocksDB's. Threads come once, and stay so in the last half hour.
    """
    seconds = range(0, 3_600, 5)
    samples = [
        Sample(
            s,
            100.0 + min(s, 1_000) * 0.2 + max(s - 1_200, 0) / 300,
            s / 600,
            s / 1_200,
            40,
            20 + (s >= 1_790),
            8.0,
        )
        for s in seconds
    ]
    table = "\n".join(findings(samples))
    assert "20 minutes of warm-up" in table
    assert "| memory MiB | 300 | 308 | 308 | +12.0 | +12.0 |" in table
    assert "| of it footers of the lake's files | 2 | 6 | 6 | +6.0 | +6.0 |" in table
    assert "| memory without both | 297 | 299 | 299 | +3.0 | +3.0 |" in table
    assert "| of that the least of each 5 minutes | 297 | 298 | 298 | +3.0 | +3.0 |" in table
    assert "| open files | 40 | 40 | 40 | +0.0 | +0.0 |" in table
    assert "| threads | 20 | 21 | 21 | +1.7 | +0.0 |" in table


def test_a_burst_a_minute_is_none_of_the_least():
    seconds = [float(second) for second in range(0, 3_600, 5)]
    at_s, least = floors(seconds, [100.0 + (80.0 if s % 60 < 50 else 0.0) for s in seconds])
    assert least == [100.0] * 11
    assert all(late - early == 300.0 for early, late in pairwise(at_s))


def test_a_worker_that_never_answered_is_reported():
    assert findings([]) == ["Worker 0 never answered: nothing is known of its memory."]
