"""How Kafka is reached: address and security, from the settings and from `--bootstrap`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from k2_streams.kafka.client import KafkaConfig
from k2_streams.runtime.settings import parsing
from k2_streams.runtime.settings.declare import declarations
from k2_streams.runtime.settings.environment import SettingsError
from k2_streams.runtime.settings.groups import LocationSettings


def kafka_config(values: Mapping[str, Any]) -> KafkaConfig:
    """From the fields of the settings."""
    return KafkaConfig(
        bootstrap=values["bootstrap"],
        security_protocol=values["kafka_security_protocol"],
        ca_file=values["kafka_ca_file"],
        sasl_mechanism=values["kafka_sasl_mechanism"],
        sasl_username=values["kafka_sasl_username"],
        sasl_password=values["kafka_sasl_password"],
        cert_file=values["kafka_cert_file"],
        key_file=values["kafka_key_file"],
        oauth_token_file=values["kafka_oauth_token_file"],
    )


def with_bootstrap(config: KafkaConfig, bootstrap: str | None) -> KafkaConfig:
    """The same security at other addresses (`--bootstrap`); None: those of the settings.

    Raises:
        SettingsError: they are no addresses.
    """
    if not bootstrap:
        return config
    try:
        return replace(config, bootstrap=parsing.bootstrap(bootstrap))
    except ValueError:
        expected = declarations(LocationSettings)["bootstrap"].expected
        raise SettingsError(f"--bootstrap: expected {expected}, found {bootstrap!r}") from None
