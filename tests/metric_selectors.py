"""The series that an expression of Prometheus reads, held against what a worker exposes."""

import re

from k2_streams.runtime.metrics.reference import declarations

METRICS = {metric.name: metric for metric in declarations()}
#: The series of a histogram.
PARTS = ("_bucket", "_sum", "_count")
#: Labels that Prometheus adds to every series.
OF_PROMETHEUS = {"instance", "job"}


def selectors(expression: str) -> list[tuple[str, str]]:
    """The series of K2 that an expression reads, and what stands in their braces."""
    return re.findall(r"\b(k2_\w+)(?:{([^}]*)})?", expression)


def unknown(series: str, matchers: str) -> str | None:
    """What a worker does not expose of a series; None: all of it is declared.

    A value that is a pattern or a variable of a dashboard is not compared.
    """
    name = next((series.removesuffix(part) for part in PARTS if series.endswith(part)), series)
    metric = METRICS.get(name)
    if metric is None or (name != series) is not (metric.type_name == "histogram"):
        return series
    labels = {label.name: label.values for label in metric.labels}
    for label, value in re.findall(r'(\w+)!?=~?"([^"]*)"', matchers):
        if label in OF_PROMETHEUS:
            continue
        is_text = re.fullmatch(r"[\w-]*", value)
        if label not in labels or (is_text and labels[label] and value not in labels[label]):
            return f"{series}: {label}={value}"
    return None
