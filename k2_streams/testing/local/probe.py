"""Is a Kafka broker ready at this address? One request over a plain socket, no client library."""

import socket
import struct

#: Metadata, version 1, for no topic: a broker answers it only once it is unfenced and serves.
_API_KEY, _API_VERSION, _CORRELATION_ID, _CLIENT_ID = 3, 1, 1, b"k2-probe"
_TIMEOUT_S = 1.0
#: The answer names each broker once; far more than that is not Kafka speaking.
_ANSWER_BYTES_MAX = 1 << 20


def is_ready(host: str, port: int) -> bool:
    """Whether a broker answers here and knows at least one live broker: itself.

    Any failure to connect, to answer within a second or to speak Kafka is "no".
    """
    header = struct.pack(">hhih", _API_KEY, _API_VERSION, _CORRELATION_ID, len(_CLIENT_ID))
    request = header + _CLIENT_ID + struct.pack(">i", 0)
    try:
        with socket.create_connection((host, port), _TIMEOUT_S) as connection:
            connection.settimeout(_TIMEOUT_S)
            connection.sendall(struct.pack(">i", len(request)) + request)
            (size,) = struct.unpack(">i", _read(connection, 4))
            if not 8 <= size <= _ANSWER_BYTES_MAX:
                return False
            correlation_id, brokers = struct.unpack(">ii", _read(connection, 8))
    except OSError:
        return False
    return bool(correlation_id == _CORRELATION_ID and brokers > 0)


def _read(connection: socket.socket, count: int) -> bytes:
    """Exactly `count` bytes.

    Raises:
        ConnectionError: the other side closed before.
    """
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise ConnectionError(f"expected {count} bytes, found {len(data)}")
        data += part
    return data
