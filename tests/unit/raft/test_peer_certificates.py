"""Which proof counts for a connection to the peer port: the answer of the member's own address, or
a certificate where nobody can be asked there.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cluster.certificates import Authority, Identity
from rusd.base.urls import Url
from rusd.config import Config
from rusd.door.tls.peer import PeerTls, peer_tls
from rusd.raft.node import RaftNode
from rusd.raft.transport import dial_back
from rusd.raft.transport.dial_back import CONFIRMED, Answer, ask_back
from rusd.raft.transport.frames import HelloRefused, pack
from rusd.raft.transport.tls import BAD_CERTIFICATE
from tests.support.ports import free_ports
from tests.unit.raft.cluster import Cluster, until
from tests.unit.raft.rogue import NONCE, logged

HOME, AWAY, STRANGE = "127.0.0.1", "127.0.0.2", "127.0.0.3"
UNCONFIRMED = "the member's peer URLs do not confirm its connection"


def tls(authority: Authority, identity: Identity, source: str = "") -> PeerTls:
    """TLS of a member that dials from the address `source`."""
    made = peer_tls(
        Config(
            peer_cert_file=str(identity.cert),
            peer_key_file=str(identity.key),
            peer_trusted_ca_file=str(authority.cert),
            peer_client_cert_auth=True,
        )
    )
    made.local_address = source
    return made


class Guarded(Cluster):
    """Members with https URLs at addresses of their own."""

    def __init__(self, directory: Path, hosts: dict[int, str]) -> None:
        super().__init__(directory, len(hosts))
        self.hosts = hosts
        self.authority = Authority(directory / "tls")
        #: Member -> the address that it dials from, if it is not its own.
        self.sources: dict[int, str] = {}
        #: Member -> the addresses that its certificate is for, if they are not its own.
        self.names: dict[int, list[str]] = {}

    def url(self, member: int) -> str:
        return f"https://{self.hosts[member]}:{self.ports[member]}"

    async def start(self, member: int) -> RaftNode:
        host = self.hosts[member]
        names = self.names.get(member, [host])
        identity = self.authority.issue("peer", names, file=f"member-{member}")
        source = self.sources.get(member, host)
        self.settings["tls"] = tls(self.authority, identity, source)
        return await super().start(member)


def together(cluster: Cluster) -> bool:
    others = len(cluster.nodes) - 1
    return all(len(node.driver.peers.connected()) == others for node in cluster.nodes.values())


def test_a_member_whose_own_connections_are_refused_takes_part_over_those_it_accepts(
    tmp_path: Path,
) -> None:
    """It dials from an address that its certificate is not for, so it cannot ask back either."""

    async def body() -> None:
        cluster = Guarded(tmp_path, {1: HOME, 2: AWAY, 3: AWAY})
        cluster.sources[1] = STRANGE
        with logged() as text:
            async with cluster:
                await until(lambda: together(cluster))
                assert await cluster.nodes[1].propose(b"one") == 1
                assert await cluster.equal() == ["one"]
        assert f'"x509: certificate is valid for {HOME}, not {STRANGE}"' in text.getvalue()

    asyncio.run(body())


async def keeps_member_2_out(cluster: Guarded) -> None:
    await cluster.start(1)
    try:
        with logged() as text:
            await cluster.start(2)
            await until(lambda: UNCONFIRMED in text.getvalue())
        assert not together(cluster)
    finally:
        await cluster.__aexit__()


def test_a_certificate_of_another_member_does_not_stand_in_for_the_answer(tmp_path: Path) -> None:
    """Member 2 comes with the certificate of member 3, from the address that it is for."""

    async def body() -> None:
        cluster = Guarded(tmp_path, {1: HOME, 2: AWAY, 3: STRANGE})
        cluster.sources |= {1: AWAY, 2: STRANGE}
        cluster.names[2] = [STRANGE]
        await keeps_member_2_out(cluster)

    asyncio.run(body())


def test_a_process_that_is_not_at_its_members_address_stays_out_whatever_its_certificate(
    tmp_path: Path,
) -> None:
    """So of two processes of one member with one certificate the same one counts for all others."""

    async def body() -> None:
        cluster = Guarded(tmp_path, {1: HOME, 2: AWAY})
        cluster.listen = lambda member: elsewhere if member == 2 else cluster.url(member)  # type: ignore[method-assign]
        elsewhere = f"https://{AWAY}:{free_ports(1)[0]}"
        await keeps_member_2_out(cluster)

    asyncio.run(body())


Said = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]


def says(data: bytes) -> Said:
    def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        writer.close()

    return answer


def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A process that takes its time."""


