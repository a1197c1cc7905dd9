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


def labels_of(series: str) -> set[str]:
    """The labels of a series as Prometheus keeps it."""
    name = next((series.removesuffix(part) for part in PARTS if series.endswith(part)), series)
    found = OF_PROMETHEUS | {label.name for label in METRICS[name].labels}
    return found | {"le"} if series.endswith("_bucket") else found


def unknown_groups(expression: str) -> list[str]:
    """Labels that an expression groups or joins by, and not all of its series have.

    By a label that no series has, all of them fall into one group, and a join finds nothing.
    `group_left` brings labels from the other side.
    """
    brought = {
        label
        for names in re.findall(r"group_left\s*\(([^)]*)\)", expression)
        for label in _names(names)
    }
    wrong = []
    for found in re.finditer(r"\b(by|on)\s*\(([^)]*)\)", expression):
        behind = expression[found.end() :].lstrip()
        inside = _in_parentheses(behind) if found[1] == "by" else expression
        for series, _ in selectors(inside):
            lacking = _names(found[2]) - labels_of(series) - brought
            wrong += [f"{series}: {found[1]} ({label})" for label in sorted(lacking)]
    return wrong


def _names(text: str) -> set[str]:
    return {name.strip() for name in text.split(",")} - {""}


def _in_parentheses(text: str) -> str:
    """What stands in the parentheses that a text begins with."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return text[1:place]
    raise ValueError(f"expected balanced parentheses: {text}")


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
