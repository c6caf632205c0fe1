"""Requests of etcd's log as proposals."""

from __future__ import annotations

import pytest

from rusd.auth.records import Identity
from rusd.backup.errors import SnapshotError
from rusd.backup.etcd_requests import proposal_of
from rusd.etcd_wal import Entry
from rusd.proto import rpc_pb2 as rpc
from rusd.state.command import Kind, unsign
from tests.support.etcd_wal import field, numbers

PUT = rpc.PutRequest(key=b"k", value=b"v").SerializeToString()


def proposal(data: bytes, *, is_request: bool = True) -> bytes | None:
    return proposal_of(Entry(9, 2, is_request, data))


def test_the_message_of_the_client_is_the_body() -> None:
    assert proposal(numbers(77) + field(4, PUT)) == bytes((Kind.PUT,)) + PUT
    header = field(100, numbers(77))
    assert proposal(header + field(1000, b"")) == bytes((Kind.AUTH_ENABLE,))


def test_a_request_of_a_user_is_applied_as_that_user() -> None:
    header = b"\x08\x4d" + field(2, b"alice") + b"\x18\x05"
    made = proposal(field(4, PUT) + field(100, header))
    assert made is not None
    assert unsign(made) == (Identity("alice", 5), bytes((Kind.PUT,)) + PUT)


def test_a_lease_has_the_ttl_that_etcd_gave_it() -> None:
    granted = rpc.LeaseGrantRequest(ID=3, TTL=1).SerializeToString()
    made = proposal(field(8, granted))
    assert made is not None and made[0] == Kind.LEASE_GRANT
    assert rpc.LeaseGrantRequest.FromString(made[1:]).TTL == 2


def test_what_concerns_the_old_cluster_alone_is_left_out() -> None:
    version = numbers(1) + field(2, b"PUT") + field(3, b"/0/version") + field(4, b"3.5.0")
    attributes = numbers(1) + field(2, b"PUT") + field(3, b"/0/members/7/attributes")
    for data in (b"", field(1300, b"x"), field(1012, b"x"), version, attributes, field(2, version)):
        assert proposal(data) is None
    assert proposal(b"anything", is_request=False) is None


def test_what_cannot_be_applied_is_refused_with_the_way_out() -> None:
    user = rpc.AuthUserAddRequest(name="u", password="plain").SerializeToString()
    for data in (
        field(2000, b"of a later version"),
        field(4, PUT) + field(5, b""),
        field(4, PUT) + field(4, PUT),
        b"\x20\x01",
        b"\xff",
        field(8, b"\xff"),
        field(4, PUT) + field(100, field(2, b"\xff")),
        field(1100, user),
        numbers(1) + field(2, b"PUT") + field(3, b"/1/key") + field(4, b"v"),
    ):
        with pytest.raises(SnapshotError, match=r"entry 9 of .* 'etcdctl snapshot save'"):
            proposal(data)
