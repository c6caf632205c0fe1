"""The ids of this member and its cluster, and the known members, as stored on disk.

    <data-dir>/member/identity    "<member id> <cluster id>", hex; written once, durable
    <data-dir>/member/joining     the member list a joining member received, used until the state
                                  of the cluster has arrived

`bootstrap.py` writes both files at the first start.
"""

from pathlib import Path
from typing import NamedTuple

import msgspec

from rusd.base import durable
from rusd.config import Config, ConfigError
from rusd.raft.ports import Membership
from rusd.state.machine import StateMachine

#: What a member logs that finds itself removed.
REMOVED = (
    "the member has been permanently removed from the cluster: "
    "data-dir used by this member must be removed"
)


class Identity(NamedTuple):
    """The ids of one member."""

    member_id: int
    cluster_id: int


def identity_path(config: Config) -> Path:
    """Return the path of the file that exists once the member was bootstrapped."""
    return config.member_path / "identity"


def read_identity(config: Config) -> Identity:
    """Read the identity back. Raises ConfigError if the file is damaged."""
    path = identity_path(config)
    try:
        member, cluster = (int(part, 16) for part in path.read_text().split())
    except ValueError as error:
        raise ConfigError(f"{path} is damaged") from error
    return Identity(member, cluster)


def write_identity(config: Config, identity: Identity) -> None:
    """Write the identity durably: from then on the member is bootstrapped."""
    text = f"{identity.member_id:x} {identity.cluster_id:x}\n"
    durable.write(identity_path(config), text.encode())


def known_membership(config: Config, machine: StateMachine) -> Membership:
    """Return the members of the replicated state, or of `joining` until that has arrived."""
    if machine.members.cluster_id:
        return machine.members.membership()
    path = _joining_path(config)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Membership)
    except (FileNotFoundError, msgspec.DecodeError) as error:
        raise ConfigError(
            f"{config.member_path / 'state'} holds nothing, but this member is not new: its data "
            f"was lost or damaged (or it was joining, and {path} is)"
        ) from error


def write_joining(config: Config, membership: Membership) -> None:
    """Write durably the member list that a joining member received."""
    durable.write(_joining_path(config), msgspec.json.encode(membership))


def _joining_path(config: Config) -> Path:
    return config.member_path / "joining"
