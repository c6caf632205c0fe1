"""Cluster, Maintenance and Health over a real state machine; headers of all answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from rusd import ETCD_VERSION
from rusd.api.cluster import ClusterService
from rusd.api.health import HealthService
from rusd.api.maintenance import MaintenanceService
from rusd.auth.providers import NoTokens
from rusd.backup.snapshot_files import SnapshotFiles
from rusd.base.errors import Refusal
from rusd.proto import health_pb2 as health
from rusd.proto import rpc_pb2 as rpc
from rusd.rpc.authentication import Authenticator
from rusd.rpc.call import Call, Caller
from rusd.rpc.errors import (
    BAD_LEADER_TRANSFEREE,
    COMPACTED,
    FUTURE_REVISION,
    LEARNER_NOT_READY,
    MEMBER_BAD_URLS,
    MEMBER_NOT_FOUND,
    MEMBER_NOT_LEARNER,
    NO_LEADER,
    NOT_LEADER,
    PEER_URL_EXISTS,
    TOO_MANY_LEARNERS,
    Code,
    EtcdError,
    as_etcd,
)
from rusd.rpc.guards.chain import guarded
from rusd.rpc.guards.leader import LeaderOnly, RequireLeader
from rusd.rpc.guards.validation import Validation
from rusd.rpc.methods import Methods, ServerStream, Unary
from rusd.state.command import Kind, encode
from rusd.state.machine import StateMachine
from rusd.state.members import Member
from rusd.wire.header import Headers
from tests.unit.support_node import InstantNode, Log

CLUSTER, SELF, OTHER = 77, 11, 22


class Node(InstantNode):
    """The instant log's node with the numbers that Status shows."""

    term = 5
    commit_index = 9
    applied_index = 8

    def __init__(self, log: Log, machine: StateMachine) -> None:
        super().__init__(log, SELF, machine)
        self.moved_to = 0

    @property
    def is_leader(self) -> bool:
        return self.leader_id == SELF

    async def transfer_leadership(self, target: int) -> None:
        self.moved_to = target


class Member1:
    """One member's services by path."""

    def __init__(self, machine: StateMachine) -> None:
        loop = asyncio.get_running_loop()
        self.machine = machine
        self.log = Log()
        self.node = Node(self.log, machine)
        self.log.elect(SELF)
        machine.bootstrap(
            [
                Member(SELF, "one", ("http://127.0.0.1:1",), ("http://127.0.0.1:2",)),
                Member(OTHER, "", ("http://127.0.0.1:3",)),
            ],
            CLUSTER,
        )
        headers = Headers(CLUSTER, SELF, self.node.term)
        gate = RequireLeader(loop, lambda: self.node.leader_id, 3)
        self.health = HealthService()
        authenticator = Authenticator(machine.auth, NoTokens(), self.node, certificates=False)
        methods: Methods = {
            **ClusterService(self.node, machine, headers, authenticator).methods(),
            **MaintenanceService(
                self.node, machine, headers, 4711, SnapshotFiles(Path("unused"), machine.checkpoint)
            ).methods(),
            **self.health.methods(),
        }
        guards = (gate, Validation(), LeaderOnly(lambda: self.node.is_leader))
        self.methods = guarded(methods, guards)

    async def call(self, path: str, request: Any, answer: type[Any], **metadata: str) -> Any:
        method = self.methods[path]
        assert isinstance(method, Unary)
        result = method.call(
            request, Call(metadata, request.SerializeToString(), None, Caller("test"))
        )
        encoded = result if isinstance(result, bytes) else await result
        return answer.FromString(encoded)

    async def maintenance(self, name: str, request: Any, answer: type[Any]) -> Any:
        return await self.call(f"/etcdserverpb.Maintenance/{name}", request, answer)

    async def put(self, key: bytes, value: bytes) -> None:
        request = rpc.PutRequest(key=key, value=value)
        await self.node.propose(encode(Kind.PUT, request.SerializeToString()))


def with_member(directory: Path, test: Callable[[Member1], Awaitable[None]]) -> None:
    async def run() -> None:
        machine = StateMachine(directory)
        try:
            await test(Member1(machine))
        finally:
            machine.close()

    asyncio.run(run())


def test_a_header_field_is_the_encoded_header_of_this_revision_and_term() -> None:
    headers = Headers((1 << 64) - 1, 5, 3)
    for revision, now in ((1, 3), (1, 3), (300, 3), (300, 4), (0, 4)):
        headers.on_role(0, now, False)
        wanted = rpc.PutResponse(header=headers.message(revision)).SerializeToString()
        assert headers.field(revision) == wanted
        assert headers.message(revision).raft_term == now


