"""How a worker logs: one line an event, words and fields, through Python's logging."""

import logging

import structlog

#: aiokafka warns of each produce that the broker answers with NOT_ENOUGH_REPLICAS while it still
#: completes the transaction before: retriable, and dozens a second. The checkpoint's time shows it.
_NOISE = ("Got error produce response", "NotEnoughReplicas")


class _Quiet(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        return not all(part in text for part in _NOISE)


def configure_logs() -> None:
    """Send structlog through the standard library, where Faust's `-l` level applies."""
    logging.getLogger("aiokafka.producer.sender").addFilter(_Quiet())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
