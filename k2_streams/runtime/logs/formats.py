"""The shape of a log line, whoever wrote it: K2, Faust, mode, aiokafka or aiohttp.

Fields: timestamp, level, logger, event, then the fields of the event, then the exception.

- console: `name='value'` pairs; a traceback follows its line.
- json: one object per line; a traceback is the string `exception`.
"""

import logging
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
import structlog
from structlog.types import EventDict, Processor

#: First, in this order.
LEADING_FIELDS = ("timestamp", "level", "logger", "event")
#: The names that the shape itself uses: no event has a field of such a name.
RESERVED_FIELDS = frozenset(
    {*LEADING_FIELDS, "exception", "suppressed", "correlation_id", "trace_id", "span_id"}
)


#: `K2_LOG_FORMAT`.
LogFormat = Literal["console", "json"]


_key_values = structlog.processors.KeyValueRenderer(
    key_order=list(LEADING_FIELDS), drop_missing=True
)


def _console(_logger: Any, _name: str, event: EventDict) -> str:
    trace = event.pop("exception", None)
    line = _key_values(None, "", event)
    return f"{line}\n{trace}" if trace else line


def _json(_logger: Any, _name: str, event: EventDict) -> str:
    trace = event.pop("exception", None)
    line = {name: event.pop(name) for name in LEADING_FIELDS if name in event} | dict(event)
    if trace:
        line["exception"] = trace
    try:
        return msgspec.json.encode(line, enc_hook=_encodable).decode()
    except (TypeError, ValueError, OverflowError, RecursionError):
        # Half of a surrogate pair, an int of more than 64 bits, a key that is no text: the line
        # still comes out, with such values as Python writes them.
        return msgspec.json.encode({str(name): ascii(line[name]) for name in line}).decode()


def _encodable(value: object) -> object:
    """A value of another type than JSON's: a numpy number as a number, all else as its repr."""
    item = getattr(value, "item", None)
    return item() if callable(item) else repr(value)


_RENDERERS: dict[LogFormat, Processor] = {"console": _console, "json": _json}


def _add_record_fields(_logger: Any, _name: str, event: EventDict) -> EventDict:
    """Time, level and logger, of the record: the same for all who write."""
    record: logging.LogRecord = event["_record"]
    at = datetime.fromtimestamp(record.created, UTC)
    event["timestamp"] = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event["level"] = record.levelname.lower()
    event["logger"] = record.name
    return event


def formatter(log_format: LogFormat) -> logging.Formatter:
    """The formatter of every handler.

    Context variables (the correlation id of a request) are added to the lines of libraries here,
    to K2's own where they are logged (`setup.configure_logs`).
    """
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.contextvars.merge_contextvars],
        processors=[
            _add_record_fields,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _RENDERERS[log_format],
        ],
    )