def test_member_list_shows_started_members_and_no_revision(tmp_path: Path) -> None:
    async def test(member: Member1) -> None:
        for linearizable in (True, False):
            request = rpc.MemberListRequest(linearizable=linearizable)
            path = "/etcdserverpb.Cluster/MemberList"
            answer = await member.call(path, request, rpc.MemberListResponse)
            assert [(m.ID, m.name) for m in answer.members] == [(SELF, "one"), (OTHER, "")]
            assert answer.header.cluster_id == CLUSTER
            assert answer.header.revision == 0

    with_member(tmp_path, test)


def told(error: BaseException) -> EtcdError:
    """As the door answers it."""
    found = as_etcd(error)
    assert found is not None
    return found


async def refusal(member: Member1, name: str, request: Any) -> EtcdError:
    with pytest.raises(Refusal) as error:
        await member.call(f"/etcdserverpb.Cluster/{name}", request, rpc.MemberListResponse)
    return told(error.value)


def test_impossible_membership_changes_get_etcds_errors(tmp_path: Path) -> None:
    async def test(member: Member1) -> None:
        bad = rpc.MemberAddRequest(peerURLs=["127.0.0.1:2380"])
        assert await refusal(member, "MemberAdd", bad) == MEMBER_BAD_URLS()
        taken = rpc.MemberAddRequest(peerURLs=["http://127.0.0.1:3"])
        assert await refusal(member, "MemberAdd", taken) == PEER_URL_EXISTS()
        update = rpc.MemberUpdateRequest(ID=SELF, peerURLs=["http://127.0.0.1:3"])
        assert await refusal(member, "MemberUpdate", update) == PEER_URL_EXISTS()
        member.node.progresses[OTHER] = 1.0
        promote = rpc.MemberPromoteRequest(ID=OTHER)
        assert await refusal(member, "MemberPromote", promote) == MEMBER_NOT_LEARNER()
        for name, request in (
            ("MemberRemove", rpc.MemberRemoveRequest(ID=5)),
            ("MemberUpdate", rpc.MemberUpdateRequest(ID=5)),
            ("MemberPromote", rpc.MemberPromoteRequest(ID=5)),
        ):
            assert await refusal(member, name, request) == MEMBER_NOT_FOUND()

    with_member(tmp_path, test)


def test_a_member_is_added_as_a_learner_promoted_updated_and_removed(tmp_path: Path) -> None:
    async def test(member: Member1) -> None:
        async def do(name: str, request: Any, answer: Any) -> Any:
            return await member.call(f"/etcdserverpb.Cluster/{name}", request, answer)

        add = rpc.MemberAddRequest(peerURLs=["http://b:2", "http://a:1"], isLearner=True)
        added = await do("MemberAdd", add, rpc.MemberAddResponse)
        new = added.member.ID
        assert list(added.member.peerURLs) == ["http://a:1", "http://b:2"]
        assert added.member.isLearner
        assert [m.ID for m in added.members] == sorted([SELF, OTHER, new])
        another = rpc.MemberAddRequest(peerURLs=["http://c:2"], isLearner=True)
        assert await refusal(member, "MemberAdd", another) == TOO_MANY_LEARNERS()

        member.node.progresses[new] = 0.89
        promote = rpc.MemberPromoteRequest(ID=new)
        assert await refusal(member, "MemberPromote", promote) == LEARNER_NOT_READY()
        member.node.progresses[new] = 0.95
        promoted = await do("MemberPromote", promote, rpc.MemberPromoteResponse)
        assert not any(m.isLearner for m in promoted.members)

        update = rpc.MemberUpdateRequest(ID=new, peerURLs=["http://d:4"])
        updated = await do("MemberUpdate", update, rpc.MemberUpdateResponse)
        assert [list(m.peerURLs) for m in updated.members if new == m.ID] == [["http://d:4"]]

        removed = await do(
            "MemberRemove", rpc.MemberRemoveRequest(ID=new), rpc.MemberRemoveResponse
        )
        assert [m.ID for m in removed.members] == [SELF, OTHER]
        assert await refusal(member, "MemberRemove", rpc.MemberRemoveRequest(ID=new)) == (
            MEMBER_NOT_FOUND()
        )

    with_member(tmp_path, test)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("http://10.0.0.1:2380", None),
        ("https://name:2380", None),
        ("unix://name:2380", None),
        ("unix:///path", None),
        ("http://[::1]:2380", None),
        ("HTTP://Name:2380", "http://Name:2380"),
        ("http://:2380", None),
        (" http://name:2380", "http://name:2380"),
        ("http://name:99999", None),
        ("http://name:", None),
        ("http://ü:2380", "http://%C3%BC:2380"),
    ],
)
def test_what_etcd_takes_for_a_peer_url_is_one(url: str, kept: str | None, tmp_path: Path) -> None:
    async def test(member: Member1) -> None:
        added = await member.call(
            "/etcdserverpb.Cluster/MemberAdd",
            rpc.MemberAddRequest(peerURLs=[url]),
            rpc.MemberAddResponse,
        )
        assert list(added.member.peerURLs) == [kept or url]

    with_member(tmp_path, test)


