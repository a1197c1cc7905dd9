"""How a worker logs: one line an event, words and fields, through Python's logging."""

import logging
from dataclasses import dataclass

import structlog

#: aiokafka warns of each produce that the broker answers with NOT_ENOUGH_REPLICAS while it still
#: completes the transaction before: retriable, and dozens a second. The checkpoint's time shows it.
_NOISE = ("Got error produce response", "NotEnoughReplicas")
#: While a broker is away each of aiokafka's clients tries again every few milliseconds, and each
#: says so: a thousand lines a second.
_RETRYING = (
    "aiokafka",
    "aiokafka.conn",
    "aiokafka.consumer.fetcher",
    "aiokafka.consumer.group_coordinator",
    "aiokafka.producer.sender",
)
#: The same warning again only after this.
REPEAT_AFTER_S = 10.0
#: Different warnings that are remembered; then all are forgotten, and may be said once more.
WARNINGS_MAX = 256


class _Quiet(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        return not all(part in text for part in _NOISE)


@dataclass(slots=True)
class _Said:
    at_s: float
    kept_back: int = 0


class Seldom(logging.Filter):
    """Of a warning that comes again and again one in `REPEAT_AFTER_S`, and how many there were."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, _Said] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is to be said."""
        if record.levelno < logging.WARNING:
            return True
        text = record.getMessage()
        said = self._said.get(text)
        # By the record's own clock: set back, it starts anew.
        if said is not None and 0 <= record.created - said.at_s < REPEAT_AFTER_S:
            said.kept_back += 1
            return False
        if said is None and len(self._said) == WARNINGS_MAX:
            self._said.clear()
        self._said[text] = _Said(record.created)
        if said is not None and said.kept_back:
            record.msg, record.args = "%s (and %d times before)", (text, said.kept_back)
        return True


def configure_logs() -> None:
    """Send structlog through the standard library, where Faust's `-l` level applies."""
    logging.getLogger("aiokafka.producer.sender").addFilter(_Quiet())
    for name in _RETRYING:
        logging.getLogger(name).addFilter(Seldom())
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
