"""An exception as a text that travels in a header and stands in status and log."""

#: Of an exception's text.
MAX_ERROR_CHARS = 300


def described(error: BaseException) -> str:
    """Type and text of an exception, cut to a bound and on one line."""
    text = " ".join(str(error)[: 2 * MAX_ERROR_CHARS].split())
    return f"{type(error).__name__}: {text}"[:MAX_ERROR_CHARS]
