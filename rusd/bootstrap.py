"""Who this member is: derived from the flags at its first start, read back at every later one.

    <data-dir>/member/identity    "<member id> <cluster id>", hex; written once, durable
    <data-dir>/member/joining     the members a joining member was told of, until its state came

At the first start of a new cluster the ids follow from `--initial-cluster` and its token exactly as
etcd derives them, so all members come to the same membership without talking. A member that joins
(`--initial-cluster-state=existing`) asks those that are there, and finds itself by its peer URLs.
Later the flags of bootstrap are ignored, as in etcd: the data directory says who the member is.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from rusd.config import Config, ConfigError
from rusd.errors import Removed
from rusd.logs import get_logger
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.forcing import force
from rusd.raft.joining import Cluster, ask_all
from rusd.raft.journal import Journal
from rusd.raft.ports import Membership
from rusd.state.command import Kind, encode
from rusd.state.identity import cluster_id, member_id
from rusd.state.machine import StateMachine
from rusd.state.members import Member, Members

log = get_logger(__name__)

REMOVED = "the member has been permanently removed from the cluster"


class Identity(NamedTuple):
    """This member among the members."""

    member_id: int
    cluster_id: int


async def inquire(config: Config) -> Cluster | None:
    """What the running cluster says of itself, if this is the first start of a member that joins
    it. ConfigError if nobody answers."""
    if config.initial_cluster_state != "existing" or _identity(config).exists():
        return None
    own = config.initial_peers[config.name]
    found = await ask_all(urls for urls in config.initial_peers.values() if urls != own)
    if not found:
        raise ConfigError(
            "cannot fetch cluster info from peer urls: could not retrieve cluster information "
            "from the given URLs"
        )
    return found[0]


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
        force(journal, machine, lambda: _removals(machine.members, own))
    finally:
        journal.close()
    log.warning(
        "forced a new cluster of this member alone",
        extra={"fields": {"local-member-id": f"{own:x}"}},
    )


def _removals(members: Members, own: int) -> Iterator[bytes]:
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


def _join(config: Config, existing: Cluster) -> None:
    """First start of a member that was added to a running cluster."""
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
    _write(_joining(config), msgspec.json.encode(existing.membership))
    _write(_identity(config), f"{own:x} {existing.id:x}\n".encode())


def _found(config: Config, machine: StateMachine) -> None:
    """First start of a member of a new cluster: membership from the flags."""
    token = config.initial_cluster_token
    members = [
        Member(id=member_id(urls, token), peer_urls=tuple(urls))
        for urls in config.initial_peers.values()
    ]
    cluster = cluster_id(member.id for member in members)
    machine.bootstrap(members, cluster)
    own = member_id(config.initial_peers[config.name], token)
    _write(_identity(config), f"{own:x} {cluster:x}\n".encode())


def _write(path: Path, content: bytes) -> None:
    """Durably, as a whole or not at all."""
    draft = path.with_suffix(".new")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
