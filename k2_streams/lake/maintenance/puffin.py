"""Puffin files: blobs about a table, and a footer that lists them (Iceberg's specification, v1).

magic  blob ... blob  magic  footer (JSON)  its length  flags  magic
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pyiceberg.table.puffin import MAGIC_BYTES, Footer, PuffinBlobMetadata

_CREATED_BY = {"created-by": "K2 Streams"}
_LENGTH_BYTES = 4
#: No flag is set: the footer is not compressed.
_FLAGS = bytes(4)


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes about columns of one snapshot.

    Attributes:
        kind: as the specification names it.
        fields: ids of the columns.
        snapshot_id, sequence_number: of the snapshot.
        content: not compressed.
        properties: what readers want to know without reading it.
    """

    kind: str
    fields: tuple[int, ...]
    snapshot_id: int
    sequence_number: int
    content: bytes
    properties: dict[str, str]


@dataclass(frozen=True, slots=True)
class EncodedPuffin:
    """The bytes of a file, and how many of them are its footer, both magics included."""

    content: bytes
    footer_bytes: int


def encode(blobs: Sequence[Blob]) -> EncodedPuffin:
    """The file with these blobs. `pyiceberg.table.puffin.PuffinFile` reads it."""
    body, listed = MAGIC_BYTES, []
    for blob in blobs:
        listed.append(
            PuffinBlobMetadata.model_validate(
                {
                    "type": blob.kind,
                    "fields": list(blob.fields),
                    "snapshot-id": blob.snapshot_id,
                    "sequence-number": blob.sequence_number,
                    "offset": len(body),
                    "length": len(blob.content),
                    "properties": blob.properties,
                }
            )
        )
        body += blob.content
    footer = Footer(blobs=listed, properties=_CREATED_BY).model_dump_json(
        by_alias=True, exclude_none=True
    )
    payload = footer.encode()
    length = len(payload).to_bytes(_LENGTH_BYTES, "little", signed=True)
    end = MAGIC_BYTES + payload + length + _FLAGS + MAGIC_BYTES
    return EncodedPuffin(body + end, len(end))
