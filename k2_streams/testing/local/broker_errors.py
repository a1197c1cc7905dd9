"""Why the local broker cannot do what was asked, by what its reader can do about it."""

from pathlib import Path

from k2_streams.testing.local.loopback import HOST


class BrokerError(Exception):
    """The local broker cannot do what was asked."""


class BrokerSetupError(BrokerError):
    """Something on this machine is missing: install it and try again."""


class PortBusyError(BrokerError):
    """Another program listens on the port that was asked for: stop it or choose another port."""

    def __init__(self, port: int) -> None:
        super().__init__(
            f"port {port} on {HOST} is busy: stop what listens there, or choose another port"
        )
        self.port = port


class BrokerStartError(BrokerError):
    """Kafka ended or stayed silent while starting; the message carries the end of its log."""

    def __init__(self, reason: str, log_file: Path, last_words: str) -> None:
        super().__init__(f"Kafka did not start: {reason}; see {log_file}\n{last_words}".rstrip())
        self.reason = reason
        self.log_file = log_file
        self.last_words = last_words
