"""TLS between members: real processes, real sockets, certificates that are right and wrong."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.certificates import DAY, Authority, Identity
from cluster.local import LocalCluster
from cluster.process import Member
from cluster.tls import PeerTls
from rusd.raft.transport.member_query import MEMBERS_REQUEST
from tests.support.client import Client
from tests.support.pair import SUBJECT, command

LOOPBACK = ("127.0.0.1", "::1", "localhost")
ATTEMPTS = 32


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "tls")


def members(size: int = 3, **options: object) -> LocalCluster:
    return LocalCluster(size, binary=[command(SUBJECT)], **options)  # type: ignore[arg-type]


@pytest.fixture
def cluster(authority: Authority) -> Iterator[LocalCluster]:
    with members(peer_tls=authority.peer_tls()) as running:
        yield running


def wait_until(condition: Callable[[], object], timeout: float = 30.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.05)


def holds(endpoint: str, key: bytes, value: bytes) -> bool:
    with contextlib.suppress(Exception), Client(endpoint) as client:
        found = client.range(key, serializable=True, timeout=1.0)
        return [kv.value for kv in found.kvs] == [value]
    return False


def has(endpoint: str, key: bytes, value: bytes) -> None:
    wait_until(lambda: holds(endpoint, key, value))


def port_of(member: Member) -> int:
    return int(member.peer_url.rpartition(":")[2])


def flags(identity: Identity, authority: Authority, *more: str) -> list[str]:
    return [*PeerTls(identity.cert, identity.key, authority.cert).flags(), *more]


def test_members_over_mutual_tls_elect_replicate_and_regain_a_member(
    cluster: LocalCluster,
) -> None:
    lost = (cluster.leader() + 1) % 3
    cluster.kill(lost)
    with Client(cluster.endpoints[cluster.leader()]) as client:
        client.put(b"while it was down", b"1" * 100_000)
    cluster.start_all()
    has(cluster.endpoints[lost], b"while it was down", b"1" * 100_000)
    cluster.kill(cluster.leader())
    with Client(cluster.endpoints[lost]) as client:
        cluster.leader()
        client.put(b"after", b"2")
    cluster.start_all()
    cluster.wait_healthy()
    assert all(member.peer_url.startswith("https://") for member in cluster.members)


def test_a_member_joins_a_cluster_with_tls(authority: Authority) -> None:
    with members(1, peer_tls=authority.peer_tls()) as cluster:
        with Client(cluster.endpoints[0]) as client:
            client.put(b"a", b"b")
            index = cluster.new_member()
            client.member_add(cluster.members[index].peer_url)
        cluster.start_all()
        has(cluster.endpoints[index], b"a", b"b")


WRONG = {
    "another authority": "certificate verify failed: unable to get local issuer certificate",
    "expired": "certificate has expired",
    "revoked": "certificate serial [0-9a-f]+ revoked",
    "another common name": "client certificate authentication failed",
    "another address": "certificate is (not )?valid for",
}


def wrong(kind: str, authority: Authority, directory: Path) -> Identity:
    if kind == "another authority":
        return Authority(directory / "tls", "stranger").issue("member", LOOPBACK, file="wrong")
    if kind == "expired":
        return authority.issue("member", LOOPBACK, valid=-DAY, file="wrong")
    if kind == "another common name":
        return authority.issue("stranger", LOOPBACK, file="wrong")
    if kind == "another address":
        return authority.issue("member", ["192.0.2.1"], file="wrong")
    return authority.issue("member", LOOPBACK, file="wrong")


def in_order_of_ids(cluster: LocalCluster) -> list[int]:
    """Indexes of the members: of two, the one behind dials the other."""
    found = {}
    for index, endpoint in enumerate(cluster.endpoints):
        with Client(endpoint) as client:
            found[client.status().header.member_id] = index
    return [found[member] for member in sorted(found)]


def give_up_leadership(cluster: LocalCluster, index: int) -> None:
    if cluster.leader() == index:
        other = cluster.endpoints[(index + 1) % 3]
        with Client(cluster.endpoints[index]) as leader, Client(other) as next_one:
            leader.move_leader(next_one.status().header.member_id)
        wait_until(lambda: cluster.leader() != index)


@pytest.mark.parametrize("kind", WRONG)
def test_a_member_with_a_wrong_certificate_never_joins_and_disturbs_no_other(
    kind: str, authority: Authority, tmp_path: Path
) -> None:
    """Both when it dials the others and when it is dialled by them."""
    right = authority.issue("member", LOOPBACK)
    bad = wrong(kind, authority, tmp_path)
    crl = authority.revoke(*([bad] if kind == "revoked" else []))
    more = (f"--peer-crl-file={crl}", "--peer-cert-allowed-cn=member")
    good = flags(right, authority, *more)
    # The wrong member accepts the others: only its own certificate keeps it out.
    lenient = flags(bad, authority, "--peer-crl-file=", "--peer-cert-allowed-cn=")
    with members(peer_tls=True, flags=good) as cluster:
        ordered = in_order_of_ids(cluster)
        for index, refusing in (
            (ordered[-1], "rejected connection on peer endpoint"),
            (ordered[0], "cannot connect to a peer over TLS"),
        ):
            give_up_leadership(cluster, index)
            cluster.set_flags(index, lenient)
            cluster.kill(index)
            others = [m for n, m in enumerate(cluster.members) if n != index]
            seen = {member: len(member.log_of_this_run()) for member in others}

            def refused(seen: dict[Member, int] = seen, refusing: str = refusing) -> bool:
                return any(
                    refusing in line and re.search(WRONG[kind], line)
                    for member, before in seen.items()
                    for line in member.log_of_this_run()[before:].splitlines()
                )

            with Client(cluster.endpoints[cluster.leader()]) as client:
                term = client.status().raftTerm
                client.put(b"a", b"before")
                cluster.restart(index)
                wait_until(refused)
                client.put(b"a", refusing.encode())
                assert client.status().raftTerm == term
            assert not holds(cluster.endpoints[index], b"a", refusing.encode())
            # With a right certificate it is a member again.
            cluster.set_flags(index, [])
            cluster.restart(index)
            has(cluster.endpoints[index], b"a", refusing.encode())
            cluster.wait_healthy()


def test_a_certificate_that_is_revoked_while_it_is_connected_counts_until_it_connects_again(
    authority: Authority,
) -> None:
    """As in etcd: the list is read at handshakes."""
    right, later = (authority.issue("member", LOOPBACK, file=file) for file in ("right", "later"))
    crl = f"--peer-crl-file={authority.revoke()}"
    with members(peer_tls=True, flags=flags(right, authority, crl)) as cluster:
        index = (cluster.leader() + 1) % 3
        cluster.set_flags(index, flags(later, authority, crl))
        cluster.restart(index)
        cluster.wait_healthy()
        authority.revoke(later)
        with Client(cluster.endpoints[cluster.leader()]) as client:
            client.put(b"a", b"while connected")
            has(cluster.endpoints[index], b"a", b"while connected")
            cluster.restart(index)
            others = [m for n, m in enumerate(cluster.members) if n != index]
            reason = WRONG["revoked"]
            wait_until(lambda: any(re.search(reason, m.log_of_this_run()) for m in others))
            client.put(b"a", b"afterwards")
        assert not holds(cluster.endpoints[index], b"a", b"afterwards")


def peer_connection(member: Member, context: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", port_of(member)), 5)
    return context.wrap_socket(plain, server_hostname="127.0.0.1")


def answer(member: Member, context: ssl.SSLContext) -> bytes:
    """Returns the response to a request for the member list; empty if it is refused."""
    with contextlib.suppress(OSError), peer_connection(member, context) as connection:
        connection.sendall(MEMBERS_REQUEST)
        return connection.recv(1 << 16)
    return b""


def test_without_a_certificate_the_member_list_is_refused(
    cluster: LocalCluster, authority: Authority
) -> None:
    context = ssl.create_default_context(cafile=authority.cert)
    assert answer(cluster.members[0], context) == b""
    shown = authority.issue("asking", LOOPBACK)
    context.load_cert_chain(shown.cert, shown.key)
    assert b"https://" in answer(cluster.members[0], context)


@pytest.mark.parametrize("skip", [False, True])
def test_a_certificate_for_another_address_counts_only_if_that_is_not_verified(
    skip: bool, authority: Authority
) -> None:
    elsewhere = authority.issue("elsewhere", ["192.0.2.1"])
    flag = f"--peer-skip-client-san-verification={str(skip).lower()}"
    with members(1, peer_tls=authority.peer_tls(), flags=[flag]) as cluster:
        context = ssl.create_default_context(cafile=authority.cert)
        context.load_cert_chain(elsewhere.cert, elsewhere.key)
        assert (b"https://" in answer(cluster.members[0], context)) is skip


def test_members_make_their_own_certificates() -> None:
    with members(peer_tls=True, flags=["--peer-auto-tls"]) as cluster:
        with Client(cluster.endpoints[0]) as client:
            client.put(b"a", b"b")
        for member in cluster.members:
            has(member.endpoint, b"a", b"b")
            assert (member.data_dir / "fixtures/peer/key.pem").stat().st_mode & 0o77 == 0


def test_rotated_certificates_are_used_without_a_restart_or_a_lost_write(
    cluster: LocalCluster, authority: Authority
) -> None:
    with Client(cluster.endpoints[cluster.leader()]) as client:
        acknowledged: list[bytes] = []
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                key = b"%d" % len(acknowledged)
                client.put(key, b"x")
                acknowledged.append(key)

        writing = threading.Thread(target=write)
        writing.start()
        try:
            new = authority.issue("peer", LOOPBACK)
            context = ssl.create_default_context(cafile=authority.cert)
            context.load_cert_chain(new.cert, new.key)
            for member in cluster.members:
                with peer_connection(member, context) as connection:
                    shown = connection.getpeercert()
                assert shown and int(shown["serialNumber"], 16) == new.serial
            follower = (cluster.leader() + 1) % 3
            cluster.kill(follower)
            cluster.start_all()
            cluster.wait_healthy()
        finally:
            stop.set()
            writing.join()
        assert acknowledged
        found = client.range(b"\0", b"\0").kvs
        assert {kv.key for kv in found} >= set(acknowledged)


def test_stalled_handshakes_and_garbage_disturb_no_other(cluster: LocalCluster) -> None:
    leader = cluster.leader()
    lost = (leader + 1) % 3
    cluster.kill(lost)
    port = port_of(cluster.members[leader])
    with contextlib.ExitStack() as stack:
        for number in range(3 * ATTEMPTS):
            stalled = stack.enter_context(socket.create_connection(("127.0.0.1", port), 5))
            stalled.sendall((b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100)[number % 3])
        with Client(cluster.endpoints[leader]) as client:
            client.put(b"a", b"b")
        cluster.start_all()
        has(cluster.endpoints[lost], b"a", b"b")
    log = cluster.members[leader].log_of_this_run()
    assert "rejected connection on peer endpoint" in log


def test_tls_to_a_plaintext_peer_port_is_refused_and_said_so() -> None:
    with members(1) as cluster:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with pytest.raises(OSError):
            peer_connection(cluster.members[0], context)
        log = cluster.members[0].log_of_this_run
        wait_until(lambda: "a TLS handshake on a port without TLS" in log())


def test_a_cluster_moves_to_https_peer_urls_one_member_at_a_time(authority: Authority) -> None:
    given = authority.peer_tls().flags()
    with members(flags=given) as cluster:
        for index in range(3):
            member = cluster.members[index]
            url = member.peer_url.replace("http://", "https://")
            with Client(cluster.endpoints[(index + 1) % 3]) as client:
                ids = {tuple(each.peerURLs): each.ID for each in client.members().members}
                client.member_update(ids[(member.peer_url,)], url)
                member.peer_url = url
                cluster.restart(index)
                cluster.wait_healthy()
                client.put(b"a", url.encode())
            has(cluster.endpoints[index], b"a", url.encode())
