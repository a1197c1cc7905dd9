"""A data directory that cannot be written ends with one line, not with a traceback."""

import errno
import os

import pytest
from click.testing import CliRunner

from k2_streams.cli.main import main
from k2_streams.runtime.lock import DirectoryHeldError, DirectoryLock, DirectoryUnusableError
from k2_streams.testing.local.workers import LocalWorker


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        DirectoryUnusableError, match=r"file/worker-0 cannot be written \(Not a dir"
    ):
        DirectoryLock(tmp_path / "file" / "worker-0")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_is_noticed_before_anything_starts(tmp_path, monkeypatch, number):
    def full(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DirectoryUnusableError, match=f"{os.strerror(number)}.*K2_DATA_DIR"):
        DirectoryLock(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["lock"]


def test_one_that_can_be_written_holds_its_lock_alone(tmp_path):
    lock = DirectoryLock(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["lock"]
    with pytest.raises(DirectoryHeldError, match=f"in use by process {os.getpid()}"):
        DirectoryLock(tmp_path)
    lock.release()
    DirectoryLock(tmp_path).release()


@pytest.mark.parametrize("command", [["up"], ["broker", "start"], ["down"]])
def test_a_command_without_a_folder_to_write_to_ends_with_2_and_one_line(
    tmp_path, monkeypatch, command
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("K2_DATA_DIR", str(tmp_path / "file" / "k2"))
    done = CliRunner().invoke(main, command)
    if command == ["down"]:
        assert "nothing was running" in done.output
        return
    assert done.exit_code == 2, done.output
    assert len(done.output.splitlines()) == 1
    assert "Not a directory" in done.output


def test_of_a_worker_that_refuses_to_start_the_line_is_shown_and_no_banner(tmp_path):
    worker = LocalWorker(tmp_path, "127.0.0.1:1", 0, port=1)
    lines = ["+- banner -+", "level='error' event='worker ends' code=2", "event='k2: /x is full'"]
    worker.log_file.write_text("\n".join(lines))
    assert worker.why_it_ended(2) == "/x is full"
    assert worker.why_it_ended(1) == "\n".join(lines)
    worker.log_file.write_text("k2: K2_PARTITIONS: expected\n")
    assert worker.why_it_ended(2) == "K2_PARTITIONS: expected"
