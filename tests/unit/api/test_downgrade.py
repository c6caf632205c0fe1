"""Downgrade beyond what the differential test sees: a member of an older release, a new cluster."""

import asyncio
from types import SimpleNamespace

import pytest

from rusd.api.downgrade import Downgrade
from rusd.base.pending import Pending
from rusd.proto import rpc_pb2 as rpc
from rusd.rpc.errors import EtcdError
from rusd.state.members import Members

ENABLE = rpc.DowngradeRequest(action=rpc.DowngradeRequest.ENABLE, version="3.6")


def refusal(version: str | None, *, everyone_can: bool) -> tuple[str, list[bytes]]:
    """Return the refusal of a downgrade, and the proposals made."""
    proposed: list[bytes] = []
    members = Members()
    members.cluster_version = version

    def read_index() -> Pending[None]:
        answer: Pending[None] = Pending()
        answer.give(None)
        return answer

    node = SimpleNamespace(
        read_index=read_index, can_apply=lambda features: everyone_can, propose=proposed.append
    )
    with pytest.raises(EtcdError) as error:
        asyncio.run(Downgrade(node, members).act(ENABLE))
    return error.value.message, proposed


def test_no_downgrade_begins_while_a_member_would_skip_it() -> None:
    text = "rusd: a member runs a release without downgrades"
    assert refusal("3.7.0", everyone_can=False) == (text, [])


def test_a_cluster_without_a_version_cannot_be_downgraded() -> None:
    text = "etcdserver: cluster version not found during downgrade"
    assert refusal(None, everyone_can=True) == (text, [])
