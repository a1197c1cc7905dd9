"""What a scope remembers of the lines its messages came by: part of its state."""

import msgspec


class LineAt(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How far a line has come in the scope."""

    name: str
    session: str  # of its last message
    next: int  # its highest number of that session, and one more
    seen_ms: int  # the partition's time at its last message


class Held(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A gap that a line may still fill. What is missing of it is in the session."""

    session: str
    first: int  # both inclusive, as the gap came about
    last: int
    since_ms: int  # the partition's time then
    offset: int  # of the message that skipped it
    time_ns: int  # that message's event time
    awaits: tuple[str, ...]  # lines that were alive then


class Lines(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The lines of a scope, by name, and the gaps held for them."""

    at: tuple[LineAt, ...] = ()
    held: tuple[Held, ...] = ()
