"""TCP ports on the loopback: a free one, and a clear word about a taken one."""

import contextlib
import errno
import secrets
import socket

import psutil

from deploy.trouble import Trouble
from deploy.words import _

LOWEST_PORT = 20_000
HIGHEST_PORT = 32_767


def free_port() -> int:
    """A port nobody listens on at this moment. Another process may still be quicker: start soon.

    Not one of those that the system itself gives to outgoing connections (32768 and up on Linux): a client that
    tries again and again to reach a stopped server there may be given that very port, reach itself, and keep it.
    """
    while True:
        port = secrets.choice(range(LOWEST_PORT, HIGHEST_PORT + 1))
        if is_free(port):
            return port


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port in TIME_WAIT after a restart is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def require_free(port: int, name: str, setting: str) -> None:
    """Raise Trouble naming who holds the port and the setting that moves `name` to another one."""
    if is_free(port):
        return
    if holder := _holder(port):
        taken = _("{name}: port {port} is taken by {holder}; stop it, or choose another port with {setting}=PORT")
    else:
        taken = _("{name}: port {port} is taken; stop what holds it, or choose another port with {setting}=PORT")
    raise Trouble(taken.format(name=name, port=port, holder=holder, setting=setting))


def _holder(port: int) -> str:
    """`NAME (pid N)`, or nothing where the system does not tell whose socket it is."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
                if connection.pid is None:
                    return ""
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return ""
