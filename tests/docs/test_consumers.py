"""The Java consumer of the documentation compiles against the client that the local broker has."""

import shutil
import subprocess

import pytest
from documents import ROOT, blocks

PAGE = ROOT / "docs" / "how-to" / "consume-the-log.md"
JARS = ROOT / ".cache" / "kafka" / "lib"


def compiled(text: str, folder) -> subprocess.CompletedProcess[str]:
    """What `javac` makes of a class of this text."""
    javac = shutil.which("javac")
    if javac is None or not any(JARS.glob("kafka-clients-*.jar")):
        pytest.skip("no javac, or no Kafka in .cache/kafka: `make jars` fetches it")
    file = folder / "TradesConsumer.java"
    file.write_text(text)
    return subprocess.run(
        [javac, "-Xlint:all,-classfile", "-Werror", "-cp", f"{JARS}/*", "-d", str(folder), file],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def java() -> str:
    (text,) = (block.text for block in blocks(PAGE) if block.language == "java")
    return text


def test_the_java_consumer_compiles(tmp_path):
    done = compiled(java(), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "TradesConsumer.class").exists()


def test_a_java_consumer_with_a_wrong_name_does_not(tmp_path):
    done = compiled(java().replace("lastHeader", "newestHeader"), tmp_path)
    assert done.returncode != 0


@pytest.mark.parametrize("language", ["python", "java"])
def test_a_consumer_is_short(language):
    (text,) = (block.text for block in blocks(PAGE) if block.language == language)
    code = [line for line in text.splitlines() if line.strip() and "import " not in line]
    assert len(code) <= 30
