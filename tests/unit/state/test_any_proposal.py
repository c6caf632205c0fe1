"""Applying any bytes as a proposal ends no member.

A proposal is checked by the member that makes it, and a committed one is applied by all: one that
raised anything but a refusal would end every member of the cluster, at every start again.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rusd.auth.records import Identity
from rusd.base.errors import Refusal
from rusd.proto import auth_pb2
from rusd.proto import rpc_pb2 as rpc
from rusd.state.command import Kind, LeaseExpiry, Login, MemberAddition, encode, sign
from rusd.state.errors import EmptyKey
from rusd.state.members import Member
from rusd.state.result import Applied
from tests.unit.state.driver import Driver

KEY, NUMBER = st.sampled_from([b"", b"\0", b"a", b"k", b"\xff"]), st.integers(-(2**63), 2**63 - 1)
PUT = st.builds(rpc.PutRequest, key=KEY, value=KEY, lease=NUMBER, ignore_value=st.booleans())
RANGE = st.builds(rpc.RangeRequest, key=KEY, range_end=KEY, limit=NUMBER, revision=NUMBER)
DELETE = st.builds(rpc.DeleteRangeRequest, key=KEY, range_end=KEY, prev_kv=st.booleans())
COMPARE = st.builds(rpc.Compare, key=KEY, range_end=KEY, version=NUMBER, value=KEY)
OPERATION = st.one_of(
    st.builds(rpc.RequestOp),
    st.builds(rpc.RequestOp, request_put=PUT),
    st.builds(rpc.RequestOp, request_range=RANGE),
    st.builds(rpc.RequestOp, request_delete_range=DELETE),
    st.builds(rpc.RequestOp, request_txn=st.builds(rpc.TxnRequest)),
)
TXN = st.builds(
    rpc.TxnRequest,
    compare=st.lists(COMPARE, max_size=2),
    success=st.lists(OPERATION, max_size=3),
    failure=st.lists(OPERATION, max_size=3),
)
MEMBER = st.builds(
    Member,
    id=st.integers(0, 2**64 - 1),
    name=st.sampled_from(["", "m"]),
    peer_urls=st.lists(st.sampled_from(["", "http://a:1", "no url"]), max_size=2).map(tuple),
    is_learner=st.booleans(),
)


def messages() -> Iterator[tuple[Kind, st.SearchStrategy[bytes]]]:
    """Bodies of the right type, kind by kind."""
    requests: dict[Kind, st.SearchStrategy[object]] = {
        Kind.PUT: PUT,
        Kind.DELETE_RANGE: DELETE,
        Kind.TXN: TXN,
        Kind.COMPACT: st.builds(rpc.CompactionRequest, revision=NUMBER),
        Kind.LEASE_GRANT: st.builds(rpc.LeaseGrantRequest, ID=NUMBER, TTL=NUMBER),
        Kind.LEASE_REVOKE: st.builds(rpc.LeaseRevokeRequest, ID=NUMBER),
        Kind.LEASE_CHECKPOINT: st.builds(
            rpc.LeaseCheckpointRequest,
            checkpoints=st.lists(
                st.builds(rpc.LeaseCheckpoint, ID=NUMBER, remaining_TTL=NUMBER), max_size=2
            ),
        ),
        Kind.ALARM: st.builds(
            rpc.AlarmRequest,
            action=st.sampled_from([0, 1, 2, 77]),
            memberID=st.integers(0, 2**64 - 1),
            alarm=st.sampled_from([0, 1, 2, 77]),
        ),
    }
    for kind, request in requests.items():
        yield kind, request.map(lambda one: one.SerializeToString())  # type: ignore[attr-defined]
    members = MEMBER.map(lambda member: member.message().SerializeToString())
    for kind in (
        Kind.MEMBER_ATTRIBUTES,
        Kind.MEMBER_REMOVE,
        Kind.MEMBER_UPDATE,
        Kind.MEMBER_PROMOTE,
    ):
        yield kind, members
    yield (
        Kind.MEMBER_ADD,
        st.builds(MemberAddition, st.integers(0, 9), MEMBER).map(MemberAddition.encode),
    )
    yield (
        Kind.LEASE_EXPIRE,
        st.builds(LeaseExpiry, st.integers(0, 3), NUMBER).map(LeaseExpiry.encode),
    )
    names = st.sampled_from(["", "root", "u"])
    yield Kind.AUTHENTICATE, st.builds(Login, names, names).map(Login.encode)
    for kind, request in {
        Kind.AUTH_ENABLE: st.builds(rpc.AuthEnableRequest),
        Kind.AUTH_DISABLE: st.builds(rpc.AuthDisableRequest),
        Kind.USER_ADD: st.builds(
            rpc.AuthUserAddRequest, name=names, hashedPassword=st.sampled_from(["", "eA==", "!"])
        ),
        Kind.USER_DELETE: st.builds(rpc.AuthUserDeleteRequest, name=names),
        Kind.USER_CHANGE_PASSWORD: st.builds(
            rpc.AuthUserChangePasswordRequest, name=names, hashedPassword=names
        ),
        Kind.USER_GRANT_ROLE: st.builds(rpc.AuthUserGrantRoleRequest, user=names, role=names),
        Kind.USER_REVOKE_ROLE: st.builds(rpc.AuthUserRevokeRoleRequest, name=names, role=names),
        Kind.ROLE_ADD: st.builds(rpc.AuthRoleAddRequest, name=names),
        Kind.ROLE_DELETE: st.builds(rpc.AuthRoleDeleteRequest, role=names),
        Kind.ROLE_GRANT_PERMISSION: st.builds(
            rpc.AuthRoleGrantPermissionRequest,
            name=names,
            perm=st.builds(auth_pb2.Permission, key=KEY, range_end=KEY),
        ),
        Kind.ROLE_REVOKE_PERMISSION: st.builds(
            rpc.AuthRoleRevokePermissionRequest, role=names, key=KEY, range_end=KEY
        ),
    }.items():
        yield kind, request.map(lambda one: one.SerializeToString())  # type: ignore[attr-defined]
    yield (
        Kind.SIGNED,
        st.builds(
            lambda user, revision, put: sign(
                Identity(user, revision), encode(Kind.PUT, put.SerializeToString())
            )[1:],
            names,
            st.integers(0, 2**64 - 1),
            PUT,
        ),
    )
    yield Kind.CLUSTER_VERSION, st.sampled_from([b"", b"3.6.0", b"x.y", "\u20ac".encode()])
    yield Kind.DOWNGRADE, st.sampled_from([b"", b"3.6.0", b"\xff"])


BODIES = dict(messages())


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """A proposal of any kind: sensible, cut short, with a byte changed, or anything at all."""
    kind = draw(st.sampled_from(sorted(BODIES)))
    body = draw(st.one_of(BODIES[kind], st.binary(max_size=20)))
    damage = draw(st.sampled_from(["none", "none", "cut", "byte"]))
    if damage == "cut":
        body = body[: draw(st.integers(0, len(body)))]
    elif damage == "byte" and body:
        at = draw(st.integers(0, len(body) - 1))
        body = body[:at] + draw(st.binary(min_size=1, max_size=1)) + body[at + 1 :]
    return bytes((kind,)) + body


def test_every_kind_has_bodies_here() -> None:
    assert BODIES.keys() == set(Kind)


@given(st.lists(st.lists(payloads(), min_size=1, max_size=4), min_size=1, max_size=12))
def test_any_proposal_is_applied_or_refused(entries: list[list[bytes]]) -> None:
    with TemporaryDirectory() as directory:
        driver = Driver(Path(directory) / "state")
        try:
            driver.machine.bootstrap([Member(1, "a", ("http://a:2380",))], 99)
            for payload in entries:
                for result in driver.apply_payloads(payload):
                    assert isinstance(result, Applied | Refusal)
            driver.restart()  # what was stored can be read again
        finally:
            driver.machine.close()


def test_a_put_without_a_key_is_refused_also_when_it_is_applied(tmp_path: Path) -> None:
    driver = Driver(tmp_path / "state")
    put = rpc.PutRequest(value=b"v")
    operation = rpc.RequestOp(request_put=put)
    nested = rpc.TxnRequest(
        success=[rpc.RequestOp(request_txn=rpc.TxnRequest(success=[operation]))]
    )
    for kind, request in ((Kind.PUT, put), (Kind.TXN, nested)):
        (refused,) = driver.apply_payloads([encode(kind, request.SerializeToString())])
        assert isinstance(refused, EmptyKey)
    assert driver.machine.store.revision == 1
    driver.machine.close()


@pytest.mark.parametrize("kind", sorted(Kind))
def test_an_empty_body_is_applied_or_refused(kind: Kind, tmp_path: Path) -> None:
    driver = Driver(tmp_path / "state")
    (result,) = driver.apply_payloads([bytes((kind,))])
    assert isinstance(result, Applied | Refusal)
    driver.machine.close()
