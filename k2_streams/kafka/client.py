"""How every client of K2 reaches the brokers: one frozen object, passed through unchanged.

It also makes the clients that records go through, so that a simulated log needs no other seam.
"""

import ssl
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer

from k2_streams.kafka import header_keys
from k2_streams.kafka.producer import Producer
from k2_streams.kafka.transaction_states import LastTransaction, last_transaction


@dataclass(frozen=True, slots=True)
class KafkaConfig:
    """Address and security of the cluster.

    `sasl_password` never appears in the object's text.
    """

    bootstrap: str = "127.0.0.1:9092"
    security_protocol: str = "PLAINTEXT"
    ca_file: str | None = None
    sasl_mechanism: str = "PLAIN"
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)

    def options(self) -> dict[str, Any]:
        """The keyword arguments that all of aiokafka's clients share."""
        options: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap,
            "security_protocol": self.security_protocol,
        }
        if self.security_protocol in {"SSL", "SASL_SSL"}:
            options["ssl_context"] = ssl.create_default_context(cafile=self.ca_file)
        if self.security_protocol.startswith("SASL"):
            options |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": self.sasl_password,
            }
        return options

    def producer(self, **options: Any) -> Producer:
        """A producer of this cluster, not started."""
        return Producer(**self.options(), **options)

    def consumer(self, **options: Any) -> AIOKafkaConsumer:
        """A consumer of this cluster, not started."""
        header_keys.install()
        return AIOKafkaConsumer(**self.options(), **options)

    async def last_transaction(self, transactional_id: str) -> LastTransaction:
        """What the coordinator last did with this id.

        Raises:
            KafkaError: it does not say.
        """
        return await last_transaction(self.options(), transactional_id)
