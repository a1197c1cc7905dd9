"""What a local Kafka needs of this machine: Java, and Kafka's jars."""

import os
from pathlib import Path

#: Filled by `make jars`, in the checkout that this file is in.
DEFAULT_JARS = Path(__file__).resolve().parents[3] / ".cache" / "kafka" / "lib"


def kafka_jars() -> Path:
    """The folder that `K2_KAFKA_JARS` names, else that of `make jars`."""
    return Path(os.environ.get("K2_KAFKA_JARS") or DEFAULT_JARS)


def java_program() -> str:
    """The Java of `JAVA_HOME`, else the one on the path."""
    home = os.environ.get("JAVA_HOME")
    return str(Path(home) / "bin" / "java") if home else "java"
