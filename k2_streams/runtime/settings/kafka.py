"""How Kafka is reached: address and security, with all that cannot work refused at once."""

import ssl
from collections.abc import Callable
from dataclasses import replace

from k2_streams.kafka.client import KafkaConfig
from k2_streams.runtime.settings.environment import Environment, SettingsError

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
#: aiokafka knows two more: GSSAPI and OAUTHBEARER need what no setting of K2's can give.
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_DEFAULT_BOOTSTRAP = "127.0.0.1:9092"
_ADDRESSES = "HOST:PORT, several by comma, with ports from 1 to 65535"


def read(env: Environment) -> KafkaConfig:
    """The cluster's address and security, as far as it can be checked without a broker."""
    protocol = env.parsed(
        "K2_KAFKA_SECURITY_PROTOCOL", "PLAINTEXT", _one_of(PROTOCOLS), _listed(PROTOCOLS)
    )
    mechanism = env.parsed(
        "K2_KAFKA_SASL_MECHANISM", "PLAIN", _one_of(MECHANISMS), _listed(MECHANISMS)
    )
    config = KafkaConfig(
        bootstrap=env.parsed("K2_BOOTSTRAP", _DEFAULT_BOOTSTRAP, _bootstrap, _ADDRESSES),
        security_protocol=protocol,
        ca_file=env.text("K2_KAFKA_CA_FILE"),
        sasl_mechanism=mechanism,
        sasl_username=env.text("K2_KAFKA_SASL_USERNAME"),
        sasl_password=env.text("K2_KAFKA_SASL_PASSWORD"),
    )
    _check_sasl(env, config)
    _check_ca_file(env, config)
    return config


def with_bootstrap(config: KafkaConfig, bootstrap: str | None) -> KafkaConfig:
    """The same security at other addresses (`--bootstrap`); None: those of the settings.

    Raises:
        SettingsError: they are no addresses.
    """
    if not bootstrap:
        return config
    try:
        return replace(config, bootstrap=_bootstrap(bootstrap))
    except ValueError:
        raise SettingsError(f"--bootstrap: expected {_ADDRESSES}, found {bootstrap!r}") from None


def _check_sasl(env: Environment, config: KafkaConfig) -> None:
    needed = {
        "K2_KAFKA_SASL_USERNAME": config.sasl_username,
        "K2_KAFKA_SASL_PASSWORD": config.sasl_password,
    }
    if config.security_protocol.startswith("SASL"):
        for name, value in needed.items():
            if not value:
                env.refuse(
                    f"{name}: expected a value, as K2_KAFKA_SECURITY_PROTOCOL is "
                    f"{config.security_protocol}, found none"
                )
        return
    # A password alone tells nobody that a login was meant: secrets may be mounted everywhere.
    for name in ("K2_KAFKA_SASL_USERNAME", "K2_KAFKA_SASL_MECHANISM"):
        if env.is_set(name):
            env.refuse(
                f"{name}: nobody uses it while K2_KAFKA_SECURITY_PROTOCOL is "
                f"{config.security_protocol}: set that to SASL_SSL or SASL_PLAINTEXT, or remove it"
            )


def _check_ca_file(env: Environment, config: KafkaConfig) -> None:
    file, protocol = config.ca_file, config.security_protocol
    if file is None:
        return
    if protocol not in {"SSL", "SASL_SSL"}:
        env.refuse(
            f"K2_KAFKA_CA_FILE: nobody uses it while K2_KAFKA_SECURITY_PROTOCOL is {protocol}: "
            "set that to SSL or SASL_SSL, or remove it"
        )
    try:
        ssl.create_default_context(cafile=file)
    except ssl.SSLError as error:
        env.refuse(f"K2_KAFKA_CA_FILE: expected certificates as PEM in {file}: {error}")
    except (OSError, ValueError) as error:
        env.refuse(f"K2_KAFKA_CA_FILE: {file} cannot be read: {error}")


def _one_of(words: tuple[str, ...]) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in words:
            raise ValueError
        return value

    return parse


def _listed(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _bootstrap(value: str) -> str:
    """Addresses as they are, each of them checked; a port may be left out (9092)."""
    for address in value.split(","):
        host, colon, port = address.strip().rpartition(":")
        if not colon or address.strip().endswith("]"):
            host, port = address.strip(), "9092"
        if ":" in host and not (host.startswith("[") and host.endswith("]")):
            raise ValueError
        if not host or set(host) & set("/ @\t") or not 1 <= int(port) <= 65_535:
            raise ValueError
    return value
