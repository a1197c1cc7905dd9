"""The reference page of the metrics, from their table."""

import inspect

from k2_streams.runtime.metrics import table
from k2_streams.runtime.metrics.declaration import AnyMetricDeclaration, MetricGroup

_HEAD = """# Metrics

`GET /metrics` exposes these metrics of a worker in Prometheus' text format, or OpenMetrics
for a caller that asks for it (`Accept`), with exemplars. A histogram `NAME` is exposed as
`NAME_bucket`, `NAME_sum` and `NAME_count`. Labels come from K2, its settings and the
descriptions of feeds, never from records or callers, so the number of series has a bound. A metric
whose label values are listed here is exposed from the start of the worker, with 0.
"""


def groups() -> list[type[MetricGroup]]:
    """In the order of the table."""
    return [
        each
        for each in vars(table).values()
        if inspect.isclass(each) and issubclass(each, MetricGroup) and each is not MetricGroup
    ]


def declarations() -> list[AnyMetricDeclaration]:
    """Every metric of a worker."""
    return [declaration for group in groups() for declaration in group.declarations()]


def page() -> str:
    """`docs/reference/metrics.md`."""
    return "\n".join([_HEAD, *(_section(group) for group in groups())])


def _section(group: type[MetricGroup]) -> str:
    lines = [
        f"## {(inspect.getdoc(group) or '').rstrip('.').partition('. ')[0]}",
        "",
        "| metric | type | unit | labels | meaning |",
        "|---|---|---|---|---|",
        *(
            f"| `{each.name}` | {each.type_name} | {each.unit} | {_labels(each)} "
            f"| {each.description} |"
            for each in group.declarations()
        ),
        "",
    ]
    return "\n".join(lines)


def _labels(declaration: AnyMetricDeclaration) -> str:
    return "; ".join(
        f"`{label.name}`: {', '.join(f'`{v}`' for v in label.values) or label.bound}"
        for label in declaration.labels
    )
