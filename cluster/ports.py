"""Port numbers for members that will be stopped and started again.

A member must find its port free at every restart, so a port the kernel hands out (bind to port 0)
will not do: while the member is down, any outgoing connection may get the same number. Ports are
therefore taken from below the range of outgoing connections. So that two launchers do not pick the
same ones, each holds a UDP socket on the numbers it claimed: it does not conflict with the
member's TCP socket, and the kernel closes it with the launcher.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

#: Lowest number claimed. Well-known services use lower ones.
LOWEST = 10_000

#: First number of outgoing connections if the system does not state it (Linux's default).
DEFAULT_EPHEMERAL = 32_768

HOST = "127.0.0.1"


class PortTaken(OSError):
    """A port that was asked for by number is in use."""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} of {HOST} is in use")
        self.port = port


def ephemeral_start() -> int:
    """Return the first port number that outgoing connections may get."""
    try:
        first = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0]
    except OSError:
        return DEFAULT_EPHEMERAL
    return int(first)


class Claim:
    """Port numbers that no other launcher will use until `release`."""

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    def any(self, count: int) -> list[int]:
        """Claim `count` distinct free ports."""
        high = ephemeral_start()
        low = LOWEST if high > LOWEST + 1000 else 1024
        found: list[int] = []
        start = random.SystemRandom().randrange(low, high)
        for port in chain(range(start, high), range(low, start)):
            if len(found) == count:
                return found
            if self._take(port):
                found.append(port)
        raise OSError(f"no {count} free ports between {low} and {high}")

    def these(self, ports: Sequence[int]) -> list[int]:
        """Claim exactly these ports; raises PortTaken with the first that is in use."""
        for port in ports:
            if not self._take(port):
                self.release()
                raise PortTaken(port)
        return list(ports)

    def release(self) -> None:
        for held in self._held:
            held.close()
        self._held.clear()

    def _take(self, port: int) -> bool:
        held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            held.bind((HOST, port))
        except OSError:
            held.close()
            return False
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # As servers do: connections of an earlier run in TIME_WAIT do not block the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
                probe.listen(1)
            except OSError:
                held.close()
                return False
        self._held.append(held)
        return True