@pytest.mark.parametrize(
    "urls",
    [
        [],
        [""],
        ["name:2380"],
        ["http://name"],
        ["http://name:port"],
        ["http://name:2380/"],
        ["http://name:2380/path"],
        ["http://a b:2380"],
        ["http://%41:2380"],
        ["http://[1.2.3.4]:2380"],
        ["ftp://name:2380"],
        ["http://good:2380", "bad"],
    ],
)
def test_what_etcd_takes_for_no_peer_url_is_none(urls: list[str], tmp_path: Path) -> None:
    async def test(member: Member1) -> None:
        with pytest.raises(Refusal) as error:
            await member.call(
                "/etcdserverpb.Cluster/MemberAdd",
                rpc.MemberAddRequest(peerURLs=urls),
                rpc.MemberAddResponse,
            )
        assert told(error.value) == MEMBER_BAD_URLS()

    with_member(tmp_path, test)


def test_status_shows_what_the_member_knows(tmp_path: Path) -> None:
    async def test(member: Member1) -> None:
        status = await member.maintenance("Status", rpc.StatusRequest(), rpc.StatusResponse)
        assert status.version == ETCD_VERSION
        assert (status.leader, status.raftTerm) == (SELF, 5)
        assert (status.raftIndex, status.raftAppliedIndex) == (9, 8)
        assert status.dbSize >= status.dbSizeInUse > 0
        assert status.dbSizeQuota == 4711
        assert status.HasField("downgradeInfo")
        assert list(status.errors) == []

    with_member(tmp_path, test)


def test_status_names_a_missing_leader_and_alarms(tmp_path: Path) -> None:
    async def test(member: Member1) -> None:
        activate = rpc.AlarmRequest(
            action=rpc.AlarmRequest.ACTIVATE, memberID=OTHER, alarm=rpc.NOSPACE
        )
        alarms = await member.maintenance("Alarm", activate, rpc.AlarmResponse)
        assert [(a.memberID, a.alarm) for a in alarms.alarms] == [(OTHER, rpc.NOSPACE)]
        member.log.elect(0)
        status = await member.maintenance("Status", rpc.StatusRequest(), rpc.StatusResponse)
        assert status.errors[0] == NO_LEADER.message
        assert status.errors[1] == f"memberID:{OTHER} alarm:NOSPACE "

    with_member(tmp_path, test)


def test_status_leaves_out_no_member_and_survives_an_unknown_alarm(tmp_path: Path) -> None:
    async def test(member: Member1) -> None:
        for kind in (int(rpc.CORRUPT), 7):
            activate = rpc.AlarmRequest(action=rpc.AlarmRequest.ACTIVATE)
            activate.alarm = kind  # type: ignore[assignment]
            await member.maintenance("Alarm", activate, rpc.AlarmResponse)
        status = await member.maintenance("Status", rpc.StatusRequest(), rpc.StatusResponse)
        assert list(status.errors) == ["alarm:CORRUPT ", "alarm:7 "]

    with_member(tmp_path, test)


def test_hash_kv_answers_for_a_revision_and_refuses_what_cannot_be_read(tmp_path: Path) -> None:
    async def test(member: Member1) -> None:
        for n in range(5):
            await member.put(b"k", b"%d" % n)
        whole = await member.maintenance("HashKV", rpc.HashKVRequest(), rpc.HashKVResponse)
        assert (whole.hash_revision, whole.compact_revision, whole.header.revision) == (6, -1, 6)
        older = await member.maintenance(
            "HashKV", rpc.HashKVRequest(revision=3), rpc.HashKVResponse
        )
        assert older.hash != whole.hash
        with pytest.raises(Refusal) as error:
            await member.maintenance("HashKV", rpc.HashKVRequest(revision=7), rpc.HashKVResponse)
        assert told(error.value) == FUTURE_REVISION()
        compact = rpc.CompactionRequest(revision=4).SerializeToString()
        await member.node.propose(encode(Kind.COMPACT, compact))
        with pytest.raises(Refusal) as error:
            await member.maintenance("HashKV", rpc.HashKVRequest(revision=3), rpc.HashKVResponse)
        assert told(error.value) == COMPACTED()

    with_member(tmp_path, test)


