"""The memory limit is the tightest one between the process's cgroup and the root."""

from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2_streams.runtime.control.cgroup import tightest_limit_bytes
from k2_streams.runtime.control.memory import found_limit_bytes
from k2_streams.runtime.settings.worker import IDLE_WORKER_BYTES, SettingsError, from_environment

GIB = 1 << 30
V1_NONE = "9223372036854771712"
V1 = "35 31 0:32 {root} {point} rw,relatime shared:9 - cgroup cgroup rw,memory"
V2 = "31 23 0:28 {root} {point} rw,nosuid shared:4 master:2 - cgroup2 cgroup2 rw,nsdelegate"
CPU = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu"
ROOT = "23 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw"


def machine(root: Path, cgroup: str, mounts: list[str], limits: dict[str, str]) -> Path:
    """A file system with these texts in it."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    (root / "proc/self/mountinfo").write_text("\n".join(mounts) + "\n")
    for name, text in limits.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    return root


V1_CGROUP = "5:devices:/a\n4:memory:/a/b\n3:cpu,cpuacct:/c\n0::/\n"
V2_CGROUP = "0::/system.slice/k2.service\n"
S1, S2 = "sys/fs/cgroup/memory", "sys/fs/cgroup"
CASES = {
    "v1, the parent's": (
        V1_CGROUP,
        [ROOT, CPU, V1.format(root="/", point="/sys/fs/cgroup/memory")],
        {
            f"{S1}/memory.limit_in_bytes": V1_NONE,
            f"{S1}/a/memory.limit_in_bytes": str(GIB),
            f"{S1}/a/b/memory.limit_in_bytes": V1_NONE,
            f"{S1}/c/memory.limit_in_bytes": "5",
        },
        GIB,
    ),
    "v2, a unit's": (
        V2_CGROUP,
        [ROOT, V2.format(root="/", point="/sys/fs/cgroup")],
        {
            f"{S2}/system.slice/memory.max": "max",
            f"{S2}/system.slice/k2.service/memory.max": str(GIB),
            f"{S2}/user.slice/memory.max": "5",
        },
        GIB,
    ),
    "v2, its slice's is tighter": (
        V2_CGROUP,
        [V2.format(root="/", point="/sys/fs/cgroup")],
        {
            f"{S2}/system.slice/memory.max": str(GIB),
            f"{S2}/system.slice/k2.service/memory.max": str(2 * GIB),
        },
        GIB,
    ),
    "v2, memory.high": (
        V2_CGROUP,
        [V2.format(root="/", point="/sys/fs/cgroup")],
        {
            f"{S2}/system.slice/k2.service/memory.max": str(2 * GIB),
            f"{S2}/system.slice/k2.service/memory.high": str(GIB),
        },
        GIB,
    ),
    "hybrid: v1 has the memory, v2 is mounted beside it": (
        "4:memory:/job\n0::/\n",
        [
            V1.format(root="/", point="/sys/fs/cgroup/memory"),
            V2.format(root="/", point="/sys/fs/cgroup/unified"),
        ],
        {f"{S1}/job/memory.limit_in_bytes": str(GIB), f"{S1}/memory.limit_in_bytes": V1_NONE},
        GIB,
    ),
    "a container that sees its part alone, v1": (
        "4:memory:/docker/abc/worker\n",
        [V1.format(root="/docker/abc", point="/sys/fs/cgroup/memory")],
        {
            f"{S1}/memory.limit_in_bytes": str(2 * GIB),
            f"{S1}/worker/memory.limit_in_bytes": str(GIB),
        },
        GIB,
    ),
    "a namespace of cgroups, v2": (
        "0::/../other\n",
        [V2.format(root="/", point="/sys/fs/cgroup")],
        {f"{S2}/memory.max": str(GIB), "sys/fs/other/memory.max": "5"},
        GIB,
    ),
    "a mount point with a blank": (
        "0::/a\n",
        [V2.format(root="/", point="/mnt/my\\040groups")],
        {"mnt/my groups/a/memory.max": str(GIB)},
        GIB,
    ),
    "no limit, v1": (
        V1_CGROUP,
        [V1.format(root="/", point="/sys/fs/cgroup/memory")],
        {f"{S1}/a/memory.limit_in_bytes": V1_NONE},
        None,
    ),
    "no limit, v2": (
        V2_CGROUP,
        [V2.format(root="/", point="/sys/fs/cgroup")],
        {f"{S2}/system.slice/memory.max": "max"},
        None,
    ),
    "no hierarchy with memory": ("3:cpu:/a\n", [CPU], {}, None),
}


@pytest.mark.parametrize("name", CASES)
def test_the_tightest_limit_on_the_path_counts(tmp_path, name):
    cgroup, mounts, limits, expected = CASES[name]
    assert tightest_limit_bytes(machine(tmp_path, cgroup, mounts, limits)) == expected


def test_without_proc_there_is_none(tmp_path):
    assert tightest_limit_bytes(tmp_path) is None
    assert found_limit_bytes(tmp_path) == psutil.virtual_memory().total


def test_a_limit_above_the_machines_memory_is_none(tmp_path):
    root = machine(
        tmp_path,
        "0::/a\n",
        [V2.format(root="/", point="/sys/fs/cgroup")],
        {f"{S2}/a/memory.max": str(1 << 59)},
    )
    assert found_limit_bytes(root) == psutil.virtual_memory().total


@given(
    limits=st.lists(st.none() | st.integers(1, 1 << 50), min_size=1, max_size=6),
    version=st.sampled_from(["cgroup", "cgroup2"]),
)
def test_at_any_depth(tmp_path_factory, limits, version):
    """The same by hand: the least of all, wherever it is set."""
    is_v2 = version == "cgroup2"
    names = [f"g{depth}" for depth in range(len(limits))]
    path = "/" + "/".join(names)
    folder = "sys/fs/cgroup"
    texts = {}
    for name, limit in zip(names, limits, strict=True):
        folder = f"{folder}/{name}"
        none = "max" if is_v2 else V1_NONE
        file = "memory.max" if is_v2 else "memory.limit_in_bytes"
        texts[f"{folder}/{file}"] = none if limit is None else str(limit)
    root = machine(
        tmp_path_factory.mktemp("machine"),
        f"0::{path}\n" if is_v2 else f"4:memory:{path}\n",
        [(V2 if is_v2 else V1).format(root="/", point="/sys/fs/cgroup")],
        texts,
    )
    set_limits = [limit for limit in limits if limit is not None]
    assert tightest_limit_bytes(root) == min(set_limits, default=None)


def test_this_machine_can_be_asked():
    assert 0 < found_limit_bytes() <= psutil.virtual_memory().total


def test_a_limit_below_what_an_idle_worker_takes_is_refused():
    for value in (str(IDLE_WORKER_BYTES - 1), "-1", "1G"):
        with pytest.raises(
            SettingsError, match=r"K2_MEMORY_LIMIT_BYTES: expected bytes, 268435456 "
        ):
            from_environment({"K2_MEMORY_LIMIT_BYTES": value})
    given = {"K2_MEMORY_LIMIT_BYTES": str(IDLE_WORKER_BYTES)}
    assert from_environment(given).overload.memory_limit_bytes == IDLE_WORKER_BYTES
    assert from_environment({"K2_MEMORY_LIMIT_BYTES": "0"}).overload.memory_limit_bytes is None
