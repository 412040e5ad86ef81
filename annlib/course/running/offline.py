"""Refuses connections that leave this machine: copied into lesson kernels as sitecustomize."""

import ipaddress
import socket
from collections.abc import Callable
from contextlib import suppress


class NetworkOff(ConnectionError):
    """A lesson tried to reach another machine; lessons run offline."""


def check_local(host: str | bytes | None) -> None:
    """Raise NetworkOff for all but this machine's own names and loopback addresses."""
    name = host.decode() if isinstance(host, bytes) else host
    local = name in (None, "", "localhost", socket.gethostname())
    with suppress(ValueError):  # another name, not an address
        local = local or ipaddress.ip_address(name.partition("%")[0]).is_loopback
    if not local:
        raise NetworkOff(
            f"This lesson tried to reach {host!r}, but lessons run offline, to work in every class "
            "room. Use data that comes with annlib, or name a folder in a parameter."
        )


def refuse_network() -> None:
    """From now on sockets of this process connect to this machine only."""

    def guard(call: Callable, host_of: Callable) -> Callable:
        def guarded(*args, **kwargs):
            check_local(host_of(*args, **kwargs))
            return call(*args, **kwargs)

        return guarded

    for name in ("connect", "connect_ex"):
        host_of = lambda _, address: address[0] if isinstance(address, tuple) else None  # noqa: E731
        setattr(socket.socket, name, guard(getattr(socket.socket, name), host_of))
    socket.getaddrinfo = guard(socket.getaddrinfo, lambda host, *_, **__: host)


if __name__ == "sitecustomize":
    refuse_network()
