"""The Dockerfile: linted, its steps executed, and the worker that comes out of them started."""

import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from deploy.image.chroot import StageRoot, base
from deploy.image.dockerfile import FILE, Instruction, stages
from deploy.tools import StepFailedError, run, tool
from k2_streams.testing.local.loopback import free_port
from k2_streams.testing.local.stage import Stage
from k2_streams.testing.local.workers import READY_WITHIN_S, STOP_WITHIN_S
from k2_streams.testing.waiting import StuckError, wait_until


def lint() -> str:
    """Hadolint, every rule."""
    run([tool("hadolint"), FILE])
    return "no fault"


def execute() -> str:
    """Follow every stage in a Debian of its own, then start what the last one says."""
    base()
    built: dict[str, StageRoot] = {}
    commands = 0
    with tempfile.TemporaryDirectory(prefix="k2-image-") as folder, ExitStack() as undo:
        for stage in stages(FILE.read_text()):
            root = StageRoot(Path(folder) / stage.name, stage)
            undo.callback(root.close)
            commands += root.build(built)
            built[stage.name] = root
        ready_s, stopped_s = _serve(root, Path(folder))
    return (
        f"{commands} RUN of {len(built)} stages in a chroot of Debian; as user "
        f"{root.stage.last('USER').text} on a read-only root healthy after {ready_s:.1f} s, "
        f"stopped by {root.stage.last('STOPSIGNAL').text} in {stopped_s:.1f} s"
    )


def _serve(root: StageRoot, folder: Path) -> tuple[float, float]:
    """Seconds until the image's health check passes, and until a worker that is told to stop ends.

    Raises:
        StepFailedError: one of them did not come.
    """
    stage, log = root.stage, folder / "worker.log"
    data, user = folder / "data", stage.last("USER").text
    data.mkdir()
    run(["chown", user, data])
    with Stage(folder / "kafka") as at:
        at.brokers.start()
        settings = {"K2_BOOTSTRAP": at.bootstrap, "K2_WEB_PORT": str(free_port())}
        words = [*stage.last("ENTRYPOINT").words, *stage.last("CMD").words]
        check = stage.last("HEALTHCHECK").text.partition("CMD ")[2]
        probe = root.command(Instruction("CMD", check).words, settings, user=user)
        began = time.monotonic()
        command = root.command(words, settings, root.serving(data), user)
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            wait_until(lambda: _passes(process, probe), "the image is healthy", READY_WITHIN_S, 0.5)
            ready_s, asked = time.monotonic() - began, time.monotonic()
            process.send_signal(signal.Signals[stage.last("STOPSIGNAL").text])
            code = process.wait(STOP_WITHIN_S)
        except (StuckError, subprocess.TimeoutExpired) as error:
            raise StepFailedError(f"{error}\n{log.read_text()[-3_000:]}") from error
        finally:
            process.kill()
            process.wait()
        if code:
            raise StepFailedError(f"the worker ended with {code}\n{log.read_text()[-3_000:]}")
        return ready_s, time.monotonic() - asked


def _passes(process: subprocess.Popen[bytes], probe: list[str]) -> bool:
    if process.poll() is not None:
        raise StuckError(f"the worker ended with {process.returncode}")
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0
