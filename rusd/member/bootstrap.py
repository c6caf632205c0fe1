"""The first start of a member: its ids, and the initial members of its cluster.

New cluster (`--initial-cluster-state=new`): the ids follow from `--initial-cluster` and its token,
derived as etcd derives them, so every member computes the same membership without communication.
Before that the peers that run already are queried: if one of them knows this member, the member
was bootstrapped before and has lost its disk, with everything it acknowledged; the start is
refused. Unreachable peers are not waited for: they refuse a replaced data directory at the
handshake (`raft/transport/handshake.py`).

Joining (`existing`): the peers are queried for the member list, and the member finds its id there
by its peer URLs. If that id was in use before, the member counts for no quorum until it has caught
up (`raft/core/quarantine.py`).

At every later start the bootstrap flags are ignored, as in etcd: the data directory decides
(`identity.py`).
"""

import asyncio
import contextlib
import itertools
from dataclasses import replace

from rusd.base.urls import RESOLVE_TIMEOUT, differing_in_thread
from rusd.config import Config, ConfigError
from rusd.member.errors import Removed, RemovedByPeers
from rusd.member.identity import (
    REMOVED,
    Identity,
    identity_path,
    known_membership,
    read_identity,
    write_identity,
    write_joining,
)
from rusd.raft.commands import decode_entry
from rusd.raft.log.journal import Journal
from rusd.raft.ports import WITHOUT_TLS, PeerTls
from rusd.raft.transport.incarnations import begin_recovering
from rusd.raft.transport.member_query import Cluster, ask_all
from rusd.state.command import Kind
from rusd.state.identity import cluster_id, member_id
from rusd.state.machine import StateMachine
from rusd.state.members import Member

#: Seconds that peers have to answer a starting member (etcd: the same at a first start).
QUERY_TIMEOUT = 1.0


class Bootstrapped(ConfigError):
    """A first start under an id that peers know: the member has lost its disk."""

    def __init__(self, member: int) -> None:
        super().__init__(
            f"member {member:x} has already been bootstrapped: its data directory was lost or is "
            "not the one it had. Remove the member from the cluster, add it anew and start it with "
            "--initial-cluster-state=existing"
        )


async def query_existing_cluster(config: Config, tls: PeerTls = WITHOUT_TLS) -> Cluster | None:
    """Query the peers at a first start. Returns the cluster to join; None at a later start, and at
    the first start of a new cluster.

    Raises ConfigError if no peer answers a joining member; Bootstrapped or RemovedByPeers if a peer
    already knows a member that is to begin a new cluster.
    """
    if identity_path(config).exists():
        return None
    own = config.initial_peers[config.name]
    peers = [urls for urls in config.initial_peers.values() if urls != own]
    if config.initial_cluster_state != "existing":
        member = member_id(own, config.initial_cluster_token)
        for found in await ask_all(peers, QUERY_TIMEOUT, tls):
            if member in found.membership.removed:
                raise RemovedByPeers(REMOVED)
            if member in found.membership.started or member in found.incarnations:
                raise Bootstrapped(member)
        return None
    answers = await ask_all(peers, tls=tls)
    if not answers:
        raise ConfigError(
            "cannot fetch cluster info from peer urls: could not retrieve cluster information "
            "from the given URLs"
        )
    return await _with_configured_urls(_merged(answers), config)


def _merged(answers: list[Cluster]) -> Cluster:
    """The cluster as the responding member with the highest applied index lists it, merged with
    what any member reports about started members.

    A peer that lags may still list a removed member under the URLs of this one, and may not know
    that a member has served.
    """
    same = [each for each in answers if each.id == answers[0].id]
    first = max(same, key=lambda each: each.index)
    started = frozenset[int]().union(*(each.membership.started for each in same))
    lives: dict[int, int] = {}
    for each in same:
        lives |= {m: max(number, lives.get(m, 0)) for m, number in each.incarnations.items()}
    return Cluster(first.id, replace(first.membership, started=started), lives, first.index)


