"""Downgrade answers as the newest etcd does, from the first question to the cancelled downgrade."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from cluster.local import LocalCluster
from rusd.proto import rpc_pb2 as rpc
from tests.cluster.test_membership import wait_until
from tests.support.client import Client, Refused
from tests.support.pair import ORACLE, SUBJECT, command, require_newer_oracle

VALIDATE = rpc.DowngradeRequest.VALIDATE
ENABLE = rpc.DowngradeRequest.ENABLE
CANCEL = rpc.DowngradeRequest.CANCEL


@pytest.fixture
def both() -> Iterator[list[Client]]:
    require_newer_oracle()
    with ExitStack() as stack:
        clients = []
        for binary in (SUBJECT, ORACLE):
            cluster = stack.enter_context(LocalCluster(1, binary=[command(binary)]))
            clients.append(stack.enter_context(Client(cluster.endpoints[0])))
        yield clients


def ask(client: Client, action: int, version: str) -> object:
    request = rpc.DowngradeRequest(action=action, version=version)
    try:
        path = "/etcdserverpb.Maintenance/Downgrade"
        return client.call(path, request, rpc.DowngradeResponse).version
    except Refused as refused:
        return refused


def seen(client: Client) -> tuple[object, ...]:
    status = client.status()
    downgrade = status.downgradeInfo
    return status.version, status.storageVersion, downgrade.enabled, downgrade.targetVersion


def test_a_downgrade_is_validated_begun_and_cancelled(both: list[Client]) -> None:
    for client in both:
        wait_until(lambda client=client: ask(client, VALIDATE, "3.6") == "3.7")
    assert seen(both[0]) == seen(both[1])
    for action, version in [
        (VALIDATE, "3.0"),
        (VALIDATE, "3.7.0"),
        (VALIDATE, ""),
        (VALIDATE, "x"),
        (VALIDATE, "3"),
        (VALIDATE, "3.6.9"),
        (VALIDATE, "3.6.0-rc.1"),
        (7, "3.6"),
        (CANCEL, ""),
        (ENABLE, "3.5"),
        (ENABLE, "3.6.2"),
    ]:
        mine, theirs = (ask(client, action, version) for client in both)
        assert mine == theirs, (action, version)
    for client in both:
        wait_until(lambda client=client: seen(client)[1:] == ("3.6.0", True, "3.6.0"))
    for action, version in [(VALIDATE, "3.5"), (ENABLE, "3.5"), (CANCEL, "")]:
        mine, theirs = (ask(client, action, version) for client in both)
        assert mine == theirs, (action, version)
    for client in both:
        wait_until(lambda client=client: seen(client)[1:] == ("3.7.0", False, ""))