@asynccontextmanager
async def at(said: Said, context: ssl.SSLContext | None) -> AsyncIterator[str]:
    """The URL of a server that says something to everyone."""
    port = free_ports(1)[0]
    async with await asyncio.start_server(said, HOME, port, ssl=context):
        yield f"{'http' if context is None else 'https'}://{HOME}:{port}"


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (says(CONFIRMED), Answer.YES),
        (says(b""), Answer.NO),
        (says(b"\xff" * 64), Answer.NO),
        (says(pack(HelloRefused("for another reason"))), Answer.NO),
        (says(pack(HelloRefused(BAD_CERTIFICATE))), Answer.NONE),
        (silent, Answer.NO),
    ],
    ids=["yes", "nothing", "garbage", "refused", "bad certificate", "silence"],
)
def test_what_a_process_at_the_address_says_is_an_answer_unless_it_refuses_the_certificate(
    said: Said, answer: Answer, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    own = tls(authority, authority.issue("peer", [HOME]))

    async def body() -> None:
        async with at(said, own.server) as url:
            assert await ask_back([url], 77, 1, NONCE, own, within=0.5) is answer

    asyncio.run(body())


def test_an_address_where_no_process_listens_says_no() -> None:
    url = f"http://{HOME}:{free_ports(1)[0]}"
    assert asyncio.run(ask_back([url], 77, 1, NONCE)) is Answer.NO


def test_an_untrusted_certificate_or_an_unknown_name_is_nobody_to_ask(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    own = tls(authority, authority.issue("peer", [HOME]))
    other = tls(stranger, stranger.issue("other", [HOME]))

    async def body() -> None:
        async with at(says(CONFIRMED), other.server) as url:
            assert await ask_back([url], 77, 1, NONCE, own) is Answer.NONE
        assert await ask_back(["https://nowhere.invalid:1"], 77, 1, NONCE, own) is Answer.NONE

    asyncio.run(body())


def test_an_address_that_no_packet_reaches_is_nobody_to_ask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A listener whose queue is full drops what comes."""
    monkeypatch.setattr(dial_back, "PROBE", 0.2)
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind((HOME, 0))
        full.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        url = f"http://{HOME}:{full.getsockname()[1]}"
        asked = ask_back([url], 77, 1, NONCE, within=0.3)
        assert asyncio.run(asked) is Answer.NONE


def test_an_address_that_says_no_decides_over_one_that_cannot_be_asked() -> None:
    async def body() -> None:
        async with at(says(b""), None) as url:
            urls = ["http://nowhere.invalid:1", url]
            assert await ask_back(urls, 77, 1, NONCE) is Answer.NO

    asyncio.run(body())


@pytest.mark.parametrize(
    ("advertised", "address"),
    [
        (["https://192.0.2.1:1"], "192.0.2.1"),
        (["https://name:1", "https://127.0.0.1:1", "https://[2001:db8::1]:1"], "2001:db8::1"),
        (["https://localhost:1", "https://0.0.0.0:1"], ""),
    ],
)
def test_the_gate_makes_a_member_dial_from_the_first_address_that_it_advertises(
    advertised: list[str], address: str
) -> None:
    config = Config(initial_advertise_peer_urls=tuple(map(Url, advertised)))
    assert peer_tls(config).local_address == ""
    for gate in ("SetMemberLocalAddr", "AllAlpha"):
        on = Config(initial_advertise_peer_urls=tuple(map(Url, advertised)), feature_gates=(gate,))
        assert peer_tls(on).local_address == address
