"""A folder with a Debian of its own stands in for an image: the Dockerfile's steps are run in it.

What an engine does otherwise: base images (Debian's own Python 3.11, and the Rust of this machine),
layers, and the isolation of a container. `FROM`, `ENV`, `WORKDIR`, `COPY`, `RUN`, `USER`,
`ENTRYPOINT`, `CMD` and `HEALTHCHECK` are followed as they stand.
"""

import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.image.dockerfile import BuildStage, Instruction, assigned
from deploy.tools import FOLDER, ROOT, ToolAbsentError, run, tool

#: Debian 12, as the base images; made once.
BASE = FOLDER / "bookworm"
RELEASE = "bookworm"
#: In the base images too; the compiler is in the Rust image.
PACKAGES = "ca-certificates,gcc,libc6-dev,python3,python3-venv"
#: Where the Rust image has its toolchain, and where it is here.
RUST = {"/usr/local/cargo": Path.home() / ".cargo", "/usr/local/rustup": Path.home() / ".rustup"}
PATHS = "/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: How this machine reaches its registries.
_PASSED_ON = ("PIP_CERT", "PIP_DEFAULT_TIMEOUT", "PIP_INDEX_URL")
_NETWORK = (
    "etc/resolv.conf", "etc/hosts", "etc/pip.conf", "etc/ssl/certs/ca-certificates.crt",
    "etc/apt/sources.list", "etc/apt/sources.list.d", "etc/apt/apt.conf.d",
)  # fmt: skip

#: What `.dockerignore` leaves out of folders that are copied.
_LEFT_OUT = ("target", "__pycache__")


def base() -> Path:
    """The Debian that each stage begins with.

    Raises:
        ToolAbsentError: this is not root on a Linux with debootstrap, or there is no Rust.
    """
    if os.geteuid() != 0:
        raise ToolAbsentError("changing the root needs root")
    bootstrap = tool("debootstrap")
    if not all(folder.is_dir() for folder in RUST.values()):
        raise ToolAbsentError("no Rust toolchain of rustup in ~/.cargo and ~/.rustup")
    if not BASE.exists():
        new = BASE.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        scripts = {"DEBOOTSTRAP_DIR": str(Path(bootstrap).parents[1] / "share" / "debootstrap")}
        command: list[str | Path] = [bootstrap, "--variant=minbase", f"--include={PACKAGES}"]
        run([*command, RELEASE, new, _mirror()], environment=os.environ | scripts)
        new.rename(BASE)
    return BASE


def _mirror() -> str:
    """Where this machine gets its own packages."""
    targets = run(["apt-get", "indextargets", "--format", "$(REPO_URI)"])
    return next(line for line in targets.splitlines() if "security" not in line)


class StageRoot:
    """One stage of the Dockerfile, in a folder.

    Args:
        folder: made here; removed by `close`.
        stage: what is done in it.
    """

    def __init__(self, folder: Path, stage: BuildStage) -> None:
        self.folder = folder
        self.stage = stage
        self.environment = {"PATH": PATHS, "HOME": "/root", "LANG": "C.UTF-8"} | {
            name.rpartition("/")[2].upper() + "_HOME": name for name in RUST
        }
        self._work = "/"
        run(["cp", "-a", "--reflink=auto", base(), folder])
        for name in _NETWORK:
            _copy(Path("/") / name, folder / name)

    def build(self, others: Mapping[str, "StageRoot"]) -> int:
        """Follow the instructions; the number of commands that were run."""
        commands = 0
        for one in self.stage.instructions:
            match one.keyword:
                case "ENV":
                    self.environment |= assigned(one, self.environment)
                case "WORKDIR":
                    self._work = one.text
                    self._at(one.text).mkdir(parents=True, exist_ok=True)
                case "COPY":
                    self._copied(one, others)
                case "RUN":
                    network = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
                    run(self.command(["/bin/sh", "-c", one.text], network))
                    commands += 1
        return commands

    def command(
        self,
        words: Sequence[str],
        environment: Mapping[str, str] | None = None,
        mounts: Sequence[str] = (),
        user: str = "0:0",
    ) -> list[str]:
        """A command line of this machine that runs one in the folder, in mounts of its own.

        Args:
            words: the command.
            environment: beside the stage's.
            mounts: commands of a shell that come before.
            user: by numbers, with the group.
        """
        root = shlex.quote(str(self.folder))
        bound = {"/proc": Path("/proc"), "/dev": Path("/dev"), **RUST}
        for inside in RUST:
            self._at(inside).mkdir(parents=True, exist_ok=True)
        script = [f"mount --rbind {here} {root}{inside}" for inside, here in bound.items()]
        given = [
            f"{name}={value}" for name, value in {**self.environment, **(environment or {})}.items()
        ]
        inner = shlex.join(["/usr/bin/env", "-i", f"--chdir={self._work}", *given, *words])
        script += [*mounts, f"exec chroot --userspec={user} {root} {inner}"]
        return [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "/bin/sh",
            "-ec",
            "\n".join(script),
        ]

    def serving(self, data: Path) -> list[str]:
        """Mounts of a container with a read-only root: `/tmp`, and the data at the work folder."""
        root = shlex.quote(str(self.folder))
        return [
            f"mount --bind {root} {root}",
            f"mount -o remount,ro,bind {root}",
            f"mount -t tmpfs tmpfs {root}/tmp",  # noqa: S108 - of the folder
            f"mount --bind {shlex.quote(str(data))} {root}{self._work}",
            # Below the bind of the root itself.
            f"mount --rbind /proc {root}/proc",
            f"mount --rbind /dev {root}/dev",
        ]

    def _copied(self, one: Instruction, others: Mapping[str, "StageRoot"]) -> None:
        """From the checkout, or from another stage; of a folder its contents, as Docker does."""
        words = one.words
        source, left_out = ROOT, list(_LEFT_OUT)
        if words[0].startswith("--from="):
            source, left_out = others[words.pop(0).removeprefix("--from=")].folder, []
        *names, target = words
        for name in names:
            found, to = source / name.lstrip("/"), self._at(target)
            if not found.is_dir() and (target.endswith("/") or len(names) > 1):
                to = to / found.name
            _copy(found, to, left_out)

    def _at(self, inside: str) -> Path:
        return self.folder / os.path.join(self._work, inside).lstrip("/")  # noqa: PTH118

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder)


def _copy(found: Path, to: Path, left_out: Sequence[str] = ()) -> None:
    """A file, or what a folder contains; nothing where there is nothing."""
    if found.is_dir():
        ignored = shutil.ignore_patterns(*left_out)
        shutil.copytree(found, to, symlinks=True, dirs_exist_ok=True, ignore=ignored)
    elif found.exists():
        to.parent.mkdir(parents=True, exist_ok=True)
        to.unlink(missing_ok=True)
        shutil.copy2(found, to)
