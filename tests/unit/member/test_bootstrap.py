"""The identity of a member: from the flags at first, from its data directory afterwards."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from rusd.config import Config, ConfigError
from rusd.member import bootstrap, member_list
from rusd.member.bootstrap import Bootstrapped, establish, query_existing_cluster
from rusd.member.errors import Removed, RemovedByPeers
from rusd.member.identity import Identity, known_membership
from rusd.member.member_list import check_not_removed
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.commands import encode_entry
from rusd.raft.log.journal import Journal
from rusd.raft.ports import Entry, Membership, Position, Request
from rusd.raft.transport.incarnations import Incarnations
from rusd.raft.transport.member_query import Cluster
from rusd.state.command import Kind, encode
from rusd.state.identity import member_id
from rusd.state.machine import StateMachine

FLAGS = Config(
    name="b",
    initial_advertise_peer_urls=("http://10.0.0.2:2380",),
    initial_cluster="a=http://10.0.0.1:2380,b=http://10.0.0.2:2380",
    initial_cluster_token="token",
)


def started(directory: Path, flags: Config = FLAGS, *, entries: int = 0) -> Identity:
    """Start a member on `directory`, apply this many entries and stop."""
    config = replace(flags, data_dir=str(directory))
    machine = StateMachine(config.member_path / "state")
    try:
        identity = establish(config, machine)
        for index in range(2, entries + 2):
            machine.apply([Entry(Position(index, 1), [])])
        return identity
    finally:
        machine.close()


def test_the_ids_follow_from_the_flags_so_that_members_agree_without_talking(
    tmp_path: Path,
) -> None:
    other = replace(FLAGS, name="a", initial_advertise_peer_urls=("http://10.0.0.1:2380",))
    b, a = started(tmp_path / "b"), started(tmp_path / "a", other)
    assert b.member_id == member_id(["http://10.0.0.2:2380"], "token")
    assert a.member_id == member_id(["http://10.0.0.1:2380"], "token")
    assert a.cluster_id == b.cluster_id


def test_a_later_start_ignores_the_flags_of_bootstrap(tmp_path: Path) -> None:
    first = started(tmp_path, entries=3)
    changed = Config(name="c", initial_cluster="c=http://10.0.0.9:1", initial_cluster_token="x")
    assert started(tmp_path, changed) == first


def test_data_that_lost_its_identity_is_refused(tmp_path: Path) -> None:
    started(tmp_path, entries=3)
    (tmp_path / "member" / "identity").unlink()
    with pytest.raises(ConfigError, match="identity is missing"):
        started(tmp_path)


def test_a_damaged_identity_is_refused(tmp_path: Path) -> None:
    started(tmp_path, entries=3)
    for text in ("", "zz zz", "1"):
        (tmp_path / "member" / "identity").write_text(text)
        with pytest.raises(ConfigError, match="damaged"):
            started(tmp_path)


def test_an_identity_that_does_not_fit_the_data_is_refused(tmp_path: Path) -> None:
    started(tmp_path, entries=3)
    (tmp_path / "member" / "identity").write_text("1 2\n")
    with pytest.raises(ConfigError, match="does not fit"):
        started(tmp_path)


JOINING = replace(
    FLAGS,
    initial_cluster=FLAGS.initial_cluster + ",c=http://10.0.0.3:2380",
    initial_advertise_peer_urls=("http://10.0.0.3:2380",),
    name="c",
    initial_cluster_state="existing",
)
THERE = Cluster(
    77,
    Membership(
        frozenset({1, 2}),
        frozenset({3}),
        {1: ("http://10.0.0.1:2380",), 2: ("http://10.0.0.2:2380",), 3: ("http://10.0.0.3:2380",)},
    ),
)


def joined(directory: Path, flags: Config = JOINING, there: Cluster | None = THERE) -> Identity:
    config = replace(flags, data_dir=str(directory))
    machine = StateMachine(config.member_path / "state")
    try:
        identity = establish(config, machine, there)
        assert known_membership(config, machine).learners == {3}
        return identity
    finally:
        machine.close()


def test_a_member_that_joins_finds_itself_by_its_peer_urls(tmp_path: Path) -> None:
    assert joined(tmp_path) == Identity(3, 77)


def test_a_member_that_joins_need_not_ask_again_when_it_starts_again(tmp_path: Path) -> None:
    joined(tmp_path)
    assert joined(tmp_path, there=None) == Identity(3, 77)


@pytest.mark.parametrize(
    ("cluster", "text"),
    [
        ("b=http://10.0.0.2:2380,c=http://10.0.0.3:2380", "member count is unequal"),
        (
            "a=http://10.0.0.9:2380,b=http://10.0.0.2:2380,c=http://10.0.0.3:2380",
            "no match found for existing member",
        ),
    ],
)
def test_a_member_whose_flags_name_other_members_does_not_join(
    tmp_path: Path, cluster: str, text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        joined(tmp_path, replace(JOINING, initial_cluster=cluster))


def test_a_member_that_joins_may_name_its_peers_by_other_names_of_their_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in etcd, which compares resolved URLs; what a flag calls a member is how it is reached."""
    names = {"a.test": "10.0.0.1", "c.test": "10.0.0.3"}

    def getaddrinfo(host: str, *_: object, **__: object) -> list[object]:
        return [(0, 0, 0, "", (names.get(host, host), 0))]

    async def ask_all(urls: Iterable[Sequence[str]], *_: object, **__: object) -> list[Cluster]:
        assert list(urls)
        return [THERE]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(bootstrap, "ask_all", ask_all)
    flags = replace(
        JOINING,
        data_dir=str(tmp_path),
        initial_cluster="a=HTTP://a.test:2380,b=http://10.0.0.2:2380,c=http://c.test:2380",
    )
    there = asyncio.run(query_existing_cluster(flags))
    assert there is not None
    assert dict(there.membership.urls) == {
        1: ["http://a.test:2380"],
        2: ("http://10.0.0.2:2380",),
        3: ["http://c.test:2380"],
    }
    assert joined(tmp_path, flags, there) == Identity(3, 77)