def test_defragmentations_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the client of the first goes away: its thread cannot be stopped."""
    running, most, ends = [0], [0], [threading.Event(), threading.Event()]
    begun: list[asyncio.Event] = []

    async def test(member: Member1) -> None:
        loop = asyncio.get_running_loop()
        begun.extend((asyncio.Event(), asyncio.Event()))
        waiting = iter(zip(begun, ends, strict=True))

        def compact() -> None:
            running[0] += 1
            most[0] = max(most[0], running[0])
            event, end = next(waiting)
            loop.call_soon_threadsafe(event.set)
            assert end.wait(10)
            running[0] -= 1

        monkeypatch.setattr(member.machine.engine, "compact", compact)
        request = rpc.DefragmentRequest()
        first, second = (
            asyncio.ensure_future(member.maintenance("Defragment", request, rpc.DefragmentResponse))
            for _ in range(2)
        )
        await begun[0].wait()
        first.cancel()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not begun[1].is_set() and not second.done()
        ends[0].set()
        await begun[1].wait()
        ends[1].set()
        await second
        assert most[0] == 1
        with pytest.raises(asyncio.CancelledError):
            await first

    with_member(tmp_path, test)


def test_hash_and_defragment_leave_the_data_as_it_is(tmp_path: Path) -> None:
    async def test(member: Member1) -> None:
        await member.put(b"k", b"v")
        before = await member.maintenance("Hash", rpc.HashRequest(), rpc.HashResponse)
        defragmented = await member.maintenance(
            "Defragment", rpc.DefragmentRequest(), rpc.DefragmentResponse
        )
        assert not defragmented.HasField("header")
        after = await member.maintenance("Hash", rpc.HashRequest(), rpc.HashResponse)
        assert before.hash == after.hash
        live = member.machine.store.get(b"k")
        assert live is not None

    with_member(tmp_path, test)


def test_only_the_leader_moves_leadership_and_only_to_members(tmp_path: Path) -> None:
    async def test(member: Member1) -> None:
        async def move(target: int) -> Any:
            request = rpc.MoveLeaderRequest(targetID=target)
            return await member.maintenance("MoveLeader", request, rpc.MoveLeaderResponse)

        with pytest.raises(Refusal) as error:
            await move(99)
        assert told(error.value) == BAD_LEADER_TRANSFEREE()
        await move(OTHER)
        assert member.node.moved_to == OTHER
        member.log.elect(OTHER)
        with pytest.raises(Refusal) as error:
            await move(OTHER)
        assert told(error.value) == NOT_LEADER()

    with_member(tmp_path, test)


class ResponseStream:
    """Keeps what a stream sends."""

    def __init__(self) -> None:
        self.statuses: list[int] = []

    def send(self, message: bytes) -> None:
        self.statuses.append(health.HealthCheckResponse.FromString(message).status)

    def ready(self) -> bool:
        return True

    def finish(self, error: EtcdError | None = None) -> None:
        raise AssertionError("a health watch goes on")


def test_health_is_serving_until_the_member_drains(tmp_path: Path) -> None:
    async def test(member: Member1) -> None:
        check = "/grpc.health.v1.Health/Check"
        status = health.HealthCheckResponse
        request = health.HealthCheckRequest()
        assert (await member.call(check, request, status)).status == status.SERVING
        with pytest.raises(Refusal) as error:
            await member.call(check, health.HealthCheckRequest(service="etcd"), status)
        assert (told(error.value).code, told(error.value).message) == (
            Code.NOT_FOUND,
            "unknown service",
        )
        watch = member.methods["/grpc.health.v1.Health/Watch"]
        assert isinstance(watch, ServerStream)
        responses = ResponseStream()
        watch.open(request, Call({}, b"", None, Caller("test")), responses)
        member.health.drain()
        assert responses.statuses == [status.SERVING, status.NOT_SERVING]
        assert (await member.call(check, request, status)).status == status.NOT_SERVING

    with_member(tmp_path, test)


def test_a_call_that_requires_a_leader_is_refused_without_one(tmp_path: Path) -> None:
    async def test(member: Member1) -> None:
        member.log.elect(0)
        with pytest.raises(Refusal) as error:
            await member.call(
                "/etcdserverpb.Cluster/MemberList",
                rpc.MemberListRequest(),
                rpc.MemberListResponse,
                hasleader="true",
            )
        assert told(error.value) == NO_LEADER()

    with_member(tmp_path, test)
