"""Why a query got no answer, grouped by what its caller can do about it.

`code` is the stable name of the error, `retry_after_s` says when to ask again.
"""


class QueryError(Exception):
    """A query that got no answer."""

    code = "query_failed"
    retry_after_s: float | None = None


class InvalidParameter(QueryError):  # noqa: N818 (the name of the contract)
    """Fix the input: the parameter `field` is not as described; `message` says what is expected."""

    code = "invalid_parameter"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class NotEntitledError(QueryError):
    """Ask for less, or for a key that may read more; the text says what this one may read."""

    code = "not_entitled"


class BeforeHistoryError(InvalidParameter):
    """Fix the input: no row had been accepted by the time that was asked about."""

    code = "before_history"

    def __init__(self, known_ns: int) -> None:
        super().__init__(
            "known_at", f"no row had been accepted by then ({known_ns}): expected a later time"
        )


class UnknownSymbolError(QueryError):
    """Fix the input: no row of one of these symbols was ever accepted.

    Of a stream with another key: of these values of its narrowest column.
    """

    code = "unknown_symbol"

    def __init__(self, symbols: tuple[str, ...], column: str = "symbol") -> None:
        super().__init__(f"no row of {', '.join(symbols)} was ever accepted: check the spelling")
        self.symbols = symbols
        self.column = column


class TooMuchError(QueryError):
    """Fix the input: the answer needs more memory than one query may use."""

    code = "query_too_large"


class RetryLaterError(QueryError):
    """Ask again later."""

    code = "unavailable"
    retry_after_s: float | None = 1.0


class NotYetError(RetryLaterError):
    """The node has not read up to the offsets asked for, within the time it may wait."""

    code = "not_yet"

    def __init__(self, message: str, wanted: dict[int, int], found: dict[int, int]) -> None:
        super().__init__(f"{message}: expected {wanted}, found {found}")
        self.wanted = wanted
        self.found = found


class BehindError(RetryLaterError):
    """The snapshot that this node sees is older than the rows that its tail has evicted."""

    code = "lake_behind"

    def __init__(self, partition: int, evicted: int, held: int) -> None:
        super().__init__(
            f"partition {partition}: expected a snapshot that holds offsets below {evicted}, "
            f"found {held}"
        )
        self.partition = partition
        self.evicted = evicted
        self.held = held


class LakeUnavailable(RetryLaterError):  # noqa: N818 (the name of the contract)
    """The catalog or the files that the answer needs cannot be read."""

    code = "lake_unavailable"
    retry_after_s: float = 5.0

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s or LakeUnavailable.retry_after_s


class QueryTimeoutError(RetryLaterError):
    """The query exceeded its time limit and was interrupted."""

    code = "query_timeout"

    def __init__(self, limit_s: float, stage: str = "query") -> None:
        super().__init__(
            f"the {stage} exceeded its time limit of {limit_s:g} s: narrow the query or retry later"
        )
        self.limit_s = limit_s


class BusyError(RetryLaterError):
    """Too many queries run or wait before it."""

    code = "busy"

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s or RetryLaterError.retry_after_s
