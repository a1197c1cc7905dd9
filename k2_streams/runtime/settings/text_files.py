"""Text files that people write: UTF-8, with or without a byte order mark."""

from pathlib import Path

#: UTF-8; a byte order mark, as spreadsheets write it, is skipped.
ENCODING = "utf-8-sig"


def encoding_error(path: Path, error: UnicodeDecodeError) -> str:
    """What to tell of a file that is not UTF-8: the first line that is not.

    A text reader decodes by block: where it stands says nothing. So the file is read again.
    """
    number = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):  # noqa: B007 - the last one counts
            try:
                line.decode()
            except UnicodeDecodeError as found:
                error = found
                break
    found_bytes = bytes(error.object[error.start : error.start + 4])
    return (
        f"line {number}: expected UTF-8, found the bytes {found_bytes.hex(' ')}: save it as UTF-8"
    )