async def _with_configured_urls(existing: Cluster, config: Config) -> Cluster:
    """The cluster with the URLs that this member's flags give its members.

    URLs that differ but resolve to the same addresses are the same. A member without a match keeps
    the URLs it has.
    """
    urls = dict(existing.membership.urls)
    ours = [*config.initial_peers.values()]
    unmatched = [member for member, theirs in urls.items() if tuple(sorted(theirs)) not in ours]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(RESOLVE_TIMEOUT):
            for member, mine in itertools.product(unmatched, ours):
                if await differing_in_thread(urls[member], mine) is None:
                    urls[member] = list(map(str, mine))
    return replace(existing, membership=replace(existing.membership, urls=urls))


def establish(config: Config, machine: StateMachine, existing: Cluster | None = None) -> Identity:
    """Return this member's identity; at a first start, create it.

    A new cluster's membership is written to the fresh `machine`. A member that joins the `existing`
    cluster receives the membership with the state.
    Raises ConfigError if the data directory contradicts itself or the flags do not describe this
    member, Removed if the member was removed.
    """
    path = identity_path(config)
    if not path.exists():
        if machine.members.cluster_id and machine.positions()[0].index > 1:
            raise ConfigError(f"{path} is missing, but the data directory is not new")
        if existing is None:
            _begin_cluster(config, machine)
        else:
            _join_cluster(config, existing)
    own = read_identity(config)
    if own.member_id in machine.members.removed:
        raise Removed(REMOVED)
    known = known_membership(config, machine)
    if machine.members.cluster_id not in (0, own.cluster_id) or own.member_id not in known.urls:
        raise ConfigError(f"{path} does not fit the data beside it")
    return own


def _begin_cluster(config: Config, machine: StateMachine) -> None:
    """First start of a member of a new cluster: the membership follows from the flags."""
    members, own = initial_cluster(config)
    _refuse_foreign_log(config, {member.id for member in members})
    machine.bootstrap(members, own.cluster_id)
    write_identity(config, own)


def initial_cluster(config: Config) -> tuple[list[Member], Identity]:
    """Return the members of a new cluster, and the ids of this one, from --initial-cluster and its
    token.
    """
    token = config.initial_cluster_token
    members = [
        Member(id=member_id(urls, token), peer_urls=tuple(map(str, urls)))
        for urls in config.initial_peers.values()
    ]
    cluster = cluster_id(member.id for member in members)
    return members, Identity(member_id(config.initial_peers[config.name], token), cluster)


def _join_cluster(config: Config, existing: Cluster) -> None:
    """First start of a member that was added to a running cluster."""
    _refuse_foreign_log(config, set())
    theirs = {tuple(sorted(urls)): member for member, urls in existing.membership.urls.items()}
    ours = config.initial_peers
    if len(theirs) != len(ours):
        raise ConfigError("error validating peerURLs: member count is unequal")
    for urls, member in theirs.items():
        if urls not in ours.values():
            raise ConfigError(
                f"error validating peerURLs: no match found for existing member ({member:x}, "
                f"{list(urls)})"
            )
    own = theirs[ours[config.name]]
    if own in existing.membership.started:
        begin_recovering(config.member_path, existing.incarnations.get(own, 0))
    write_joining(config, existing.membership)
    write_identity(config, Identity(own, existing.id))


def _refuse_foreign_log(config: Config, members: set[int]) -> None:
    """Raise ConfigError if a first start finds the log of another member or cluster.

    With `--wal-dir` the log lies apart from the data, so it may be left from lost data, or belong
    to another member. A log of exactly these `members` is continued, as in etcd; any other would be
    served as theirs, and members could disagree on its content.
    """
    if not any(config.wal_path.glob("*.wal")):
        return
    journal = Journal(config.wal_path)
    try:
        empty = not journal.last_index and not journal.getCurrentTerm()
        entries = journal.entries(journal.first_index, journal.last_index + 1)
        payloads = [payload for command, _, _ in entries for _, _, payload in decode_entry(command)]
    finally:
        journal.close()
    published = {
        Member.parse(payload[1:]).id for payload in payloads if payload[0] == Kind.MEMBER_ATTRIBUTES
    }
    if not empty and published != members:
        raise ConfigError(
            f"{config.wal_path} holds the log of another member or cluster, and "
            f"--data-dir {config.data_path} is new: move the log away, or give its data directory"
        )
