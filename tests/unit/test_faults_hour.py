"""What is said of a worker that was watched for an hour."""

from faults.hour import Sample, findings


def test_growth_is_seen_and_the_warm_up_is_not():
    """200 MiB at once in the first minutes count for nothing, 12 MiB an hour afterwards do.

    Of them, 9 are footers.
    """
    seconds = range(0, 3_600, 5)
    samples = [
        Sample(
            s,
            100.0 + min(s, 500) * 0.4 + max(s - 600, 0) / 300,
            s / 400,
            40,
            20 + s // 1_800,
            8.0,
        )
        for s in seconds
    ]
    table = "\n".join(findings(samples))
    assert "10 minutes of warm-up" in table
    assert "| memory MiB | 300 | 310 | 310 | +12.0 |" in table
    assert "| memory without them | 298 | 301 | 301 | +3.0 |" in table
    assert "| open files | 40 | 40 | 40 | +0.0 |" in table
    assert "| threads | 20 | 21 | 21 |" in table


def test_a_worker_that_never_answered_is_said_to_be_one():
    assert findings([]) == ["Worker 0 never said what it takes: nothing is known of its memory."]
