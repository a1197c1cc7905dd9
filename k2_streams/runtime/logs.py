"""How a worker logs: one line per event, with the same fields whoever wrote it.

Lines of K2, Faust, aiokafka and aiohttp go through one formatter: time, level, logger, event, then
the event's fields. A traceback follows its line. The root logger's handlers are bounded: the same
event is written a few times per interval, and the next line says how many were suppressed.
"""

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

#: aiokafka warns of each produce that the broker answers with NOT_ENOUGH_REPLICAS while it still
#: completes the transaction before: retriable, and dozens a second. The checkpoint's time shows it.
_NOISE = ("Got error produce response", "NotEnoughReplicas")
#: The intervals of the sampler.
SAMPLE_INTERVAL_S = 10.0
#: Lines per interval of one event of K2, or of one message below WARNING of a library: a worker of
#: 60 partitions says what it does with each of them, and a loop that fails says so 10 times a
#: second at the most.
SAME_EVENT_MAX = 100
#: Lines per interval of one and the same warning of a library. While a broker is away each of
#: aiokafka's clients tries again every few milliseconds, and each says so.
SAME_WARNING_MAX = 1
#: Different events that are counted; then all are forgotten, and may be written once more.
EVENTS_MAX = 256
#: Of a malformed request's description in the log.
MALFORMED_TEXT_MAX = 120

_CLIENT_ERRORS = range(400, 500)
_OWN = ("k2_streams", "topologies", "__main__")


class _Quiet(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        return not all(part in text for part in _NOISE)


class MalformedRequests(logging.Filter):
    """One line for a request that is not HTTP; aiohttp writes a traceback with its bytes."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let all records pass; rewrite those of malformed requests."""
        error = record.exc_info[1] if record.exc_info else None
        code = getattr(error, "code", 0)
        if record.name == "aiohttp.server" and code in _CLIENT_ERRORS:
            found = str(getattr(error, "message", "")).strip().partition("\n")[0]
            remote = record.args[0] if isinstance(record.args, tuple) and record.args else None
            record.msg = "malformed HTTP request from %s: %s: %s"
            record.args = (remote, type(error).__name__, ascii(found)[1:-1][:MALFORMED_TEXT_MAX])
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


class RetriedRequests(logging.Filter):
    """What aiokafka reports and tries again is a warning.

    It writes ERROR for every answer with an error, also for those of a coordinator that is still
    starting. What it cannot retry it raises, and K2 logs it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let all records pass; lower those of aiokafka that have no traceback."""
        is_error = record.levelno == logging.ERROR and not record.exc_info
        if is_error and record.name.startswith("aiokafka"):
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


@dataclass(slots=True)
class _Written:
    since_s: float
    lines: int = 1
    suppressed: int = 0


class Sampler(logging.Filter):
    """Bounds how often the same event is written. Put it on a handler.

    Per interval of `SAMPLE_INTERVAL_S`: `SAME_EVENT_MAX` lines of an event of K2, whatever its
    fields, and `SAME_WARNING_MAX` of the same text of a library's warning. The first line of the
    next interval carries the number that was suppressed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._written: dict[tuple[str, int, str], _Written] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        key, at_most = _key_of(record)
        with self._lock:
            written = self._written.get(key)
            # By the record's own clock: set back, it starts a new interval.
            if written is not None and 0 <= record.created - written.since_s < SAMPLE_INTERVAL_S:
                if written.lines < at_most:
                    written.lines += 1
                    return True
                written.suppressed += 1
                return False
            if written is None and len(self._written) == EVENTS_MAX:
                self._written.clear()
            self._written[key] = _Written(record.created)
        if written is not None and written.suppressed:
            _add_suppressed(record, written.suppressed)
        return True


def _key_of(record: logging.LogRecord) -> tuple[tuple[str, int, str], int]:
    """What counts as the same event, and how often it may be written per interval."""
    if isinstance(record.msg, dict):
        return (record.name, record.levelno, str(record.msg.get("event"))), SAME_EVENT_MAX
    if record.levelno < logging.WARNING or record.name.startswith(_OWN):
        return (record.name, record.levelno, str(record.msg)), SAME_EVENT_MAX
    return (record.name, record.levelno, record.getMessage()), SAME_WARNING_MAX


def _add_suppressed(record: logging.LogRecord, count: int) -> None:
    if isinstance(record.msg, dict):
        record.msg = {**record.msg, "suppressed": count}
    else:
        text = record.getMessage()
        record.msg, record.args = "%s (and %d times before)", (text, count)


_RENDER = structlog.processors.KeyValueRenderer(
    key_order=["timestamp", "level", "logger", "event"], drop_missing=True
)


def _render(_logger: Any, _name: str, event: structlog.types.EventDict) -> str:
    """One line, and the traceback below it."""
    trace = event.pop("exception", None)
    line = _RENDER(None, "", event)
    return f"{line}\n{trace}" if trace else line


def _add_fields(_logger: Any, _name: str, event: structlog.types.EventDict) -> Any:
    """Time, level and logger, of the record: the same for all who write."""
    record: logging.LogRecord = event["_record"]
    at = datetime.fromtimestamp(record.created, UTC)
    event["timestamp"] = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event["level"] = record.levelname.lower()
    event["logger"] = record.name
    return event


def formatter() -> logging.Formatter:
    """The one shape of all lines."""
    return structlog.stdlib.ProcessorFormatter(
        processors=[
            _add_fields,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _render,
        ],
    )


def shape(handlers: Iterable[logging.Handler]) -> None:
    """Give the root logger's handlers K2's format and bounds; they share one sampler."""
    filters = (MalformedRequests(), RetriedRequests(), Sampler())
    for handler in handlers:
        handler.setFormatter(formatter())
        for each in filters:
            handler.addFilter(each)


def configure_logs() -> None:
    """Send structlog through the standard library, where Faust's `-l` level applies."""
    logging.getLogger("aiokafka.producer.sender").addFilter(_Quiet())
    if not logging.root.handlers:  # until Faust's worker sets its own up, which are shaped then
        logging.root.addHandler(logging.StreamHandler())
        shape(logging.root.handlers)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
