"""What can go wrong, grouped by what the caller can do about it."""

from collections.abc import Mapping, Sequence
from typing import Any

#: Gaps that an error's text lists; its attribute has all.
SHOWN_GAPS = 5


class ClientError(Exception):
    """There is no answer, or not the one that was asked for."""


class QuestionRefusedError(ClientError):
    """A node refuses the question: correct it, or the key. Asking again gives the same.

    Attributes:
        status: of HTTP.
        code: a stable word; see K2's HTTP reference.
        field: the parameter at fault; None: it is about none.
        correlation_id: under which the node's log has the request.
    """

    def __init__(
        self, status: int, code: str, message: str, field: str | None, correlation_id: str | None
    ) -> None:
        about = f"{field}: " if field else ""
        super().__init__(f"{about}{message} ({status} {code})")
        self.status = status
        self.code = code
        self.field = field
        self.correlation_id = correlation_id


class UnavailableError(ClientError):
    """No node answered within the client's patience: none listens, or all are busy. Ask later."""

    def __init__(self, path: str, failures: Sequence[str]) -> None:
        super().__init__(f"no answer to {path}: {'; '.join(failures)}")
        self.failures = tuple(failures)


class UnreadableError(ClientError):
    """An answer is not what K2 sends: the address is not K2's, or their versions do not fit."""


class TooManyRowsError(ClientError):
    """There are more rows than the client takes without being told: narrow it, or give `limit`."""


class IncompleteError(ClientError):
    """Something is known to be missing from an answer.

    Attributes:
        gaps: those of the answer's proof, as K2 describes them.
        proof: the whole of it.
    """

    def __init__(self, proof: Mapping[str, Any]) -> None:
        super().__init__(f"the answer is not complete: {'; '.join(reasons_of(proof))}")
        self.gaps = tuple(gaps_of(proof))
        self.proof = proof


def gaps_of(proof: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The gaps that a proof lists, of each relation that was read."""
    lists = [one.get("gaps") for one in _proofs(proof)]
    return [gap for gaps in lists if isinstance(gaps, list) for gap in gaps]


def reasons_of(proof: Mapping[str, Any]) -> list[str]:
    """What a proof says is missing, a line each; of gaps the first ones."""
    gaps = [gap for gap in gaps_of(proof) if gap.get("missing") or gap.get("abandoned")]
    reasons = [_described(gap) for gap in gaps[:SHOWN_GAPS]]
    more = len(gaps) - len(reasons)
    for one in _proofs(proof):
        more += one.get("gaps_omitted", 0)
        if one.get("deferred"):
            reasons.append(f"{one['deferred']} records are deferred")
        if one.get("gaps_complete") is False:
            reasons.append("not every sequence event was read yet")
    if more:
        reasons.append(f"{more} more gaps")
    return reasons or ["the proof names no gap"]


def _proofs(proof: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [proof, *proof.get("relations", {}).values()]


def _described(gap: Mapping[str, Any]) -> str:
    ranges = [*gap.get("missing", ()), *gap.get("abandoned", ())]
    texts = ", ".join(f"{first}-{last}" for first, last in ranges)
    return f"{gap.get('scope')} lacks {texts} of session {gap.get('session')} ({gap.get('state')})"
