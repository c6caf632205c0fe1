"""Bad input gets etcd's own error, or a dropped connection, and disturbs nobody else."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from cluster.local import LocalCluster
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.transport.frames import MembersResponse, decode
from tests.support.client import Client, Refused
from tests.support.frames import raw
from tests.support.pair import SUBJECT, command, outcome

KV = "/etcdserverpb.KV/"


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(3, binary=[command(SUBJECT)]) as running:
        yield running


@pytest.fixture(scope="module")
def etcd() -> Iterator[LocalCluster]:
    with LocalCluster(1, binary=[command("etcd")]) as running:
        yield running


@pytest.fixture(autouse=True)
def bystander(cluster: LocalCluster) -> Iterator[None]:
    """Well-behaved clients of every member whose calls must all succeed meanwhile, and the same
    processes afterwards.
    """
    stop = threading.Event()
    failures: list[Exception] = []
    calls = [0] * 3

    def behave(index: int) -> None:
        with Client(cluster.endpoints[index]) as client:
            while not stop.is_set():
                try:
                    client.put(b"bystander/%d" % index, b"1")
                    client.range(b"bystander/%d" % index)
                except Exception as failure:  # noqa: BLE001
                    # Kept: the test fails with it.
                    failures.append(failure)
                calls[index] += 1

    pids = [member.pid for member in cluster.members]
    threads = [threading.Thread(target=behave, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    yield
    before = list(calls)
    while not failures and any(now <= then for now, then in zip(calls, before, strict=True)):
        stop.wait(0.01)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [member.pid for member in cluster.members] == pids
    assert all(member.running for member in cluster.members)


def put(key: bytes, **options: object) -> rpc.RequestOp:
    return rpc.RequestOp(request_put=rpc.PutRequest(key=key, **options))  # type: ignore[arg-type]


BAD_CALLS: dict[str, tuple[str, tuple[object, ...], dict[str, object]]] = {
    "a put without a key": ("put", (b"",), {}),
    "a range without a key": ("range", (b"",), {}),
    "a delete without a key": ("delete", (b"",), {}),
    "a put with an unknown lease": ("put", (b"k",), {"lease": 4711}),
    "a put that ignores the value of a missing key": (
        "put",
        (b"missing",),
        {"ignore_value": True},
    ),
    "a put that ignores and gives a value": ("put", (b"k", b"v"), {"ignore_value": True}),
    "a put that ignores and gives a lease": ("put", (b"k",), {"ignore_lease": True, "lease": 1}),
    "a future revision": ("range", (b"k",), {"revision": 1 << 40}),
    "a compaction of the future": ("compact", (1 << 40,), {}),
    "a negative compaction": ("compact", (-5,), {}),
    "revoking an unknown lease": ("revoke", (4711,), {}),
    "a lease for longer than etcd allows": ("grant", (9_000_000_001,), {}),
    "too many operations in a txn": (
        "txn",
        (rpc.TxnRequest(success=[put(b"%d" % n) for n in range(129)]),),
        {},
    ),
    "too many compares in a txn": (
        "txn",
        (rpc.TxnRequest(compare=[rpc.Compare(key=b"k")] * 129),),
        {},
    ),
    "a key put twice in a txn": ("txn", (rpc.TxnRequest(success=[put(b"k"), put(b"k")]),), {}),
    "a compare without a key": ("txn", (rpc.TxnRequest(compare=[rpc.Compare()]),), {}),
    "an empty operation in a txn": ("txn", (rpc.TxnRequest(success=[rpc.RequestOp()]),), {}),
    "a put in a txn with an unknown lease": (
        "txn",
        (rpc.TxnRequest(success=[put(b"k", lease=4711)]),),
        {},
    ),
    "a value above max-request-bytes": ("put", (b"k", b"v" * (1572864 + 1)), {}),
    "a message above the receive limit": ("put", (b"k", b"v" * (1572864 + 512 * 1024 + 1)), {}),
    "a leader transfer to nobody": ("move_leader", (1,), {}),
    "a hash of a future revision": ("hash_kv", (1 << 40,), {}),
}


@pytest.mark.parametrize("what", BAD_CALLS)
def test_is_refused_on_every_member_as_etcd_refuses(
    cluster: LocalCluster, etcd: LocalCluster, what: str
) -> None:
    method, arguments, options = BAD_CALLS[what]
    with Client(etcd.endpoints[0]) as client:
        theirs = outcome(client, method, arguments, options)
    assert isinstance(theirs, Refused)
    # etcd's only member leads; so must the member that is asked for a leader transfer.
    asked = [cluster.leader()] if method == "move_leader" else range(3)
    for index in asked:
        with Client(cluster.endpoints[index]) as client:
            assert outcome(client, method, arguments, options) == theirs


def test_unknown_sort_options_are_refused_where_etcd_3_5_panics(cluster: LocalCluster) -> None:
    with Client(cluster.endpoints[0]) as client:
        for options in ({"sort_order": 9}, {"sort_target": 9}):
            with pytest.raises(Refused) as refused:
                client.range(b"k", **options)
            assert refused.value == Refused("INVALID_ARGUMENT", "etcdserver: invalid sort option")


def test_compacted_revisions_are_refused(cluster: LocalCluster) -> None:
    with Client(cluster.endpoints[0]) as client:
        revision = client.put(b"k", b"1").header.revision
        client.compact(revision)
        for call in (
            lambda: client.range(b"k", revision=revision - 1),
            lambda: client.compact(revision),
            lambda: client.hash_kv(revision - 1),
        ):
            with pytest.raises(Refused) as refused:
                call()
            assert refused.value == Refused(
                "OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted"
            )


def test_garbage_instead_of_a_message_is_an_error_of_that_call_alone(
    cluster: LocalCluster, etcd: LocalCluster
) -> None:
    for garbage in (b"\xff" * 40, b"\x0a\xff\xff\xff\xff\x0f", b"\x0a"):
        found = []
        for endpoint in (etcd.endpoints[0], cluster.endpoints[0]):
            with Client(endpoint) as client, pytest.raises(Refused) as refused:
                client.call(KV + "Put", garbage, rpc.PutResponse)
            found.append(refused.value.code)
        assert found == ["INTERNAL", "INTERNAL"]


def test_unknown_methods_and_services_are_unimplemented(
    cluster: LocalCluster, etcd: LocalCluster
) -> None:
    for path in (KV + "Frobnicate", "/no.such.Service/Call"):
        found = []
        for endpoint in (etcd.endpoints[0], cluster.endpoints[0]):
            with Client(endpoint) as client, pytest.raises(Refused) as refused:
                client.call(path, b"", rpc.PutResponse)
            found.append(refused.value)
        assert found[0] == found[1]


def test_garbage_on_a_watch_stream_ends_that_stream_alone(cluster: LocalCluster) -> None:
    with Client(cluster.endpoints[0]) as client, client.watch() as good, client.watch() as bad:
        good.create(b"garbage-watch")
        assert good.receive().created
        bad.send(b"\xff" * 40)
        with pytest.raises(Refused):
            while True:
                bad.receive()
        client.put(b"garbage-watch", b"1")
        assert next(good.events())[1].kv.value == b"1"


RAW = {
    "random bytes": os.urandom(4096),
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a huge length": b"\xff\xff\xff\xff" + b"\0" * 64,
    "a length and nothing more": b"\x00\x00\x10\x00",
    "zeros": b"\0" * 4096,
}


@pytest.mark.parametrize("what", RAW)
def test_on_the_peer_port_ends_the_connection(cluster: LocalCluster, what: str) -> None:
    for member in cluster.members:
        assert dropped(member.peer_url, RAW[what])


FORGED: dict[str, dict[str, object]] = {
    "a proposal": {"type": "propose", "term": 2, "batch": [[1, 1, b"\0forged"]]},
    "a removal": {"type": "removed"},
    "a term": {"type": "term", "term": (1 << 64) - 1},
    "a vote request of a transfer": {"type": "request_vote", "term": 1 << 30, "transfer": True}
    | {"last_log_index": 1 << 40, "last_log_term": 1 << 29},
    "a leader": {"type": "append_entries", "term": 1 << 30, "commit_index": 0},
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_member_id_has_no_effect(cluster: LocalCluster, what: str) -> None:
    leader, term = cluster.leader(), raft_term(cluster)
    members = asked(cluster.members[0].peer_url)
    hello = {"type": "hello", "protocol": "rusd-peer/1", "cluster": members.cluster}
    for target in cluster.members:
        for member in members.members:
            for nonce in ({}, {"nonce": bytes(16)}):
                claim = raw({**hello, "member": member, **nonce})
                assert dropped(target.peer_url, claim + raw(FORGED[what]) * 3)
    assert (cluster.leader(), raft_term(cluster)) == (leader, term)


def raft_term(cluster: LocalCluster) -> int:
    with Client(cluster.endpoints[0]) as client:
        return int(client.status().raftTerm)


def asked(url: str) -> MembersResponse:
    """Asks a peer port for the member list, as any client may."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        connection.sendall(raw({"type": "members", "protocol": "rusd-peer/1"}))
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    members = decode(answer[4:], member=False)
    assert isinstance(members, MembersResponse)
    return members


def test_thousands_of_connections_to_the_peer_port_cost_few_lines(cluster: LocalCluster) -> None:
    member = cluster.members[0]
    before = len(member.log_of_this_run())
    for _ in range(5000):
        assert dropped(member.peer_url, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
    assert len(member.log_of_this_run()) - before < 10_000


@pytest.mark.parametrize("what", ["random bytes", "zeros"])
def test_on_the_client_port_ends_the_connection(cluster: LocalCluster, what: str) -> None:
    for member in cluster.members:
        assert dropped(member.client_url, RAW[what])


def dropped(url: str, data: bytes) -> bool:
    """Send raw bytes; True once the server has closed the connection."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        try:
            connection.sendall(data)
            while connection.recv(65536):
                pass
        except ConnectionError:
            pass
    return True


def test_a_silent_connection_disturbs_no_other(cluster: LocalCluster) -> None:
    connections = []
    for member in cluster.members:
        for url in (member.peer_url, member.client_url):
            parts = urlsplit(url)
            connections.append(socket.create_connection((parts.hostname, parts.port)))
    with Client(cluster.endpoints[0]) as client:
        client.put(b"quiet", b"1")
    for connection in connections:
        connection.close()
