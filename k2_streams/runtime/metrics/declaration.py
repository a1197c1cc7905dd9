"""How a metric is declared: once, as an attribute of a group.

The attribute's name is the metric's name without its prefix, so code, scrape and reference page
have one name for it:

    class TailMetrics(MetricGroup):
        tail_rows = gauge("Rows that the tail holds", unit="rows")   # k2_tail_rows

A metric whose labels all have listed values is exposed from the start with each of them at 0: a
dashboard over a healthy worker shows zeros, not "no data". A group whose metrics all have the same
first label, as `stream`, is used through `group.of(value)`.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Self, TypeVar, cast, overload

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

PREFIX = "k2_"
#: From a cached answer to the longest wait; the bounds of the latency goals (0.2, 0.3, 0.5 s) are
#: among them.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

Kind = TypeVar("Kind", Counter, Gauge, Histogram)


@dataclass(frozen=True, slots=True)
class Label:
    """A label and what bounds the number of its values.

    Attributes:
        name: in the scrape.
        values: all of them, if K2 lists them itself.
        bound: otherwise, what limits how many there are.
    """

    name: str
    values: tuple[str, ...] = ()
    bound: str = ""

    def __post_init__(self) -> None:
        """A label without a bound could grow with what records or callers name."""
        if bool(self.values) is bool(self.bound):
            raise ValueError(f"label {self.name}: expected either its values or their bound")


class MetricDeclaration(Generic[Kind]):
    """A metric as it is declared; on an instance of its group, the metric itself.

    Args:
        kind: prometheus_client's class.
        description: of the scrape's HELP line.
        labels: with their bounds.
        unit: the base unit of its value.
        buckets: of a histogram.
    """

    def __init__(
        self,
        kind: type[Kind],
        description: str,
        labels: Sequence[Label],
        unit: str,
        buckets: Sequence[float] = (),
    ) -> None:
        self.type_name: str = kind.__name__.lower()
        self._kind: Callable[..., Kind] = kind
        self.description = description
        self.labels = tuple(labels)
        self.unit = unit
        self.buckets = tuple(buckets)
        self.attribute = ""

    def __set_name__(self, owner: type, attribute: str) -> None:
        self.attribute = attribute

    @overload
    def __get__(self, group: None, owner: type) -> Self: ...
    @overload
    def __get__(self, group: object, owner: type) -> Kind: ...
    def __get__(self, group: object | None, owner: type) -> "Self | Kind":
        # A group puts the created metric into its own dictionary, which stands before this.
        return self if group is None else cast("Kind", vars(group)[self.attribute])

    @property
    def name(self) -> str:
        """As it is scraped."""
        return PREFIX + self.attribute

    def create(self, registry: CollectorRegistry) -> Kind:
        """The metric, registered; with its series, if all values of its labels are listed."""
        more = {"buckets": self.buckets} if self.buckets else {}
        names = [label.name for label in self.labels]
        metric = self._kind(self.name, self.description, names, registry=registry, **more)
        if self.labels and all(label.values for label in self.labels):
            for values in itertools.product(*(label.values for label in self.labels)):
                metric.labels(*values)
        return metric

    def labelled(self, metric: Kind, value: str) -> Kind:
        """The metric with its first label set; `labels` then takes the others, if there are any."""
        if len(self.labels) == 1:
            return metric.labels(value)
        others = self.labels[1:]
        if all(label.values for label in others):
            for values in itertools.product(*(label.values for label in others)):
                metric.labels(value, *values)
        return cast("Kind", _Labelled(metric, value))


def or_unknown(read: Callable[[], float]) -> Callable[[], float]:
    """What a gauge reads at each scrape; NaN while the system does not say it.

    An `OSError`, as of a disk that is not mounted any more, must not cost all other metrics.
    """

    def value() -> float:
        try:
            return read()
        except OSError:
            return math.nan

    return value


class _Labelled:
    """A metric whose first label is set."""

    def __init__(self, metric: Counter | Gauge | Histogram, value: str) -> None:
        self._metric = metric
        self._value = value

    def labels(self, *values: str) -> Counter | Gauge | Histogram:
        """The series of the other labels' values."""
        return self._metric.labels(self._value, *values)


AnyMetricDeclaration = (
    MetricDeclaration[Counter] | MetricDeclaration[Gauge] | MetricDeclaration[Histogram]
)


class MetricGroup:
    """The metrics of one subsystem, in the registry of the worker."""

    def __init__(self, registry: CollectorRegistry) -> None:
        for declaration in self.declarations():
            vars(self)[declaration.attribute] = declaration.create(registry)

    def of(self, value: str) -> Self:
        """The same metrics with the label set that all of them have first.

        Series whose other labels have listed values are exposed from now on.
        """
        one = object.__new__(type(self))
        for declaration in self.declarations():
            attribute = declaration.attribute
            vars(one)[attribute] = declaration.labelled(vars(self)[attribute], value)
        return one

    @classmethod
    def declarations(cls) -> list[AnyMetricDeclaration]:
        """In the order in which they are declared."""
        return [each for each in vars(cls).values() if isinstance(each, MetricDeclaration)]


def counter(description: str, *labels: Label, unit: str) -> MetricDeclaration[Counter]:
    """What only grows; its attribute ends in `_total`."""
    return MetricDeclaration(Counter, description, labels, unit)


def gauge(description: str, *labels: Label, unit: str) -> MetricDeclaration[Gauge]:
    """What is measured now."""
    return MetricDeclaration(Gauge, description, labels, unit)


def histogram(description: str, *labels: Label) -> MetricDeclaration[Histogram]:
    """How long something takes, in seconds."""
    return MetricDeclaration(Histogram, description, labels, "seconds", SECONDS)
