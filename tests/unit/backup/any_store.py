"""Random histories of a store, applied by the state machine as Raft would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice

from hypothesis import strategies as st

from rusd.base.errors import Refusal
from rusd.proto import auth_pb2
from rusd.proto import rpc_pb2 as rpc
from rusd.state.command import Kind, MemberAddition
from rusd.state.members import Member
from tests.unit.state.driver import Driver, delete_op, put_op
from tests.unit.state.test_auth_commands import HASH

#: One change; a refusal of the state machine is none.
Change = Callable[[Driver], object]

KEYS = st.sampled_from([b"\0", b"a", b"a\0", b"a\0b", b"b", b"k" * 300, b"\xff", b"\xff\xff\0"])
VALUES = st.one_of(
    st.sampled_from([b"", b"\0", b"t", b"v" * 5000]),
    st.binary(max_size=40),
    st.integers(1, 3).map(lambda number: bytes([number]) * (1 << 20)),
)
#: (An interval ends with itself for one key, and with a zero byte for all from it on.)
ENDS = st.sampled_from([b"", b"\0", b"b", b"\xff"])
LEASES = st.sampled_from([-(2**63), -7, 1, 600, 2**63 - 1])
NAMES = st.sampled_from(["u", "r", "root", "ü"])
IDS = st.sampled_from([1, 0xA, 2**63, 2**64 - 1])
URLS = st.sampled_from(["http://127.0.0.1:1", "http://127.0.0.1:2", "https://b:3"])


def _txn(changes: Sequence[tuple[bytes, bytes | None]]) -> Change:
    operations = [delete_op(key) if value is None else put_op(key, value) for key, value in changes]
    return lambda driver: driver.txn(success=operations)


def _compact(share: float, slices: int | None) -> Change:
    """Compact a part of the history; remove what is superseded in so many slices of one version, or
    all of it.
    """

    def change(driver: Driver) -> None:
        store = driver.machine.store
        with suppress(Refusal):
            driver.compact(round(store.compact_revision * (1 - share) + store.revision * share))
        for _ in islice(store.compact_slices(1), slices):
            pass

    return change


def _member(member_id: int, url: str, learner: bool, name: str) -> Change:
    member = Member(id=member_id, name="", peer_urls=(url,), is_learner=learner)
    added = MemberAddition(2, member).encode()

    def change(driver: Driver) -> None:
        driver.apply(Kind.MEMBER_ADD, added)
        named = rpc.Member(ID=member_id, name=name, clientURLs=["http://c:1"] if name else [])
        driver.apply(Kind.MEMBER_ATTRIBUTES, named.SerializeToString())

    return change


def _request(kind: Kind, **fields: object) -> Change:
    request = {
        Kind.USER_ADD: rpc.AuthUserAddRequest,
        Kind.USER_DELETE: rpc.AuthUserDeleteRequest,
        Kind.USER_GRANT_ROLE: rpc.AuthUserGrantRoleRequest,
        Kind.ROLE_ADD: rpc.AuthRoleAddRequest,
        Kind.ROLE_GRANT_PERMISSION: rpc.AuthRoleGrantPermissionRequest,
        Kind.AUTH_ENABLE: rpc.AuthEnableRequest,
        Kind.MEMBER_REMOVE: rpc.Member,
        Kind.MEMBER_PROMOTE: rpc.Member,
        Kind.LEASE_CHECKPOINT: rpc.LeaseCheckpointRequest,
    }[kind](**fields)  # type: ignore[arg-type]
    body = request.SerializeToString()
    return lambda driver: driver.apply(kind, body)


def _put(key: bytes, value: bytes, lease: int) -> Change:
    return lambda driver: driver.put(key, value, lease=lease)


def _delete(key: bytes, end: bytes) -> Change:
    return lambda driver: driver.delete(key, end)


def _grant(lease: int, ttl: int) -> Change:
    return lambda driver: driver.grant(lease, ttl)


def _revoke(lease: int) -> Change:
    return lambda driver: driver.revoke(lease)


def _alarm(action: int, member_id: int, kind: int) -> Change:
    return lambda driver: driver.alarm(action, member_id, kind)


def _permission(kind: int, key: bytes, end: bytes) -> auth_pb2.Permission:
    permission = auth_pb2.Permission(key=key, range_end=end)
    permission.permType = kind  # type: ignore[assignment]
    return permission


_KEY_CHANGES = st.one_of(
    st.builds(_put, KEYS, VALUES, st.one_of(st.just(0), LEASES)),
    st.builds(_delete, KEYS, ENDS),
    st.builds(
        _txn,
        st.lists(
            st.tuples(KEYS, st.one_of(st.none(), VALUES)), max_size=5, unique_by=lambda one: one[0]
        ),
    ),
)
_OTHERS = st.one_of(
    st.builds(_compact, st.floats(0, 1), st.sampled_from([0, 1, 3, None])),
    st.builds(_grant, LEASES, st.integers(1, 9_000_000_000)),
    st.builds(_revoke, LEASES),
    st.builds(
        lambda lease, left: _request(
            Kind.LEASE_CHECKPOINT,
            checkpoints=[rpc.LeaseCheckpoint(ID=lease, remaining_TTL=left)],
        ),
        LEASES,
        st.integers(0, 500),
    ),
    st.builds(_alarm, st.sampled_from([1, 2]), IDS, st.sampled_from([1, 2])),
    st.builds(lambda name: _request(Kind.USER_ADD, name=name, hashedPassword=HASH), NAMES),
    st.builds(lambda name: _request(Kind.USER_DELETE, name=name), NAMES),
    st.builds(lambda name: _request(Kind.ROLE_ADD, name=name), NAMES),
    st.builds(lambda u, r: _request(Kind.USER_GRANT_ROLE, user=u, role=r), NAMES, NAMES),
    st.builds(
        lambda name, perm: _request(Kind.ROLE_GRANT_PERMISSION, name=name, perm=perm),
        NAMES,
        st.builds(_permission, st.sampled_from([0, 1, 2]), KEYS, ENDS),
    ),
    st.builds(_member, IDS, URLS, st.booleans(), st.sampled_from(["", "m"])),
    st.builds(lambda one: _request(Kind.MEMBER_REMOVE, ID=one), IDS),
    st.builds(lambda one: _request(Kind.MEMBER_PROMOTE, ID=one), IDS),
)

#: Every kind of change, each of which is accepted.
EVERYTHING: list[Change] = [
    _member(1, "http://127.0.0.1:1", False, "m"),
    _member(2**64 - 1, "http://127.0.0.1:2", False, ""),
    _member(0xA, "https://b:3", True, ""),
    _member(2**63, "https://d:4", True, ""),
    _request(Kind.MEMBER_REMOVE, ID=2**64 - 1),
    _request(Kind.MEMBER_PROMOTE, ID=0xA),
    _grant(-7, 600),
    _grant(1, 700),
    _grant(600, 700),
    _revoke(1),
    _request(Kind.LEASE_CHECKPOINT, checkpoints=[rpc.LeaseCheckpoint(ID=600, remaining_TTL=5)]),
    *(_put(b"a\0b", b"%d" % number, -7) for number in range(6)),
    _put(b"\xff", b"v" * (1 << 20), 0),
    _delete(b"\xff", b""),
    _put(b"\0", b"", 0),
    _txn([(b"a", b"1"), (b"b", b"2"), (b"a\0b", None)]),
    _compact(0.5, None),
    _compact(0.5, 1),
    _alarm(1, 2**63, 1),
    _request(Kind.USER_ADD, name="u", hashedPassword=HASH),
    _request(Kind.USER_ADD, name="root", hashedPassword=HASH),
    _request(Kind.ROLE_ADD, name="r"),
    _request(Kind.USER_GRANT_ROLE, user="u", role="r"),
    _request(Kind.USER_GRANT_ROLE, user="root", role="root"),
    _request(Kind.ROLE_GRANT_PERMISSION, name="r", perm=_permission(2, b"a\0", b"\0")),
    _request(Kind.AUTH_ENABLE),
]
HISTORIES = st.lists(st.one_of(_KEY_CHANGES, _KEY_CHANGES, _OTHERS), max_size=40)


def apply(driver: Driver, history: Sequence[Change]) -> None:
    for change in history:
        with suppress(Refusal):
            change(driver)