def test_a_joining_member_that_reaches_no_peer_is_refused(tmp_path: Path) -> None:
    nobody = "http://127.0.0.1:1"
    flags = replace(
        JOINING, initial_cluster=f"a={nobody},c=http://10.0.0.3:2380", data_dir=str(tmp_path)
    )
    with pytest.raises(ConfigError, match="cannot fetch cluster info from peer urls"):
        asyncio.run(query_existing_cluster(flags))


def test_a_member_that_was_removed_does_not_start_again(tmp_path: Path) -> None:
    own = started(tmp_path, entries=3)
    machine = StateMachine(replace(FLAGS, data_dir=str(tmp_path)).member_path / "state")
    remove = encode(Kind.MEMBER_REMOVE, rpc.Member(ID=own.member_id).SerializeToString())
    machine.apply([Entry(Position(5, 1), [Request(remove, False)])])
    machine.close()
    with pytest.raises(Removed):
        started(tmp_path)


def test_a_start_that_was_cut_off_before_the_identity_was_written_is_repeated(
    tmp_path: Path,
) -> None:
    started(tmp_path)
    (tmp_path / "member" / "identity").unlink()
    assert started(tmp_path) == started(tmp_path)


OWN = member_id(["http://10.0.0.2:2380"], "token")
OTHER = member_id(["http://10.0.0.1:2380"], "token")


def told(monkeypatch: pytest.MonkeyPatch, *answers: Cluster) -> None:
    """Replace the answers of the other members."""

    async def ask_all(urls: object, *_: object, **__: object) -> list[Cluster]:
        return list(answers)

    monkeypatch.setattr(bootstrap, "ask_all", ask_all)
    monkeypatch.setattr(member_list, "ask_all", ask_all)


def cluster(
    *, started: Collection[int] = (), incarnations: Mapping[int, int] = MappingProxyType({})
) -> Cluster:
    urls = {OWN: ("http://10.0.0.2:2380",), OTHER: ("http://10.0.0.1:2380",)}
    return Cluster(
        77, Membership(frozenset(urls), urls=urls, started=frozenset(started)), incarnations
    )


def test_a_first_start_continues_when_no_peer_knows_the_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = replace(FLAGS, data_dir=str(tmp_path))
    told(monkeypatch)
    assert asyncio.run(query_existing_cluster(flags)) is None
    told(monkeypatch, cluster(started={OTHER}, incarnations={OTHER: 3}))
    assert asyncio.run(query_existing_cluster(flags)) is None


