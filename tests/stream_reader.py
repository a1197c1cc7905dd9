"""A process that reads a stream into a file: `python -m stream_reader FILE URL...`.

It may be killed at any moment. Each line of the file is a frame: the token behind it, and the
places of its rows. A line that was cut off is read again, by the token of the line before.
"""

import json
import sys
from pathlib import Path

import k2_client

PLACE = ("log_partition", "log_offset", "log_row")
PATIENCE_S = 120.0


def _whole_lines(file: Path) -> bytes:
    written = file.read_bytes() if file.exists() else b""
    return written[: written.rfind(b"\n") + 1]


def places_of(file: Path) -> list[tuple[int, ...]]:
    """The places of the rows in a file, in their order."""
    lines = _whole_lines(file).splitlines()
    return [tuple(place) for line in lines for place in json.loads(line)["places"]]


def read(file: Path, urls: list[str]) -> None:
    """Go on behind the last whole frame, for ever."""
    whole = _whole_lines(file)
    token = json.loads(whole.splitlines()[-1])["token"] if whole else "begin"
    with file.open("ab") as out, k2_client.connect(urls, patience_s=PATIENCE_S) as client:
        out.truncate(len(whole))
        for frame in client.stream("trades", start=token):
            if frame.kind != "rows":
                continue
            columns = (frame.rows.column(name).to_pylist() for name in PLACE)
            line = {"token": frame.token, "places": list(zip(*columns, strict=True))}
            out.write(json.dumps(line).encode() + b"\n")
            out.flush()


if __name__ == "__main__":
    read(Path(sys.argv[1]), sys.argv[2:])
