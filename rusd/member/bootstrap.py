"""Who this member is: derived from the flags at its first start, read back at every later one.

    <data-dir>/member/identity    "<member id> <cluster id>", hex; written once, durable
    <data-dir>/member/joining     the members a joining member was told of, until its state came

At the first start of a new cluster the ids follow from `--initial-cluster` and its token exactly as
etcd derives them, so all members come to the same membership without talking. Before, the member
asks those that are there already: if one of them knows it, it began here before and lost its disk,
and with it what it has acknowledged. Nobody need be there: whom it could not ask knows its data
directory by the handshake (`raft/handshake.py`), and refuses it then. A member that joins
(`--initial-cluster-state=existing`) asks those that are there, and finds itself by its peer URLs;
if it was a member before, it counts for nothing until it has caught up (`raft/quarantine.py`).
Later the flags of bootstrap are ignored, as in etcd: the data directory says who the member is.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec

from rusd.base import durable
from rusd.base.logs import get_logger
from rusd.base.urls import RESOLVE_TIMEOUT, differing_in_thread
from rusd.config.config import Config, ConfigError
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.core.proposals import decode_entry
from rusd.raft.force_new_cluster import force
from rusd.raft.log.journal import Journal
from rusd.raft.ports import Membership
from rusd.raft.transport.incarnations import begin_recovering
from rusd.raft.transport.member_query import Cluster, ask_all
from rusd.rpc.errors import Removed, SaidRemoved
from rusd.state.command import Kind, encode
from rusd.state.identity import cluster_id, member_id
from rusd.state.machine import StateMachine
from rusd.state.members import Member, Members

log = get_logger(__name__)

REMOVED = (
    "the member has been permanently removed from the cluster: "
    "data-dir used by this member must be removed"
)


class Identity(NamedTuple):
    """This member among the members."""

    member_id: int
    cluster_id: int


#: Seconds that others have to answer a member that starts (etcd: the same for a first start).
PATIENCE = 1.0


class Bootstrapped(ConfigError):
    """A first start of a member that others know: its disk was lost."""

    def __init__(self, member: int) -> None:
        super().__init__(
            f"member {member:x} has already been bootstrapped: its data directory was lost or is "
            "not the one it had. Remove the member from the cluster, add it anew and start it with "
            "--initial-cluster-state=existing"
        )


async def inquire(config: Config) -> Cluster | None:
    """Ask the others at a first start. What the running cluster says of itself, if the member joins
    it; ConfigError if nobody answers. Bootstrapped or SaidRemoved if it begins a cluster it was in
    before."""
    if _identity(config).exists():
        return None
    own = config.initial_peers[config.name]
    others = [urls for urls in config.initial_peers.values() if urls != own]
    if config.initial_cluster_state != "existing":
        member = member_id(own, config.initial_cluster_token)
        for found in await ask_all(others, PATIENCE):
            if member in found.membership.removed:
                raise SaidRemoved(REMOVED)
            if member in found.membership.started or member in found.lives:
                raise Bootstrapped(member)
        return None
    answers = await ask_all(others)
    if not answers:
        raise ConfigError(
            "cannot fetch cluster info from peer urls: could not retrieve cluster information "
            "from the given URLs"
        )
    first, same = answers[0], [each for each in answers if each.id == answers[0].id]
    # (One that fell behind may not know that a member has served.)
    started = frozenset[int]().union(*(each.membership.started for each in same))
    lives: dict[int, int] = {}
    for each in same:
        lives |= {m: max(number, lives.get(m, 0)) for m, number in each.lives.items()}
    found = Cluster(first.id, replace(first.membership, started=started), lives, first.index)
    return await _as_configured(found, config)


async def heed_removal(own: Identity, others: Iterable[Sequence[str]]) -> None:
    """Ask the others whether this member still is one, before it takes part. They may have gone on
    without it (`--force-new-cluster`), and those it would find first may not know. SaidRemoved."""
    for found in await ask_all(others, PATIENCE):
        if found.id == own.cluster_id and own.member_id in found.membership.removed:
            raise SaidRemoved(REMOVED)


async def _as_configured(existing: Cluster, config: Config) -> Cluster:
    """The cluster with the URLs that this member's flags have for its members: names that resolve
    to the same addresses are the same. Members without a match keep the URLs they have."""
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
    """This member's identity; the first membership is written to a fresh `machine`, unless the
    member joins the `existing` cluster, whose state will come with its membership.

    Raises ConfigError if the data directory contradicts itself or the flags cannot found a member,
    Removed if it is no member any more.
    """
    path = _identity(config)
    if not path.exists():
        if machine.members.cluster_id and machine.positions()[0].index > 1:
            raise ConfigError(f"{path} is missing, but the data directory is not new")
        if existing is None:
            _found(config, machine)
        else:
            _join(config, existing)
    try:
        member, cluster = (int(part, 16) for part in path.read_text().split())
    except ValueError as error:
        raise ConfigError(f"{path} is damaged") from error
    if member in machine.members.removed:
        raise Removed(REMOVED)
    known = membership(config, machine)
    if machine.members.cluster_id not in (0, cluster) or member not in known.urls:
        raise ConfigError(f"{path} does not fit the data beside it")
    return Identity(member, cluster)


def stand_alone(config: Config, machine: StateMachine) -> None:
    """`--force-new-cluster`: make this member the only one; nothing to do at a first start.

    Raises ConfigError if the data directory is not a member's, JournalError.
    """
    if not _identity(config).exists():
        return
    own = establish(config, machine).member_id
    journal = Journal(config.wal_path)
    try:
        force(journal, machine, lambda: removals(machine.members, own))
    finally:
        journal.close()
    log.warning(
        "forced a new cluster of this member alone",
        extra={"fields": {"local-member-id": f"{own:x}"}},
    )


def removals(members: Members, own: int) -> Iterator[bytes]:
    """Commands that leave `own` as the only member."""
    member = members.get(own)
    if member is None:
        raise ConfigError("--force-new-cluster: the log says that this member was removed")
    if member.is_learner:
        yield encode(Kind.MEMBER_PROMOTE, rpc.Member(ID=own).SerializeToString())
    for other in members:
        if other.id != own:
            yield encode(Kind.MEMBER_REMOVE, rpc.Member(ID=other.id).SerializeToString())


def membership(config: Config, machine: StateMachine) -> Membership:
    """The members by the state, or, while that is still to come, as the others told."""
    if machine.members.cluster_id:
        return machine.members.membership()
    path = _joining(config)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Membership)
    except (FileNotFoundError, msgspec.DecodeError) as error:
        raise ConfigError(
            f"{config.member_path / 'state'} holds nothing, but this member is not new: its data "
            f"was lost or damaged (or it was joining, and {path} is)"
        ) from error


def _identity(config: Config) -> Path:
    return config.member_path / "identity"


def _joining(config: Config) -> Path:
    return config.member_path / "joining"


def _refuse_foreign_log(config: Config, members: set[int]) -> None:
    """A first start finds a log only if the data beside it was lost, or if it is another's: with
    `--wal-dir` the two lie apart. The log of these very members goes on, as in etcd; any other
    would be served as theirs, and members could disagree on what it says."""
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


def _join(config: Config, existing: Cluster) -> None:
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
        begin_recovering(config.member_path, existing.lives.get(own, 0))
    durable.write(_joining(config), msgspec.json.encode(existing.membership))
    durable.write(_identity(config), f"{own:x} {existing.id:x}\n".encode())


def _found(config: Config, machine: StateMachine) -> None:
    """First start of a member of a new cluster: membership from the flags."""
    token = config.initial_cluster_token
    members = [
        Member(id=member_id(urls, token), peer_urls=tuple(map(str, urls)))
        for urls in config.initial_peers.values()
    ]
    cluster = cluster_id(member.id for member in members)
    _refuse_foreign_log(config, {member.id for member in members})
    machine.bootstrap(members, cluster)
    own = member_id(config.initial_peers[config.name], token)
    durable.write(_identity(config), f"{own:x} {cluster:x}\n".encode())
