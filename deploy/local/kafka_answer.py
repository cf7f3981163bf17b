"""Does a broker really answer? Two requests of Kafka's own protocol, without a client library.

An open port is not enough: the broker accepts connections before it is allowed to serve. It lists itself in
its metadata only when it is.
"""

import socket
import struct

API_VERSIONS = 18
METADATA = 3


def answers(port: int, *, timeout_s: float = 2.0) -> bool:
    """True when the broker at 127.0.0.1:`port` tells its versions and lists a live broker."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
            connection.settimeout(timeout_s)
            versions = _ask(connection, API_VERSIONS, version=0, body=b"")
            if struct.unpack_from(">h", versions)[0] != 0:
                return False
            no_topics = struct.pack(">i", 0)
            metadata = _ask(connection, METADATA, version=1, body=no_topics)
            return bool(struct.unpack_from(">i", metadata)[0] > 0)
    except (OSError, struct.error):
        return False


def _ask(connection: socket.socket, api: int, *, version: int, body: bytes) -> bytes:
    client = b"kopilka"
    header = struct.pack(">hhih", api, version, 1, len(client)) + client
    connection.sendall(struct.pack(">i", len(header) + len(body)) + header + body)
    (size_bytes,) = struct.unpack(">i", _read(connection, 4))
    return _read(connection, size_bytes)[4:]  # after the correlation id


def _read(connection: socket.socket, size_bytes: int) -> bytes:
    data = b""
    while len(data) < size_bytes:
        chunk = connection.recv(size_bytes - len(data))
        if not chunk:
            raise ConnectionResetError("the broker closed the connection")
        data += chunk
    return data
