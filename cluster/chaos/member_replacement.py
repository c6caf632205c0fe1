"""Replaces a member that lost its disk: removes it, and adds a new one.

The new member has the same name and addresses, and another id.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from rusd.proto import rpc_pb2 as rpc

from .connection import Connections, Failure

#: Seconds for the other members to agree (the strict check waits for connections of 5 s).
PATIENCE = 60.0


def replace(endpoints: Sequence[str], member: int, peer_url: str) -> None:
    """Removes the member at this index, with this peer URL, and adds a new one. Raises Failure."""
    deadline = time.monotonic() + PATIENCE
    others = [index for index in range(len(endpoints)) if index != member]
    lost, turn = 0, 0
    with Connections(endpoints) as connections:
        while True:
            asked = others[turn % len(others)]
            try:
                found = _id(connections, asked, peer_url)
                lost = lost or found
                if found not in (0, lost):
                    break
                _change(connections, asked, found, peer_url)
            except Failure:
                # Its outcome may be unknown: the member list decides.
                if time.monotonic() > deadline:
                    raise
                turn += 1
                time.sleep(0.3)
        # etcd takes its id from the first member that responds: a lagging one gives the old id.
        for other in others:
            _wait_listed(connections, other, peer_url, found, deadline)


def _wait_listed(
    connections: Connections, other: int, peer_url: str, added: int, deadline: float
) -> None:
    """Wait until a member itself has the new one in its list."""
    while True:
        try:
            if _id(connections, other, peer_url, linearizable=False) == added:
                return
        except Failure:
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            raise TimeoutError(f"member {other} never lists {added:x}")
        time.sleep(0.05)


def _id(connections: Connections, asked: int, peer_url: str, *, linearizable: bool = True) -> int:
    """Return the id of the member with a peer URL; 0 if there is none."""
    path = "/etcdserverpb.Cluster/MemberList"
    request = rpc.MemberListRequest(linearizable=linearizable)
    members = connections.call(asked, path, request, rpc.MemberListResponse).members
    return next((int(one.ID) for one in members if peer_url in one.peerURLs), 0)


def _change(connections: Connections, asked: int, found: int, peer_url: str) -> None:
    """Remove the member that was found, or add it if none was."""
    path = "/etcdserverpb.Cluster/Member"
    if found:
        remove = rpc.MemberRemoveRequest(ID=found)
        connections.call(asked, path + "Remove", remove, rpc.MemberRemoveResponse)
    else:
        add = rpc.MemberAddRequest(peerURLs=[peer_url])
        connections.call(asked, path + "Add", add, rpc.MemberAddResponse)
