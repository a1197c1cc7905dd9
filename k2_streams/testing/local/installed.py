"""What a local Kafka needs of this machine: Java, and Kafka's jars."""

from pathlib import Path

from k2_streams.runtime.settings.tools import LocalBrokerSettings, local_broker_settings


def default_jars(root: Path) -> Path:
    """Where Kafka's jars are if nothing names another folder.

    Args:
        root: the folder that the package is in.

    Returns:
        `.cache/kafka/lib` of a checkout; where K2 was installed from a wheel,
        `~/.cache/k2-streams/kafka/lib`.
    """
    if (root / "pyproject.toml").exists():
        return root / ".cache" / "kafka" / "lib"
    return Path.home() / ".cache" / "k2-streams" / "kafka" / "lib"


#: Filled by `k2 broker fetch`.
DEFAULT_JARS = default_jars(Path(__file__).resolve().parents[3])


def kafka_jars(settings: LocalBrokerSettings | None = None) -> Path:
    """The folder that `K2_KAFKA_JARS` names, else the default one.

    Args:
        settings: of the local broker; None: those of this environment.

    Raises:
        SettingsError: a setting of the local broker cannot be used.
    """
    return (settings or local_broker_settings()).kafka_jars or DEFAULT_JARS


def java_program() -> str:
    """The Java of `JAVA_HOME`, else the one on the path.

    Raises:
        SettingsError: a setting of the local broker cannot be used.
    """
    home = local_broker_settings().java_home
    return str(home / "bin" / "java") if home else "java"
