"""What a registry exposes, as a scrape would show it."""

from prometheus_client import CollectorRegistry


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    """The value of a sample by its full name: `k2_tail_rows`, `k2_checkpoint_seconds_count`.

    Raises:
        AssertionError: the registry does not expose it.
    """
    found = registry.get_sample_value(name, labels)
    assert found is not None, f"{name} with {labels} is not exposed"
    return found


def samples(scrape: str) -> dict[str, float]:
    """The samples of a scrape, by name; those of all labels added up."""
    found: dict[str, float] = {}
    for line in scrape.splitlines():
        if line.startswith("k2_"):
            series, _, number = line.rpartition(" ")
            name = series.partition("{")[0]
            found[name] = found.get(name, 0.0) + float(number)
    return found
