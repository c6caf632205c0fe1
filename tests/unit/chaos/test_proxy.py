"""Links through proxies: what a cut, a delay and a loss do to bytes and to connections."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from cluster.chaos.network import CLEAR, CUT, Rule
from cluster.chaos.proxy import RETRANSMISSION, ProxyNetwork, owner
from cluster.ports import HOST, Claim

#: Seconds in which a byte that is not held back arrives many times over.
SILENCE = 0.3
#: Seconds for what must come.
PATIENCE = 10.0
#: This process dials, so by its process id it is member 0; member 1 is dialled.
DIALLER, DIALLED = 0, 1


class Pair:
    """A network of two members, and connections between them."""

    def __init__(self, network: ProxyNetwork, listener: socket.socket, port: int) -> None:
        self.network = network
        self.listener = listener
        self._port = port

    def dial(self) -> socket.socket:
        return socket.create_connection((HOST, self._port), timeout=PATIENCE)

    def accept(self) -> socket.socket:
        accepted, _ = self.listener.accept()
        accepted.settimeout(PATIENCE)
        return accepted


@pytest.fixture
def pair() -> Iterator[Pair]:
    claim = Claim()
    (port,) = claim.any(1)
    with socket.create_server((HOST, 0)) as listener:
        listener.settimeout(PATIENCE)
        routes = {DIALLED: ((HOST, port), (HOST, listener.getsockname()[1]))}
        network = ProxyNetwork(routes, lambda: {os.getpid(): DIALLER})
        try:
            yield Pair(network, listener, port)
        finally:
            network.close()
            claim.release()


@pytest.fixture
def ends(pair: Pair) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection that works."""
    with pair.dial() as dialler, pair.accept() as dialled:
        assert passes(dialler, dialled) and passes(dialled, dialler)
        yield dialler, dialled


def passes(sender: socket.socket, receiver: socket.socket) -> bool:
    """Return whether a byte from one end arrives at the other."""
    sender.sendall(b"x")
    receiver.settimeout(SILENCE)
    try:
        return receiver.recv(1) == b"x"
    except TimeoutError:
        return False
    finally:
        receiver.settimeout(PATIENCE)


Ends = tuple[socket.socket, socket.socket]


def test_a_cut_of_one_direction_leaves_the_other(pair: Pair, ends: Ends) -> None:
    dialler, dialled = ends
    pair.network.set([(DIALLER, DIALLED)], CUT)
    assert not passes(dialler, dialled)
    assert passes(dialled, dialler)


def test_the_other_direction_is_cut_alike(pair: Pair, ends: Ends) -> None:
    dialler, dialled = ends
    pair.network.set([(DIALLED, DIALLER)], CUT)
    assert not passes(dialled, dialler)
    assert passes(dialler, dialled)


def test_what_a_cut_held_back_arrives_in_order_when_it_is_lifted(pair: Pair, ends: Ends) -> None:
    dialler, dialled = ends
    pair.network.set([(DIALLER, DIALLED)], CUT)
    assert not passes(dialler, dialled)
    dialler.sendall(b"yz")
    pair.network.heal()
    assert b"".join(dialled.recv(1) for _ in range(3)) == b"xyz"


@pytest.mark.parametrize("link", [(DIALLER, DIALLED), (DIALLED, DIALLER)])
def test_a_new_connection_over_a_cut_link_reaches_no_member(
    pair: Pair, link: tuple[int, int]
) -> None:
    pair.network.set([link], CUT)
    with pair.dial():
        pair.listener.settimeout(SILENCE)
        with pytest.raises(TimeoutError):
            pair.listener.accept()
        pair.listener.settimeout(PATIENCE)
        pair.network.set([link], CLEAR)
        pair.accept().close()


def test_over_a_cut_link_the_end_of_a_connection_is_not_noticed(pair: Pair, ends: Ends) -> None:
    dialler, dialled = ends
    pair.network.set([(DIALLED, DIALLER)], CUT)
    # Reset, as the system does for a process that was killed before it had read everything.
    dialled.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    dialled.close()
    dialler.settimeout(SILENCE)
    with pytest.raises(TimeoutError):
        dialler.recv(1)
    dialler.settimeout(PATIENCE)
    pair.network.heal()
    with contextlib.suppress(ConnectionResetError):
        assert dialler.recv(1) == b""


def test_a_delayed_byte_does_not_arrive_before_its_time(pair: Pair, ends: Ends) -> None:
    dialler, dialled = ends
    delay = 0.2
    pair.network.set([(DIALLER, DIALLED)], Rule(delay=delay))
    sent = time.monotonic()
    dialler.sendall(b"x")
    assert dialled.recv(1) == b"x"
    assert time.monotonic() - sent >= delay


def test_a_lost_packet_is_late_by_a_retransmission(pair: Pair) -> None:
    assert pair.network.late(Rule(loss=0.0), 100) == 0.0
    assert pair.network.late(Rule(loss=1.0), 100) >= RETRANSMISSION


def test_more_bytes_are_more_likely_to_be_late(pair: Pair) -> None:
    def late(size: int) -> int:
        return sum(pair.network.late(Rule(loss=0.05), size) > 0 for _ in range(500))

    assert late(20_000) > 2 * late(100)


def test_dialling_a_member_that_is_down_ends_the_connection(pair: Pair) -> None:
    pair.listener.close()
    with pair.dial() as dialler, contextlib.suppress(ConnectionResetError):
        assert dialler.recv(1) == b""


def test_the_dialling_member_is_found_by_the_process_that_has_the_socket() -> None:
    script = "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); "
    script += "s.recv(1)"
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        child = subprocess.Popen([sys.executable, "-c", script, str(port)])
        accepted, address = listener.accept()
        with accepted:
            pids = {os.getpid(): 0, child.pid: 1}
            assert owner(address, accepted.getsockname(), pids) == 1
            assert owner(address, accepted.getsockname(), {os.getpid(): 0}) is None
        child.wait(PATIENCE)
