"""What can go wrong with a question, grouped by what its asker can do about it.

`code` is the stable word of the HTTP error, `retry_after_s` says when asking again makes sense.
"""


class QueryError(Exception):
    """A question that got no answer."""

    code = "query_failed"
    retry_after_s: float | None = None


class InvalidParameter(QueryError):  # noqa: N818 (the word of the HTTP contract)
    """Fix the input: one parameter does not say what it should. HTTP 422."""

    code = "invalid_parameter"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class UnknownSymbolError(QueryError):
    """Fix the input: no trade of this symbol was ever accepted. HTTP 404."""

    code = "unknown_symbol"

    def __init__(self, symbols: tuple[str, ...]) -> None:
        super().__init__(f"no trade of {', '.join(symbols)} is known")
        self.symbols = symbols


class TooMuchError(QueryError):
    """Fix the input: the answer needs more memory than a query may take. HTTP 413."""

    code = "query_too_large"


class RetryLaterError(QueryError):
    """Ask again later. HTTP 503."""

    code = "unavailable"
    retry_after_s: float | None = 1.0


class NotYetError(RetryLaterError):
    """The node has not read as far as was asked for, within the time it may wait."""

    code = "not_yet"

    def __init__(self, message: str, wanted: dict[int, int], found: dict[int, int]) -> None:
        super().__init__(f"{message}: expected {wanted}, found {found}")
        self.wanted = wanted
        self.found = found


class BehindError(RetryLaterError):
    """The lake seen by this node is older than what its tail has let go of."""

    code = "lake_behind"

    def __init__(self, partition: int, evicted: int, held: int) -> None:
        super().__init__(
            f"partition {partition}: expected a snapshot that holds offsets below {evicted}, "
            f"found {held}"
        )
        self.partition = partition
        self.evicted = evicted
        self.held = held


class LakeUnavailable(RetryLaterError):  # noqa: N818 (the word of the HTTP contract)
    """The catalog or the files that the answer needs cannot be read."""

    code = "lake_unavailable"
    retry_after_s: float = 5.0

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s or LakeUnavailable.retry_after_s


class QueryTimeoutError(RetryLaterError):
    """The query took longer than it may and was interrupted."""

    code = "query_timeout"


class BusyError(RetryLaterError):
    """There are too many queries before it, or too much work of theirs."""

    code = "busy"

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s or RetryLaterError.retry_after_s
