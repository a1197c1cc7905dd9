"""What a local Kafka needs of this machine: Java, and Kafka's jars."""

from pathlib import Path

from k2_streams.runtime.settings.tools import local_broker_settings

#: Filled by `make jars`, in the checkout that this file is in.
DEFAULT_JARS = Path(__file__).resolve().parents[3] / ".cache" / "kafka" / "lib"


def kafka_jars() -> Path:
    """The folder that `K2_KAFKA_JARS` names, else that of `make jars`.

    Raises:
        SettingsError: a setting of the local broker cannot be used.
    """
    return local_broker_settings().kafka_jars or DEFAULT_JARS


def java_program() -> str:
    """The Java of `JAVA_HOME`, else the one on the path.

    Raises:
        SettingsError: a setting of the local broker cannot be used.
    """
    home = local_broker_settings().java_home
    return str(home / "bin" / "java") if home else "java"