@pytest.mark.parametrize("known", [cluster(started={OWN}), cluster(incarnations={OWN: 1})])
def test_a_first_start_is_refused_when_one_knows_the_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: Cluster
) -> None:
    told(monkeypatch, cluster(), known)
    with pytest.raises(Bootstrapped, match=f"member {OWN:x} has already been bootstrapped"):
        asyncio.run(query_existing_cluster(replace(FLAGS, data_dir=str(tmp_path))))


def test_a_member_that_joins_under_an_id_that_has_served_must_catch_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = replace(FLAGS, initial_cluster_state="existing", data_dir=str(tmp_path))
    told(monkeypatch, cluster(incarnations={OWN: 4}), cluster(started={OWN}, incarnations={OWN: 2}))
    found = asyncio.run(query_existing_cluster(flags))
    machine = StateMachine(flags.member_path / "state")
    establish(flags, machine, found)
    machine.close()
    own = Incarnations(flags.member_path).own
    assert own.recovering
    assert (own.replaces, own.number) == (4, 5)


def test_a_member_that_joins_believes_the_peer_that_has_applied_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one to answer still lists the removed member under this one's URLs."""
    flags = replace(FLAGS, initial_cluster_state="existing", data_dir=str(tmp_path))
    new = {99: ("http://10.0.0.2:2380",), OTHER: ("http://10.0.0.1:2380",)}
    newer = Cluster(77, Membership(frozenset(new), urls=new, removed=frozenset({OWN})), index=9)
    told(monkeypatch, replace(cluster(started={OWN}), index=8), newer)
    found = asyncio.run(query_existing_cluster(flags))
    assert found is not None
    assert set(found.membership.urls) == {99, OTHER}


def test_a_member_ends_when_a_peer_of_its_cluster_reports_its_removal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    removed = Membership(frozenset({OTHER}), removed=frozenset({OWN}))
    told(monkeypatch, cluster(), Cluster(78, removed))
    asyncio.run(check_not_removed(Identity(OWN, 77), []))
    told(monkeypatch, cluster(), Cluster(77, removed))
    with pytest.raises(RemovedByPeers):
        asyncio.run(check_not_removed(Identity(OWN, 77), []))


def test_a_first_start_under_an_id_that_was_removed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(monkeypatch, Cluster(77, Membership(frozenset({OTHER}), removed=frozenset({OWN}))))
    with pytest.raises(RemovedByPeers):
        asyncio.run(query_existing_cluster(replace(FLAGS, data_dir=str(tmp_path))))


# -- a log without the data beside it ------------------------------------------------------------


def log_of(directory: Path, *members: int, term: int = 2) -> None:
    """A journal as the members `members` leave it."""
    journal = Journal(directory)
    journal.setCurrentTerm(term, None)
    for index, member in enumerate(members, 2):
        payload = encode(Kind.MEMBER_ATTRIBUTES, rpc.Member(ID=member).SerializeToString())
        journal.add(encode_entry([(member, index, payload)]), index, term)
    journal.flush()
    journal.close()


def both() -> list[int]:
    return [member_id([f"http://10.0.0.{n}:2380"], "token") for n in (1, 2)]


def test_a_first_start_beside_the_log_of_another_cluster_is_refused(tmp_path: Path) -> None:
    flags = replace(FLAGS, wal_dir=str(tmp_path / "wal"))
    for other in ([1, 2], [], both()[:1], [*both(), 3]):
        shutil.rmtree(tmp_path / "wal", ignore_errors=True)
        log_of(tmp_path / "wal", *other)
        with pytest.raises(ConfigError, match="holds the log of another member or cluster"):
            started(tmp_path / "data", flags)
        assert not (tmp_path / "data" / "member" / "identity").exists()


def test_a_member_that_joins_takes_over_no_log(tmp_path: Path) -> None:
    log_of(tmp_path / "wal", 1, 2)
    with pytest.raises(ConfigError, match="holds the log of another member or cluster"):
        joined(tmp_path / "data", replace(JOINING, wal_dir=str(tmp_path / "wal")))


def test_a_member_whose_log_alone_was_left_goes_on_with_it(tmp_path: Path) -> None:
    flags = replace(FLAGS, wal_dir=str(tmp_path / "wal"))
    log_of(tmp_path / "wal", *both())
    assert started(tmp_path / "data", flags).member_id == both()[1]


def test_a_log_without_records_belongs_to_no_member(tmp_path: Path) -> None:
    Journal(tmp_path / "wal").close()
    started(tmp_path / "data", replace(FLAGS, wal_dir=str(tmp_path / "wal")))
