"""Who this member is: derived from the flags at its first start, read back at every later one.

    <data-dir>/member/identity    "<member id> <cluster id>", hex; written once, durable

At a first start the ids follow from `--initial-cluster` and its token exactly as etcd derives them,
so all members of a new cluster come to the same membership without talking. Later the flags of
bootstrap are ignored, as in etcd: the data directory says who the member is.
"""

import os
from typing import NamedTuple

from rusd.config import Config, ConfigError
from rusd.state.identity import cluster_id, member_id
from rusd.state.machine import StateMachine
from rusd.state.members import Member


class Identity(NamedTuple):
    """This member among the members."""

    member_id: int
    cluster_id: int


def establish(config: Config, machine: StateMachine) -> Identity:
    """This member's identity; the first membership is written to a fresh `machine`.

    Raises ConfigError if the data directory contradicts itself or the flags cannot found a member.
    """
    path = config.member_path / "identity"
    if not path.exists():
        if machine.members.cluster_id and machine.positions()[0].index > 1:
            raise ConfigError(f"{path} is missing, but the data directory is not new")
        _found(config, machine)
    try:
        member, cluster = (int(part, 16) for part in path.read_text().split())
    except ValueError as error:
        raise ConfigError(f"{path} is damaged") from error
    if machine.members.cluster_id != cluster or machine.members.get(member) is None:
        raise ConfigError(f"{path} does not fit the data beside it")
    return Identity(member, cluster)


def _found(config: Config, machine: StateMachine) -> None:
    """First start: membership from the flags."""
    if config.initial_cluster_state == "existing":
        raise ConfigError("joining an existing cluster is not supported yet")
    token = config.initial_cluster_token
    members = [
        Member(id=member_id(urls, token), peer_urls=tuple(urls))
        for urls in config.initial_peers.values()
    ]
    cluster = cluster_id(member.id for member in members)
    machine.bootstrap(members, cluster)
    own = member_id(config.initial_peers[config.name], token)
    path = config.member_path / "identity"
    draft = path.with_suffix(".new")
    with draft.open("w") as file:
        file.write(f"{own:x} {cluster:x}\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    directory = os.open(config.member_path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
