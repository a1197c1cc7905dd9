"""Spans of what K2 does: requests with their stages, checkpoints, lake commits, maintenance.

Off, and nearly free, until `start` is given what records them (`runtime.tracing`). Lines that are
logged within a span carry its `trace_id` and `span_id`.
"""

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import structlog

Attribute = str | int | float | bool
#: Of one span: who made the records of a checkpoint is a sample, not a list of all.
MAX_LINKS = 128


class TraceSpan(Protocol):
    """What is being recorded."""

    @property
    def trace_id(self) -> str:
        """Of the whole, in 32 hexadecimal digits."""
        ...

    @property
    def span_id(self) -> str:
        """Of this part, in 16 hexadecimal digits."""
        ...

    def set(self, name: str, value: Attribute) -> None:
        """Note what became known meanwhile."""
        ...

    def fail(self, reason: str) -> None:
        """It did not do what it was for. An exception that leaves the span says so by itself."""
        ...


class Tracer(Protocol):
    """Records spans."""

    def span(
        self,
        name: str,
        parent: str | None,
        links: Sequence[str],
        attributes: dict[str, Attribute],
    ) -> AbstractContextManager[TraceSpan]:
        """A span around a block, below the one that the caller is in.

        Args:
            name: of few values.
            parent: a W3C `traceparent` from outside; one that cannot be read is none.
            links: others, of what the span is about; at most `MAX_LINKS`.
            attributes: what is known at its begin.
        """
        ...


class _Off:
    """A span that nobody records."""

    trace_id = ""
    span_id = ""

    def set(self, name: str, value: Attribute) -> None:
        """Nothing."""

    def fail(self, reason: str) -> None:
        """Nothing."""


_OFF: AbstractContextManager[TraceSpan] = contextlib.nullcontext(_Off())
_tracer: Tracer | None = None


def start(tracer: Tracer | None) -> None:
    """Record the spans of this process from now on; None: no more."""
    global _tracer  # noqa: PLW0603 - of the process, as its log is
    _tracer = tracer


def is_on() -> bool:
    """Whether spans are recorded: what they alone need is not looked for otherwise."""
    return _tracer is not None


def span(
    name: str, parent: str | None = None, links: Sequence[str] = (), **attributes: Attribute
) -> AbstractContextManager[TraceSpan]:
    """A span around a block. Without a tracer it costs a call."""
    return _OFF if _tracer is None else _recorded(_tracer, name, parent, links, attributes)


@contextlib.contextmanager
def _recorded(
    tracer: Tracer,
    name: str,
    parent: str | None,
    links: Sequence[str],
    attributes: dict[str, Attribute],
) -> Iterator[TraceSpan]:
    with (
        tracer.span(name, parent, links, attributes) as found,
        structlog.contextvars.bound_contextvars(trace_id=found.trace_id, span_id=found.span_id),
    ):
        yield found
