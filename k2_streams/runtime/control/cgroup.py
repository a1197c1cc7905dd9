"""The memory limit of the process's control groups (cgroups, versions 1 and 2).

A limit holds for a group and everything below it: the one that counts is the tightest on the path
from the process's own group (`/proc/self/cgroup`) up to the root. A systemd unit, a slice or a
container's parent may set it, and the file at the root of the hierarchy says nothing of that.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

#: A group without a limit says `max` (version 2) or a number near 2^63 (version 1).
_UNLIMITED_BYTES = 1 << 60
#: By type of file system: what limits memory. Above `memory.high` the kernel slows a process down
#: until it stands still, long before `memory.max` kills it.
_LIMIT_FILES = {
    "cgroup2": ("memory.max", "memory.high"),
    "cgroup": ("memory.limit_in_bytes",),
}
_ESCAPED = re.compile(r"\\([0-7]{3})")


class _Mount(NamedTuple):
    """A hierarchy with memory limits, where this process sees it."""

    kind: str  # "cgroup2", or "cgroup" of version 1
    root: str  # which part of the hierarchy is mounted
    point: str


def tightest_limit_bytes(root: Path = Path("/")) -> int | None:
    """The tightest memory limit that holds for this process; None: there is none, or no cgroups.

    Args:
        root: of the file system, to look elsewhere in a test.
    """
    try:
        paths = _paths((root / "proc/self/cgroup").read_text())
        mounts = list(_mounts((root / "proc/self/mountinfo").read_text()))
    except OSError:
        return None  # no Linux, or no /proc
    limits = [
        limit
        for mount in mounts
        if mount.kind in paths
        for folder in _folders(root, mount, paths[mount.kind])
        for limit in _limits(folder, mount.kind)
    ]
    return min(limits, default=None)


def _paths(text: str) -> dict[str, str]:
    """The process's group, by the type of the hierarchies that can limit memory."""
    found = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "memory" in controllers.split(","):
            found["cgroup"] = path
        elif number == "0" and not controllers:
            found["cgroup2"] = path
    return found


def _mounts(text: str) -> Iterator[_Mount]:
    """The mounted hierarchies with memory limits; see proc_pid_mountinfo(5)."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind, *more = before.split(), *after.split()
        if len(fields) < 5 or kind not in _LIMIT_FILES:
            continue
        options = more[-1].split(",") if more else []
        if kind == "cgroup2" or "memory" in options:
            yield _Mount(kind, _plain(fields[3]), _plain(fields[4]))


def _plain(path: str) -> str:
    """A path without mountinfo's octal escapes."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), path)


def _folders(root: Path, mount: _Mount, path: str) -> Iterator[Path]:
    """The groups' folders, from the process's own up to the top of what is mounted.

    Of a group outside of what is mounted (a container sees its own part of the hierarchy alone,
    and names what lies above with `..`) that is the top itself.
    """
    top = root / mount.point.lstrip("/")
    group = PurePosixPath(path)
    inside = group.is_relative_to(mount.root) and ".." not in group.parts
    below = group.relative_to(mount.root) if inside else PurePosixPath()
    while below.parts:
        yield top / below
        below = below.parent
    yield top


def _limits(folder: Path, kind: str) -> Iterator[int]:
    for name in _LIMIT_FILES[kind]:
        try:
            text = (folder / name).read_text().strip()
        except OSError:
            continue  # the root of version 2 has none, and groups come and go
        if text.isdecimal() and 0 < int(text) < _UNLIMITED_BYTES:
            yield int(text)
