"""API keys: what a request may carry, and what its carrier may read.

A key is known by the SHA-256 of its text alone. That is enough for keys that are random, as
`new_text` makes them: nobody can try them all.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from k2_streams.core.query.entitlement import Entitlement

_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the server knows it.

    Attributes:
        name: in logs, and of its rate limit.
        digest: SHA-256 of its text.
        entitlement: what its carrier may read.
        rate_per_s: requests per second; None: the server's.
    """

    name: str
    digest: bytes = field(repr=False)
    entitlement: Entitlement = field(default_factory=Entitlement)
    rate_per_s: float | None = None


class KeyRing:
    """The keys that are valid now. They may be replaced while requests are answered.

    Args:
        keys: without any, only this machine is answered.
    """

    def __init__(self, keys: Iterable[ApiKey] = ()) -> None:
        self._keys = tuple(keys)

    @classmethod
    def of_texts(cls, texts: Iterable[str]) -> "KeyRing":
        """Keys that may read everything.

        Raises:
            ValueError: one is empty.
        """
        numbered = list(enumerate(texts, start=1))
        if not all(text for _, text in numbered):
            raise ValueError("expected API keys that are not empty")
        return cls(ApiKey(f"key-{number}", digest_of(text)) for number, text in numbered)

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def digests(self) -> tuple[bytes, ...]:
        """What the keys are known by."""
        return tuple(key.digest for key in self._keys)

    def of_digest(self, digest: bytes | None) -> ApiKey | None:
        """The key that is known by this; it has been compared already."""
        return next((key for key in self._keys if key.digest == digest), None)

    def replace(self, keys: Iterable[ApiKey]) -> None:
        """From the next request on these are valid.

        Raises:
            ValueError: there is none: a server that asks for keys never stops to.
        """
        found = tuple(keys)
        if not found:
            raise ValueError("expected at least one API key")
        self._keys = found

    def find(self, offered: str) -> ApiKey | None:
        """The key with this text. Every key is compared, each in constant time."""
        digest = digest_of(offered)
        matches = [key for key in self._keys if hmac.compare_digest(digest, key.digest)]
        return matches[0] if matches else None


def digest_of(text: str) -> bytes:
    """What a key is known by."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def new_text() -> str:
    """A key that nobody has had."""
    return secrets.token_urlsafe(_KEY_BYTES)
