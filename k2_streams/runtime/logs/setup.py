"""Sets up the log of a process: structlog's and the standard library's lines on the same handlers.

1. K2's events go through structlog into the standard library, where Faust's `-l` level applies.
2. Filters correct lines of libraries whose level or text misleads.
3. The sampler bounds their number.
4. The formatter gives all of them one shape, `K2_LOG_FORMAT`.
"""

import logging
from collections.abc import Iterable

import structlog

from k2_streams.runtime.logs.filters import MalformedRequests, ProduceNoise, RetriedRequests
from k2_streams.runtime.logs.formats import LogFormat, formatter
from k2_streams.runtime.logs.sampler import Sampler


def shape(handlers: Iterable[logging.Handler], log_format: LogFormat = "console") -> None:
    """Give handlers of the root logger K2's format and bounds; they share one sampler."""
    filters = (MalformedRequests(), RetriedRequests(), Sampler())
    for handler in handlers:
        handler.setFormatter(formatter(log_format))
        for each in filters:
            handler.addFilter(each)


def configure_logs(log_format: LogFormat = "console") -> None:
    """Set up the log; a handler of Faust's worker, which comes later, is given to `shape`.

    Context variables are merged where K2 logs: a line carries the correlation id of the request
    that caused it, in whatever thread it is formatted.
    """
    logging.getLogger("aiokafka.producer.sender").addFilter(ProduceNoise())
    if not logging.root.handlers:
        logging.root.addHandler(logging.StreamHandler())
        shape(logging.root.handlers, log_format)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
