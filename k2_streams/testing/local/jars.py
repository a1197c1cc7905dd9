"""Kafka's jars, fetched by Maven: what they are says `kafka_jars.xml`."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from k2_streams.testing.local.broker_errors import BrokerSetupError

#: 54 MB, over a slow line.
FETCH_TIMEOUT_S = 900.0
#: Of Maven's output, in an error.
LAST_WORDS_LINES = 5

_PROJECT = Path(__file__).with_name("kafka_jars.xml")


def fetch_jars(to: Path) -> int:
    """Replace a folder by one with Kafka's jars; an interrupted fetch leaves it as it was.

    Returns:
        how many jars there are.

    Raises:
        BrokerSetupError: there is no Maven, it ended with an error, or it took too long.
    """
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerSetupError("Maven 3.6.3 or newer is needed, found none as 'mvn'")
    to = to.absolute()
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent, prefix=f"{to.name}.") as folder:
        new = Path(folder) / "new"
        _copy_dependencies(maven, new)
        if to.exists():
            to.rename(Path(folder) / "old")
        new.rename(to)
    return sum(1 for _ in to.glob("*.jar"))


def _copy_dependencies(maven: str, to: Path) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - the program is Maven, the arguments are ours
            [maven, "-q", "-B", "-C", "-Dstyle.color=never", "-f", str(_PROJECT),
             "dependency:copy-dependencies", f"-DoutputDirectory={to}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", timeout=FETCH_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise BrokerSetupError(f"Maven took more than {FETCH_TIMEOUT_S:.0f} s") from error
    if done.returncode or not any(to.glob("kafka_*.jar")):
        last = "\n".join(done.stdout.strip().splitlines()[-LAST_WORDS_LINES:])
        raise BrokerSetupError(f"Maven could not fetch Kafka's jars:\n{last}")
