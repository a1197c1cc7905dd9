"""What is changed or left out of the lines of libraries."""

import logging

#: aiokafka warns of each produce that the broker answers with NOT_ENOUGH_REPLICAS while it still
#: completes the transaction before: retriable, and dozens a second. The checkpoint's time shows it.
_PRODUCE_NOISE = ("Got error produce response", "NotEnoughReplicas")
#: Of a malformed request's description in the log.
MALFORMED_TEXT_MAX = 120

_CLIENT_ERRORS = range(400, 500)


class ProduceNoise(logging.Filter):
    """Leaves out aiokafka's warnings of produces that it retries at once."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        text = record.getMessage()
        return not all(part in text for part in _PRODUCE_NOISE)


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
