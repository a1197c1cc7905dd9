"""A network that is cut between one worker and everything else."""

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from faults import isolation
from faults.injections import recovered
from faults.segment import Group, Segment
from faults.stage import FaultStage
from k2_streams.testing.local.workers import LocalWorker
from k2_streams.testing.waiting import wait_until

#: An address of the loopback interface: it stays when the link is cut.
BROKER = "10.77.1.1"
NEAR, FAR = "10.77.0.1", "10.77.0.2"
DISTANT = 1  # the worker beyond the link
#: Shorter than the session (6 s), or longer.
SHORT_S, LONG_S = (1.0, 4.0), (10.0, 16.0)


class Link:
    """A network namespace with one link to it; ends with its process."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self.inside = ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net"]
        own = Path("/proc/self/ns/net").readlink()
        theirs = Path(f"/proc/{self._holder.pid}/ns/net")
        wait_until(lambda: theirs.readlink() != own, "the namespace is there")
        pid = str(self._holder.pid)
        ip = ("ip", "link", "add", "k2-near", "type", "veth", "peer", "name", "k2-far")
        isolation.run(*ip, "netns", pid)
        isolation.run("ip", "address", "add", f"{NEAR}/30", "dev", "k2-near")
        isolation.run("ip", "address", "replace", f"{BROKER}/32", "dev", "lo")
        isolation.run(*self.inside, "ip", "link", "set", "lo", "up")
        isolation.run(*self.inside, "ip", "address", "add", f"{FAR}/30", "dev", "k2-far")
        self.join()

    def cut(self, *, unseen: bool) -> None:
        """Nothing passes.

        Args:
            unseen: the far side has no sign of it but silence; else its own link is down, and
                what it sends is refused at once.
        """
        if unseen:
            isolation.run("ip", "link", "set", "k2-near", "down")
        else:
            isolation.run(*self.inside, "ip", "link", "set", "k2-far", "down")

    def join(self) -> None:
        """Everything passes again."""
        isolation.run("ip", "link", "set", "k2-near", "up")
        isolation.run(*self.inside, "ip", "link", "set", "k2-far", "up")
        isolation.run(*self.inside, "ip", "route", "replace", "default", "via", NEAR)

    def close(self) -> None:
        """The interfaces go with the namespace."""
        self._holder.kill()
        self._holder.wait()


class DistantStage(FaultStage):
    """One of the workers lives beyond a link."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.link = Link()
        super().__init__(directory, seed, host=BROKER)

    def _worker(self, worker_id: int, settings: Mapping[str, str], port: int) -> LocalWorker:
        if worker_id != DISTANT:
            return super()._worker(worker_id, settings, port)
        return LocalWorker(
            self.directory,
            self.bootstrap,
            worker_id,
            {**settings, "K2_API_KEYS": "faults"},
            port=port,
            host=FAR,
            under=self.link.inside,
        )

    def close(self) -> None:
        """End what still runs."""
        super().close()
        self.link.close()


@contextmanager
def _distant(directory: Path, seed: int) -> Iterator[DistantStage]:
    isolation.check()
    stage = DistantStage(directory, seed)
    with stage.running():
        yield stage


def _cut(stage: DistantStage, seconds: float, *, unseen: bool) -> float:
    time.sleep(stage.random.uniform(0.1, 2.0))
    stage.link.cut(unseen=unseen)
    time.sleep(seconds)
    stage.link.join()
    return recovered(stage, time.monotonic())


def cut_shortly(stage: DistantStage, number: int) -> float:
    """For less than the session: the worker is still a member when it is back."""
    return _cut(stage, stage.random.uniform(*SHORT_S), unseen=number % 2 == 0)


def cut_past_the_session(stage: DistantStage, number: int) -> float:
    """For longer: others have its partitions when it is back."""
    before = stage.generations()
    seconds = _cut(stage, stage.random.uniform(*LONG_S), unseen=number % 2 == 0)
    assert stage.generations() > before
    return seconds


GROUP = Group(
    "a worker beyond a link",
    _distant,
    (
        Segment("network cut, shorter than the session", cut_shortly, 8, {"long": 6}),
        Segment("network cut past the session", cut_past_the_session, 25, {"long": 6}),
    ),
    isolated=True,
)
