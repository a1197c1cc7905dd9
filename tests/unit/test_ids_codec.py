"""The ids' changelog record: golden bytes, any size, nothing but its own version."""

import numpy as np
import pytest

from k2_streams.core.dedup.ids import from_bytes, hashes_of, to_bytes
from k2_streams.state import ids_codec
from k2_streams.state.codec import StateFormatError
from k2_streams.state.ids_codec import decode_ids, encode_ids


def decoded(records: list[bytes]) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for record in records:
        for bucket, hashes in decode_ids(record):
            found[bucket] = found.get(bucket, b"") + to_bytes(hashes)
    return found


def test_the_bytes_stay_as_they_are() -> None:
    """What an older version wrote is read; two groups, 16 bytes an id."""
    one, other = bytes(range(16)), bytes(range(240, 256))
    (record,) = encode_ids({900: from_bytes(other), 800: from_bytes(one)})
    head = bytes.fromhex("010002000000000000032000000001000000000000038400000001")
    assert record == head + one + other
    assert decoded([record]) == {800: one, 900: other}


def test_hashes_keep_their_bytes_and_their_order() -> None:
    """As numbers they sort as their bytes do."""
    made = hashes_of([b"%d" % number for number in range(500)])
    packed = to_bytes(made)
    assert (from_bytes(packed) == made).all()
    order = np.lexsort((made[:, 1], made[:, 0])).tolist()
    each = [packed[at : at + 16] for at in range(0, len(packed), 16)]
    assert [each[at] for at in order] == sorted(each)


def test_many_ids_are_cut_into_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """None above the limit, none lost; none of nothing."""
    monkeypatch.setattr(ids_codec, "RECORD_IDS_MAX", 10)
    made = hashes_of([b"%d" % number for number in range(37)])
    records = encode_ids({5: made[:4], 6: made[4:]})
    assert all(sum(len(part) for _, part in decode_ids(record)) <= 10 for record in records)
    assert decoded(records) == {5: to_bytes(made[:4]), 6: to_bytes(made[4:])}
    assert encode_ids({}) == []


@pytest.mark.parametrize("spoil", ["version", "cut", "longer", "empty"])
def test_anything_else_is_an_error(spoil: str) -> None:
    """Never fewer ids in silence."""
    (record,) = encode_ids({5: hashes_of([b"a", b"b"])})
    broken = {
        "version": b"\x02" + record[1:],
        "cut": record[:-1],
        "longer": record + b"\x00",
        "empty": b"",
    }[spoil]
    with pytest.raises(StateFormatError):
        list(decode_ids(broken))
