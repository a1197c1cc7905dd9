"""A truth file comes back as it was written, whole or not at all."""

import gzip
from collections import Counter

import msgspec
import pytest

from k2_streams.testing.oracle import truth_file
from k2_streams.testing.oracle.model import SessionTruth
from k2_streams.testing.oracle.truth_file import (
    Header,
    SentRange,
    Truth,
    TruthError,
    exact_text,
    session_line,
)


def truth(scope: str = "X:A", session: str = "0", topic: str = "raw") -> Truth:
    one = SessionTruth(
        scope=scope,
        session=session,
        rows=[(1, 4), (6, 9)],
        count=8,
        value=123_456,
        opened=[(5, 5)],
        abandoned=[(5, 5, 5, 5, "reset")],
        late=[(3, 3)],
        late_events=[(3, 3)],
        stale=[2, 2],
        duplicates=[(1, 2)],
        duplicate_count=3,
        reset=(1, "before"),
    )
    header = Header(topic=topic, feed="canonical", options={"seed": 7, "rate": 0.5}, sent=14)
    return Truth(
        header,
        [session_line(one, 5)],
        Counter({"not-json": 1, "stale": 2}),
        {0: SentRange(0, 14, 14)},
    )


@pytest.mark.parametrize("name", ["truth.jsonl", "truth.jsonl.gz"])
def test_it_comes_back(tmp_path, name):
    path = tmp_path / name
    truth_file.write(path, truth())
    assert truth_file.read(path) == truth()
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == name.endswith(".gz")
    assert [file.name for file in tmp_path.iterdir()] == [name], "nothing is left beside it"


def test_the_same_truth_is_the_same_bytes(tmp_path):
    paths = [tmp_path / "a.gz", tmp_path / "b.gz"]
    for path in paths:
        truth_file.write(path, truth())
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_file_cut_short_is_noticed(tmp_path):
    path = tmp_path / "truth.jsonl"
    truth_file.write(path, truth())
    lines = path.read_bytes().splitlines(keepends=True)
    for count in range(len(lines)):
        path.write_bytes(b"".join(lines[:count]))
        with pytest.raises(TruthError, match=r"cut short|expected a header"):
            truth_file.read(path)


def test_a_line_that_is_gone_is_noticed(tmp_path):
    path = tmp_path / "truth.jsonl"
    truth_file.write(path, truth())
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1] + lines[2:]))
    with pytest.raises(TruthError, match="cut short"):
        truth_file.read(path)


@pytest.mark.parametrize("name", ["truth.jsonl", "truth.jsonl.gz"])
def test_damage_anywhere_is_an_error_with_the_files_name_or_harmless(tmp_path, name):
    path = tmp_path / name
    truth_file.write(path, truth())
    whole = path.read_bytes()
    for at in range(len(whole)):
        for spoiled in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x90]) + whole[at + 1 :]):
            path.write_bytes(spoiled)
            refused = None
            try:
                found = truth_file.read(path)
            except TruthError as error:
                refused = str(error)
            assert str(path) in (refused or str(path))
            if name.endswith(".gz") and refused is None:
                assert found == truth()


def test_a_folder_is_no_truth(tmp_path):
    with pytest.raises(TruthError, match=f"^{tmp_path}: cannot be read: Is a directory"):
        truth_file.read(tmp_path)


def test_a_packed_file_cut_short_is_noticed(tmp_path):
    path = tmp_path / "truth.jsonl.gz"
    truth_file.write(path, truth())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(TruthError, match="not a truth file"):
        truth_file.read(path)


def test_another_version_is_refused(tmp_path):
    path = tmp_path / "truth.jsonl"
    made = truth()
    made.header = msgspec.structs.replace(made.header, version=2)
    truth_file.write(path, made)
    with pytest.raises(TruthError, match="expected version 1, found 2"):
        truth_file.read(path)


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "truth.jsonl"
    path.write_text('{"type":"something"}\n')
    with pytest.raises(TruthError, match="line 1: not a truth file"):
        truth_file.read(path)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "truth.jsonl"
    truth_file.write(path, truth())
    before = path.read_bytes()

    def full(_file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        truth_file.write(path, truth("X:B"))
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_packed_lines_are_plain_json(tmp_path):
    path = tmp_path / "truth.jsonl.gz"
    truth_file.write(path, truth())
    lines = gzip.decompress(path.read_bytes()).splitlines()
    kinds = [msgspec.json.decode(line)["type"] for line in lines]
    assert kinds == ["header", "session", "letters", "positions", "end"]


@pytest.mark.parametrize(
    ("units", "scale", "text"),
    [
        (123_456, 5, "1.23456"),
        (100_000, 5, "1"),
        (0, 5, "0"),
        (7, 0, "7"),
        (10**40 + 1, 16, None),
        (-123_456, 5, "-1.23456"),
        (-1, 5, "-0.00001"),
    ],
)
def test_values_are_exact(units, scale, text):
    found = exact_text(units, scale)
    assert found == (text or "1000000000000000000000000.0000000000000001")


def test_truths_of_different_scopes_merge():
    other = truth("X:B")
    other.positions = {0: SentRange(14, 20, 6), 1: SentRange(3, 4, 1)}
    merged = truth_file.merge([truth(), other])
    assert [line.scope for line in merged.sessions] == ["X:A", "X:B"]
    assert merged.reasons == Counter({"not-json": 2, "stale": 4})
    assert merged.positions == {0: SentRange(0, 20, 20), 1: SentRange(3, 4, 1)}
    assert merged.header.sent == 28
    assert merged.rows == 16
    assert merged.alone


def test_a_run_among_others_is_not_alone():
    one = truth()
    one.positions = {0: SentRange(0, 14, 13)}
    assert not one.alone


@pytest.mark.parametrize(
    ("other", "said"), [(truth(), "X:A, session 0"), (truth("X:B", topic="other"), "one topic")]
)
def test_truths_that_contradict_do_not_merge(other, said):
    with pytest.raises(TruthError, match=said):
        truth_file.merge([truth(), other])
