"""Every method beside etcd with authentication enabled, by root, a user and a caller without
identity: while an alarm is up, without a leader, and on a learner.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import pytest
from google.protobuf.message import Message

from cluster.local import LocalCluster
from rusd.proto import rpc_pb2 as rpc
from tests.support.auth_pair import PASSWORD, ROOT, auth_call, permission
from tests.support.client import Client, Refused
from tests.support.every_method import METHODS, first, requests
from tests.support.pair import ORACLE, SUBJECT, command, require_newer_oracle

USER, NOBODY = "u", ""
CALLERS = (ROOT, USER, NOBODY)
FLAGS = ["--bcrypt-cost=4", "--election-timeout=500", "--heartbeat-interval=50"]
#: Calls of root that would end the comparison: its sessions, authentication, the members.
ENDING = {"AuthDisable", "UserChangePassword", "MemberAdd"}


@dataclass
class Servers:
    """Equal clusters of rusd and etcd, whose first member is asked."""

    clusters: tuple[LocalCluster, LocalCluster]

    def populate(self) -> None:
        for cluster in self.clusters:
            with Client(cluster.endpoints[0]) as client:
                for name, fields in (
                    ("UserAdd", {"name": ROOT, "password": PASSWORD}),
                    ("UserGrantRole", {"user": ROOT, "role": ROOT}),
                    ("RoleAdd", {"name": "r"}),
                    (
                        "RoleGrantPermission",
                        {"name": "r", "perm": permission((2, b"a", b"m"))},
                    ),
                    ("UserAdd", {"name": USER, "password": PASSWORD}),
                    ("UserGrantRole", {"user": USER, "role": "r"}),
                    ("AuthEnable", {}),
                ):
                    client.call(*auth_call(name, **fields))

    def tokens(self) -> list[Mapping[str, str]]:
        """Tokens by caller, for each server."""
        return [
            {user: log_in(cluster.endpoints[0], user) for user in (ROOT, USER)} | {NOBODY: ""}
            for cluster in self.clusters
        ]

    def as_root(self, call: Callable[[Client, LocalCluster], object]) -> None:
        for cluster in self.clusters:
            endpoint = cluster.endpoints[0]
            with caller(endpoint, log_in(endpoint, ROOT)) as root:
                call(root, cluster)

    def compare(
        self, tokens: list[Mapping[str, str]], index: int = 0, **metadata: str
    ) -> dict[tuple[str, str], object]:
        """Every call of every caller to the member at `index`; returns rusd's last outcomes."""
        found: dict[tuple[str, str], object] = {}
        for user in CALLERS:
            with ExitStack() as stack:
                clients = [
                    stack.enter_context(caller(cluster.endpoints[index], held[user]))
                    for cluster, held in zip(self.clusters, tokens, strict=True)
                ]
                for path, request in calls(user):
                    mine, theirs = (first(each, path, request, **metadata) for each in clients)
                    if _unsupported(mine):
                        continue
                    shown = f"{user or 'nobody'}: {path}\n{request}"
                    assert mine == theirs, f"{shown}\n rusd: {mine!r}\n etcd: {theirs!r}"
                    found[path.rpartition("/")[2], user] = mine
        return found


def calls(user: str) -> Iterator[tuple[str, Message]]:
    for path, method in METHODS.items():
        if user != ROOT or method.name not in ENDING:
            yield from ((path, request) for request in requests(method))


def _unsupported(outcome: object) -> bool:
    return isinstance(outcome, Refused) and outcome.message.startswith("rusd: ")


def caller(endpoint: str, token: str) -> Client:
    return Client(endpoint, metadata={"token": token} if token else {})


def log_in(endpoint: str, user: str) -> str:
    with Client(endpoint) as client:
        answer = client.call(*auth_call("Authenticate", name=user, password=PASSWORD))
    return str(answer.token)  # type: ignore[attr-defined]


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def servers(size: int) -> Iterator[Servers]:
    require_newer_oracle()
    with ExitStack() as stack:
        mine, theirs = (
            stack.enter_context(
                LocalCluster(size, binary=[command(each)], flags=FLAGS, user=(ROOT, PASSWORD))
            )
            for each in (SUBJECT, ORACLE)
        )
        found = Servers((mine, theirs))
        found.populate()
        yield found


