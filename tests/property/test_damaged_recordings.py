"""Damaged recordings: whatever a file holds, what is wrong is a `RecordingError` that names it.

Every way to read a file ends in its records, or in the error; the records before it are those that
were recorded.
"""

import gzip
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from venue_records import TRADES

from k2_streams.feeds.recordings.captures import MAX_LINE_BYTES
from k2_streams.feeds.recordings.readers import FEEDS, RecordingError, read
from k2_streams.testing.load.recorded import items, messages, reading_of
from k2_streams.testing.load.recorded_trades import READERS, RecordedError

RECORDS = 60
NAMES = sorted(set(FEEDS) & set(TRADES))
_STAMP = b"1786310000%09d "
_ENTRY = b'{"t":"recv","conn":"spot","ts":1786310000.%d,"data":%s}'


def unstamped(value: bytes) -> bytes:
    return value if value[:1] in b"{[" else value.partition(b" ")[2]


def recorded(name: str, folder: Path) -> tuple[Path, bytes]:
    """A recording of a feed: its path without a suffix, and what the file holds."""
    value = TRADES[name][1]
    if name.startswith("asx"):
        reference = folder / "reference-data"
        reference.mkdir(exist_ok=True)
        (reference / "company_info.csv").write_text("company_id,symbol\n7078,BHP\n")
        return folder / "trades" / "7078.csv", b"\n".join([value.split(b",", 2)[2]] * RECORDS)
    if name == "canonical":
        return folder / "recorded", b"\n".join([value] * RECORDS)
    text = unstamped(value)
    if name in {"coinbase.advanced", "bybit.v5"}:
        begun = (
            b'{"t":"connect","conn":"spot","ts":1786309999,"addr":"wss://stream/v5/public/spot"}'
        )
        quoted = b'"' + unstamped(text).replace(b'"', b'\\"') + b'"'
        return folder / "recorded", b"\n".join(
            [begun, *(_ENTRY % (n, quoted) for n in range(RECORDS))]
        )
    return folder / "recorded", b"\n".join(_STAMP % n + text for n in range(RECORDS))


PACKED = {
    "": lambda plain: plain,
    ".gz": lambda plain: gzip.compress(plain, mtime=0),
    ".zst": lambda plain: pa.compress(plain, codec="zstd", asbytes=True),
}


def outcome(name: str, path: Path):
    """What was read, and the error; any other exception is a failed test."""
    found, refused = [], None
    try:
        found.extend(read(name, path))
    except RecordingError as error:
        refused = str(error)
    named = path.parent.parent if name.startswith("asx") else path
    assert refused is None or str(named) in refused
    return found, refused


@pytest.fixture
def write(tmp_path):
    def write(name: str, suffix: str, damage=lambda packed: packed) -> Path:
        path, plain = recorded(name, tmp_path)
        path.parent.mkdir(exist_ok=True)
        path = path.with_name(path.name + suffix)
        path.write_bytes(damage(PACKED[suffix](plain + b"\n")))
        return path

    return write


@pytest.mark.parametrize("suffix", PACKED)
@pytest.mark.parametrize("name", NAMES)
def test_a_whole_file_is_read(write, name, suffix):
    found, error = outcome(name, write(name, suffix))
    assert (len(found), error) == (RECORDS, None)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("name", ["binance.spot", "canonical", "bybit.v5"])
def test_a_packed_file_that_is_cut_off_anywhere_is_refused(write, name, suffix):
    whole = outcome(name, write(name, suffix))[0]
    size = len(write(name, suffix).read_bytes())
    for cut in range(size):
        path = write(name, suffix, lambda packed, cut=cut: packed[:cut])
        found, error = outcome(name, path)
        assert error, cut
        assert found == whole[: len(found)]


@settings(suppress_health_check=list(HealthCheck), max_examples=150)
@given(
    name=st.sampled_from(NAMES),
    suffix=st.sampled_from(list(PACKED)),
    flips=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 7)), min_size=1, max_size=4),
    cut=st.none() | st.floats(0, 1),
)
def test_damage_of_any_kind_is_an_error_with_the_files_name_or_harmless(
    write, name, suffix, flips, cut
):
    def damage(packed: bytes) -> bytes:
        spoiled = bytearray(packed)
        for at, bit in flips:
            spoiled[min(int(at * len(spoiled)), len(spoiled) - 1)] ^= 1 << bit
        return bytes(spoiled if cut is None else spoiled[: int(cut * len(spoiled))])

    path = write(name, suffix, damage)
    found, error = outcome(name, path)
    if suffix == ".gz" and error is None:  # whatever its checksum allows is what was packed
        assert found == outcome(name, write(name, suffix))[0]
    stream = "quotes" if "quotes" in name else "trades"
    told = [(one.key, one.value, None) for one in found]
    with suppress(RecordedError):  # anything else is a traceback for whoever sends
        list(messages(reading_of(stream, name), name, told))
    if name in READERS[stream]:
        with suppress(RecordedError):
            list(items(READERS[stream][name], name, told))


def test_a_wrong_checksum_names_the_file_and_the_position(write):
    path = write("canonical", ".gz", lambda packed: packed[:-8] + b"\0" * 8)
    found, error = outcome("canonical", path)
    assert len(found) == RECORDS
    assert "after line 60" in error
    assert "CRC check failed" in error


def test_an_empty_file_is_refused(write):
    for name, suffix in (("canonical", ""), ("binance.spot", ".gz"), ("kraken.v1", ".zst")):
        _, error = outcome(name, write(name, suffix, lambda _: b""))
        assert "found an empty file" in error


def test_blank_lines_alone_are_refused(write):
    _, error = outcome("kraken.v1", write("kraken.v1", "", lambda _: b"\n\n"))
    assert "found blank lines alone" in error


def test_a_folder_and_a_file_that_is_not_there_are_refused(tmp_path):
    (tmp_path / "folder.gz").mkdir()
    for name in ("folder.gz", "absent", "absent.zst"):
        assert outcome("canonical", tmp_path / name)[1].startswith(str(tmp_path / name))


def test_a_file_without_permission_is_refused(write, monkeypatch):
    path = write("canonical", "")

    def refused(*_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refused)  # root may read everything
    assert outcome("canonical", path)[1] == f"{path}: cannot be read: Permission denied"


def test_gigabytes_without_a_line_end_are_not_read_into_memory(write):
    path = write("canonical", ".gz", lambda _: gzip.compress(b"x" * (MAX_LINE_BYTES + 1)))
    assert f"{path}:1: expected a line of {MAX_LINE_BYTES} bytes" in outcome("canonical", path)[1]
