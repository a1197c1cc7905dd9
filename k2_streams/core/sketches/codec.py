"""What the bytes of every sketch begin with: the version, then a letter that says the form."""

_VERSION = b"\x01"


def encode_body(form: bytes, body: bytes) -> bytes:
    """The bytes of a sketch."""
    return _VERSION + form + body


def decode_body(content: bytes, *forms: bytes) -> tuple[bytes, bytes]:
    """The form and the rest.

    Raises:
        ValueError: the version is another one, or the form is none of these.
    """
    version, form = content[:1], content[1:2]
    if version != _VERSION or form not in forms:
        raise ValueError(f"expected a sketch of version 1 and form {forms}, found {content[:2]!r}")
    return form, content[2:]
