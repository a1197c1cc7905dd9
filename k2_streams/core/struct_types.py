"""What msgspec knows of a struct is found before threads use it.

It looks at a struct's fields when the struct is first decoded, and publishes what it knows before
it has looked at all of them: a second thread that decodes the same struct in that moment ends the
process (msgspec 0.22, a null pointer). A decoder looks when it is made. So whatever K2 decodes has
one, made when its module is imported; a struct that is only converted to is prepared there.
"""

from typing import Any

import msgspec


def prepare(kind: Any) -> None:
    """Let msgspec look at a type, and at all that is in it, now.

    Raises:
        TypeError: it is none that msgspec can decode.
    """
    msgspec.msgpack.Decoder(kind)
