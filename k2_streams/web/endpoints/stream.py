"""`GET /v1/<stream>/stream`: rows of a log from a moment on, and those to come."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

from k2_streams.core.query.keys import keys_of
from k2_streams.core.records.stream import Stream
from k2_streams.query.relations import relations_of
from k2_streams.query.subscription.frames import EndFrame, GapFrame, ProgressFrame
from k2_streams.query.subscription.request import Begin, End, StreamRequest
from k2_streams.query.subscription.subscription import Subscription
from k2_streams.query.token import StreamToken, Token, TokenError
from k2_streams.web.declaration.endpoint import Call, Endpoint, StreamAnswer
from k2_streams.web.declaration.key_parameters import STANDARD, key_names, with_key
from k2_streams.web.declaration.parameters import RULE, Rule
from k2_streams.web.declaration.shared_parameters import Exchanges, Symbols, Zone
from k2_streams.web.declaration.times import parse_time
from k2_streams.web.endpoints.rows import check_key as check_key_of_rows
from k2_streams.web.http.errors import LAKE_BEHIND, LAKE_UNAVAILABLE, NOT_YET, QUERY_TIMEOUT

#: A speed beyond this is `max`.
MAX_SPEED = 1_000_000
#: Rows are not held back for longer.
MAX_BATCH_MS = 10_000
_FRAMES: dict[str, type[msgspec.Struct]] = {
    "progress": ProgressFrame,
    "gap": GapFrame,
    "end": EndFrame,
}


def _decode_begin(text: str, zone: Any = None) -> Begin:
    if text in ("begin", "now"):
        return "begin" if text == "begin" else "now"
    return _decoded_token(text) or parse_time(text, zone)


def _decode_end(text: str, zone: Any = None) -> End:
    if text == "end":
        return "end"
    token = _decoded_token(text)
    if isinstance(token, StreamToken):
        raise ValueError("expected the token of an answer (`as_of`), not of a frame")  # noqa: TRY004
    return token or parse_time(text, zone)


def _decoded_token(text: str) -> Token | StreamToken | None:
    """A token of either kind; None: the text is none."""
    for kind in (StreamToken, Token):
        try:
            return kind.decode(text)
        except TokenError:
            continue
    return None


def _decode_speed(text: str) -> float | None:
    if text == "max":
        return None
    number = text.removesuffix("x")
    try:
        speed = float(number) if number and number[0].isdigit() else 0.0
    except ValueError:
        speed = 0.0
    if not 0 < speed <= MAX_SPEED:
        raise ValueError(f"expected max or a number above 0 and up to {MAX_SPEED}, as 1 or 10x")
    return speed


_PLACE = (
    "A time (integer nanoseconds since 1970 UTC, or RFC 3339, as in `start`) is one of `clock`."
)


class StreamParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows, from where to where, and how fast."""

    symbol: Symbols = ()
    exchange: Exchanges = ()
    begin: Annotated[
        Begin,
        msgspec.Meta(
            description="The token of a frame or of an answer: behind it. `begin`: the whole "
            f"history. `now`: what comes. {_PLACE} A browser's `Last-Event-ID` stands for it.",
            extra_json_schema={"type": "string", "format": "k2-begin"},
            extra={RULE: Rule(_decode_begin, beside="tz")},
        ),
    ] = msgspec.field(default="now", name="from")
    to: (
        Annotated[
            End,
            msgspec.Meta(
                description="The token of an answer, or `end`: what this node has now. "
                f"{_PLACE} None: it goes on for ever.",
                extra_json_schema={"type": "string", "format": "k2-end"},
                extra={RULE: Rule(_decode_end, beside="tz")},
            ),
        ]
        | None
    ) = None
    tz: Zone = None
    speed: Annotated[
        float | None,
        msgspec.Meta(
            description="`max`: as fast as they are taken. `1`, `10`: so many seconds of the rows "
            "pass in one second.",
            examples=["10"],
            extra_json_schema={"type": "string", "format": "k2-speed"},
            extra={RULE: Rule(_decode_speed)},
        ),
    ] = None
    clock: Annotated[
        Literal["event", "accepted"],
        msgspec.Meta(
            description="What times and `speed` go by: event time, or when K2 knew the row."
        ),
    ] = "event"
    order: Annotated[
        Literal["log", "event"],
        msgspec.Meta(
            description="`log`: as the rows were accepted; `event`: by event time, where there is "
            "a `to`."
        ),
    ] = "log"
    batch_ms: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=MAX_BATCH_MS,
            description="Frames of rows are so far apart, unless one is full.",
        ),
    ] = 0


async def _stream(call: Call[StreamParameters]) -> Subscription:
    parameters = call.parameters
    names = key_names(type(parameters), StreamParameters)
    request = StreamRequest(
        symbols=parameters.symbol,
        exchanges=parameters.exchange,
        keys=keys_of(**{name: getattr(parameters, name) for name in names}),
        begin=parameters.begin,
        end=parameters.to,
        speed=parameters.speed,
        clock=parameters.clock,
        order=parameters.order,
        batch_ms=parameters.batch_ms,
    )
    (relation,) = call.endpoint.relations
    return await call.services.by_name[relation].query.subscribe(request)


def endpoints(streams: tuple[Stream, ...]) -> Iterator[Endpoint[StreamParameters]]:
    """One endpoint per log, from its relation alone."""
    for relation in relations_of(streams).values():
        if relation.is_log:
            yield Endpoint(
                path=f"/v1/{relation.path_name}/stream",
                summary=f"Rows of {relation.name} from a moment on, and those to come, as frames.",
                handler=_stream,
                parameters=with_key(StreamParameters, relation.log),
                answer=StreamAnswer(relation.row, relation.columns, _FRAMES),
                relations=(relation.name,),
                errors=(NOT_YET, LAKE_BEHIND, LAKE_UNAVAILABLE, QUERY_TIMEOUT),
                without=frozenset(name for name in STANDARD if name not in relation.log.key),
            )


def check_key(stream: Stream) -> None:
    """Whether the columns of a stream's key can be parameters of its paths.

    Raises:
        EndpointError: one of them cannot.
    """
    check_key_of_rows(stream)
    with_key(StreamParameters, stream)
