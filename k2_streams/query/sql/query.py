"""A statement, answered: checked, its relations read at one read point, run, and proven.

1. Check the statement, and find which rows of each relation it can need.
2. Read those rows, as the relation's own path would: each log once, in its order. What is made of a
   log (its symbols) is read at the log's token.
3. Run the statement over these rows in the sandbox, which sees nothing else.

So the rows of an answer follow from the statement, its parameters and the token alone.
"""

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal

import msgspec
import pyarrow as pa

from k2_streams.clock import SYSTEM_CLOCK, Clock
from k2_streams.query.errors import InvalidParameter, TooMuchError
from k2_streams.query.functions import functions_of
from k2_streams.query.relations import (
    Asked,
    Relation,
    RelationRows,
    ServedLog,
    relations_of,
)
from k2_streams.query.sql.answer import SqlAnswer, SqlMeta, answerable
from k2_streams.query.sql.calls import refused
from k2_streams.query.sql.parsing import FromNames, ParsedStatement, parse
from k2_streams.query.sql.process import StatementProcess
from k2_streams.query.sql.pruning import Needed, needed
from k2_streams.query.sql.sandbox import Sandbox
from k2_streams.query.stopwatch import Stopwatch
from k2_streams.query.token import Token

#: Rows of an answer, at the most.
MAX_ROWS = 100_000
#: Rows that are read of one relation: 90 MB of trades.
MAX_READ_ROWS = 200_000
#: The same in bytes: values of an agent's output may be large.
MAX_READ_BYTES = 160 << 20

Value = int | str | Decimal


class SqlRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A statement over the relations.

    Raises:
        InvalidParameter: two fields contradict each other.
    """

    text: str
    parameters: dict[str, Value] = {}
    as_of: dict[str, Token] = {}  # by the name of a log; under "" of the only one
    known_at_ns: int | None = None
    is_full: bool = False  # relations may be read without a bound in time
    limit: int = MAX_ROWS

    def __post_init__(self) -> None:
        """Check the fields against each other."""
        if self.as_of and self.known_at_ns is not None:
            raise InvalidParameter("known_at", "known_at cannot be combined with as_of")


class SqlQuery:
    """Answers statements over the relations of some logs. For one event loop.

    Args:
        logs: that are served.
        sandbox: where statements run.
        clock: of the time that they take.
    """

    def __init__(
        self, logs: Sequence[ServedLog], sandbox: Sandbox, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        streams = [log.stream for log in logs]
        self._queries = {log.stream.name: log.query for log in logs}
        self._named = FromNames(relations_of(streams), functions_of(streams))
        self._sandbox = sandbox
        self._clock = clock

    async def answer(self, request: SqlRequest) -> SqlAnswer:
        """The statement's rows with the proof of each relation that it names.

        Raises:
            QueryError: see its kinds in `query.errors`.
        """
        watch = Stopwatch(self._clock)

        def check(process: StatementProcess) -> tuple[ParsedStatement, dict[str, Needed]]:
            statement = parse(process, request.text, self._named)
            _check_parameters(statement.parameters, request.parameters)
            return statement, needed(process, statement, request.parameters)

        with watch.stage("check"):
            statement, wanted = await self._sandbox.run(check)
        relations = {one.relation.name: one.relation for one in statement.occurrences}
        tokens = _tokens(request, relations.values())
        found: dict[str, RelationRows] = {}
        with watch.stage("read"):
            # Logs first: what is made of one is read where its rows were.
            for name in sorted(wanted, key=lambda name: not relations[name].is_log):
                found[name] = await self._read(relations[name], wanted[name], request, tokens)

        def run(process: StatementProcess) -> pa.Table:
            tables = {name: one.rows for name, one in found.items()}
            return process.select(statement.text, request.parameters, tables, request.limit + 1)

        with watch.stage("run"):
            rows = answerable(await self._sandbox.run(run))
        shown = rows.slice(0, request.limit)
        meta = SqlMeta(
            token=",".join(f"{name}:{token.encode()}" for name, token in sorted(tokens.items())),
            known_at_ns=request.known_at_ns,
            rows=shown.num_rows,
            truncated=rows.num_rows > request.limit,
            complete=all(one.is_complete for one in found.values()),
            relations={
                name: msgspec.to_builtins(one.proof, str_keys=True)
                for name, one in sorted(found.items())
            },
            elapsed_ms=watch.elapsed_ms,
            stages_ms=dict(watch.stages_ms),
        )
        return SqlAnswer(shown, meta)

    async def _read(
        self,
        relation: Relation,
        wanted: Needed,
        request: SqlRequest,
        tokens: dict[str, Token],
    ) -> RelationRows:
        """A relation's rows; the token of a log that was read is added to `tokens`.

        Raises:
            InvalidParameter: it would be read without a bound in time.
            TooMuchError: it has more rows than may be read.
        """
        if relation.time is not None and wanted.start_ns is None and not request.is_full:
            column = relation.time
            raise refused(
                f"{relation.name} would be read from its beginning: add a condition as "
                f"{relation.name}.{column} >= 1700000000000000000, or full=true"
            )
        log = relation.log.name
        beside = None if relation.beside is None else relation.beside.name
        is_known = request.known_at_ns is not None  # which names the rows of every log
        asked = Asked(
            keys=wanted.keys,
            start_ns=wanted.start_ns,
            end_ns=wanted.end_ns,
            limit=MAX_READ_ROWS,
            as_of=None if is_known else tokens.get(log),
            beside_as_of=None if is_known or beside is None else tokens.get(beside),
            known_at_ns=request.known_at_ns,
        )
        found = await relation.read(self._queries, asked)
        if getattr(found.proof, "next_cursor", None) or getattr(found.proof, "omitted", 0):
            raise TooMuchError(
                f"more than {found.rows.num_rows} rows of {relation.name} would be read: add "
                f"conditions "
                f"on {', '.join((*relation.keys, relation.time or ''))}"
            )
        if found.rows.nbytes > MAX_READ_BYTES:
            raise TooMuchError(
                f"more than {MAX_READ_BYTES >> 20} MiB of {relation.name} would be read: add "
                f"conditions on {', '.join((*relation.keys, relation.time or ''))}"
            )
        read = ((log, getattr(found.proof, "token", None)), (beside, found.beside_token))
        for name, token in read:
            if name is not None and token is not None:
                tokens.setdefault(name, Token.decode(token))
        return found


def _tokens(request: SqlRequest, relations: Collection[Relation]) -> dict[str, Token]:
    """The tokens of the request, by the logs of the relations that it names."""
    streams = [*(one.log for one in relations), *(one.beside for one in relations if one.beside)]
    logs = sorted({stream.name for stream in streams})
    tokens = dict(request.as_of)
    if "" in tokens:
        if len(tokens) > 1 or len(logs) > 1:
            raise InvalidParameter(
                "as_of", f"expected NAME:TOKEN of each log, separated by commas: {logs}"
            )
        return dict.fromkeys(logs, tokens[""])
    for name in logs if tokens else ():
        if name not in tokens:
            raise InvalidParameter("as_of", f"expected a token of {name} too, as {name}:TOKEN")
    return {name: token for name, token in tokens.items() if name in logs}


def _check_parameters(named: frozenset[str], given: Mapping[str, Value]) -> None:
    for name in sorted(named - given.keys()):
        raise InvalidParameter(f"p.{name}", f"required: the statement names ${name}")
    for name in sorted(given.keys() - named):
        raise InvalidParameter(f"p.{name}", f"the statement does not name ${name}")