@pytest.fixture(scope="module")
def alone() -> Iterator[Servers]:
    yield from servers(1)


@pytest.fixture(scope="module")
def two() -> Iterator[Servers]:
    """The first members lead."""
    for found in servers(2):
        for cluster in found.clusters:
            leading = cluster.leader()
            if leading != 0:
                endpoints = cluster.endpoints[0], cluster.endpoints[leading]
                token = log_in(endpoints[0], ROOT)
                with caller(endpoints[0], token) as other, caller(endpoints[1], token) as leader:
                    leader.move_leader(other.status().header.member_id)
                until(lambda cluster=cluster: cluster.leader() == 0, "the leader stays")  # type: ignore[misc]
        yield found


@pytest.mark.parametrize("alarm", [rpc.NOSPACE, rpc.CORRUPT], ids=["NOSPACE", "CORRUPT"])
def test_an_alarm_decides_for_each_caller_as_in_etcd(
    alone: Servers, alarm: rpc.AlarmType.ValueType
) -> None:
    def change(action: rpc.AlarmRequest.AlarmAction.ValueType) -> None:
        def call(root: Client, cluster: LocalCluster) -> None:
            member = root.status().header.member_id
            request = rpc.AlarmRequest(action=action, memberID=member, alarm=alarm)
            root.call("/etcdserverpb.Maintenance/Alarm", request, rpc.AlarmResponse)

        alone.as_root(call)

    tokens = alone.tokens()
    change(rpc.AlarmRequest.ACTIVATE)
    try:
        found = alone.compare(tokens)
    finally:
        change(rpc.AlarmRequest.DEACTIVATE)
    # (So that a comparison of two servers without an alarm is not taken for a proof.)
    refused = "corrupt cluster" if alarm == rpc.CORRUPT else "database space exceeded"
    put = found["Put", ROOT]
    assert isinstance(put, Refused) and refused in put.message
    assert found["Alarm", USER] == "AlarmResponse"
    assert isinstance(found["Alarm", NOBODY], Refused)


def test_a_call_that_requires_a_leader_is_decided_as_in_etcd_with_one_and_without(
    two: Servers,
) -> None:
    tokens = two.tokens()
    assert two.compare(tokens, hasleader="true")["Put", ROOT] == "PutResponse"
    for cluster in two.clusters:
        cluster.kill(1)

    def leaderless(cluster: LocalCluster, token: str) -> bool:
        with caller(cluster.endpoints[0], token) as root:
            return root.status().leader == 0

    for cluster, held in zip(two.clusters, tokens, strict=True):
        until(lambda cluster=cluster, held=held: leaderless(cluster, held[ROOT]), "a leader")  # type: ignore[misc]
    found = two.compare(tokens, hasleader="true")
    assert all(
        isinstance(each, Refused) and each.message == "etcdserver: no leader"
        for each in found.values()
    )


def test_a_learner_decides_for_each_caller_as_in_etcd(alone: Servers) -> None:
    indexes = []

    def add(root: Client, cluster: LocalCluster) -> None:
        index = cluster.new_member()
        indexes.append(index)
        root.member_add(cluster.members[index].peer_url, learner=True)
        cluster.start_all()

    alone.as_root(add)
    (index,) = set(indexes)

    def knows(endpoint: str, token: str) -> bool:
        """A member that has begun with a snapshot knows the tokens of later logins."""
        with suppress(Refused), caller(endpoint, token) as user:
            user.range(b"a", serializable=True)
            return True
        return False

    def log_in_twice() -> list[Mapping[str, str]]:
        """Tokens of logins after one that the learner has applied."""

        def caught_up() -> bool:
            return all(
                knows(cluster.endpoints[index], held[ROOT])
                for cluster, held in zip(alone.clusters, alone.tokens(), strict=True)
            )

        until(caught_up, "the learner does not apply logins")
        return alone.tokens()

    tokens = log_in_twice()
    for cluster, held in zip(alone.clusters, tokens, strict=True):
        until(lambda one=cluster, held=held: knows(one.endpoints[index], held[USER]), "no token")  # type: ignore[misc]
    found = alone.compare(tokens, index)
    put = found["Put", ROOT]
    assert isinstance(put, Refused) and put.message == "etcdserver: rpc not supported for learner"
    assert found["Status", USER] == "StatusResponse"
    assert isinstance(found["Status", NOBODY], Refused)
