"""Refuses connections that leave this machine: copied into lesson kernels as sitecustomize."""

import ipaddress
import socket


class NetworkOff(ConnectionError):
    """A lesson tried to reach another machine; lessons run offline."""


def is_local(host: str | bytes | None) -> bool:
    """True for this machine's own names and loopback addresses."""
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost", socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return False


def check_local(host: str | bytes | None) -> None:
    """Raise NetworkOff for any other machine."""
    if not is_local(host):
        raise NetworkOff(
            f"This lesson tried to reach {host!r}, but lessons run offline, to work in every class "
            "room. Use data that comes with annlib, or name a folder in a parameter."
        )


def refuse_network() -> None:
    """From now on sockets of this process connect to this machine only."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex
    getaddrinfo = socket.getaddrinfo

    def local_connect(self, address):
        check_local(address[0] if isinstance(address, tuple) else None)
        return connect(self, address)

    def local_connect_ex(self, address):
        check_local(address[0] if isinstance(address, tuple) else None)
        return connect_ex(self, address)

    def local_getaddrinfo(host, *args, **kwargs):
        check_local(host)
        return getaddrinfo(host, *args, **kwargs)

    socket.socket.connect = local_connect
    socket.socket.connect_ex = local_connect_ex
    socket.getaddrinfo = local_getaddrinfo


if __name__ == "sitecustomize":
    refuse_network()
