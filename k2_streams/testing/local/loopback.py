"""Ports of this machine that only this machine can reach."""

import random
import socket

HOST = "127.0.0.1"
#: Below the ephemeral ports: a client that tries again and again to connect to an ephemeral port
#: that nobody listens on is given it as its own port sooner or later, and whoever was to come back
#: to it cannot.
_PORTS = range(12_000, 30_000)
#: Until a port is found that nobody listens on; far more than a machine has listeners.
_PORT_ATTEMPTS = 1_000
_CONNECT_TIMEOUT_S = 1.0


def is_free(port: int) -> bool:
    """Whether nothing listens on this port now."""
    with socket.socket() as probe:
        # As Java does: a port in TIME_WAIT is free, one with a listener is not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def listens(port: int) -> bool:
    """Whether something accepts connections on this port."""
    try:
        with socket.create_connection((HOST, port), timeout=_CONNECT_TIMEOUT_S):
            return True
    except OSError:
        return False


def free_ports(count: int) -> list[int]:
    """Different ports, all free just now; another program may take one before it is bound.

    Chosen by the system's randomness: two runs with the same seed would race for the same ports.

    Raises:
        OSError: none is left.
    """
    chance = random.SystemRandom()
    found: list[int] = []
    for _ in range(_PORT_ATTEMPTS):
        if len(found) == count:
            break
        port = chance.choice(_PORTS)
        if port not in found and is_free(port):
            found.append(port)
    if len(found) < count:
        raise OSError(f"{count} free ports between {_PORTS.start} and {_PORTS.stop}: found none")
    return found


def free_port() -> int:
    """One of `free_ports`."""
    return free_ports(1)[0]
