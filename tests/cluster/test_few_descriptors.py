"""A process that may open few files turns connections away; the journal and the store go on."""

from __future__ import annotations

import contextlib
import shlex
import socket
from urllib.parse import urlsplit

import pytest

from cluster.local import LocalCluster, rusd_command
from tests.support.client import Client

#: What the member may open; it keeps 150 from clients and 64 from unknown peers.
FILES = 300
#: Connections at each port, three times what the member may open.
FLOOD = 900
MIB = 1 << 20


@pytest.mark.parametrize("port", ["peer", "client"])
def test_a_flood_of_connections_leaves_the_journal_its_next_segment(port: str) -> None:
    limited = f'ulimit -n {FILES}; exec {shlex.join(rusd_command())} "$@"'
    with (
        LocalCluster(1, binary=["sh", "-c", limited, "rusd"]) as cluster,
        Client(cluster.endpoints[0]) as client,
        contextlib.ExitStack() as flood,
    ):
        client.put(b"k", b"v")  # the connection is made before the flood
        member = cluster.members[0]
        url = member.peer_url if port == "peer" else member.client_url
        address = (urlsplit(url).hostname, urlsplit(url).port)
        for number in range(FLOOD):
            with contextlib.suppress(ConnectionError):
                flood.enter_context(socket.create_connection(address, timeout=20))
            if number % 25 == 0:
                client.put(b"k%d" % (number % 50), bytes(MIB))  # three segments' worth in all
        assert client.range(b"k0").count == 1
        assert member.running
