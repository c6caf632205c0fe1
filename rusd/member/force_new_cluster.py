"""`--force-new-cluster`: makes this member the only one of its cluster, before it starts.

`raft/force_new_cluster.py` applies the whole log and appends the changes given here: a promotion if
the member is a learner, and the removal of every other member.
"""

from collections.abc import Iterator

from rusd.base.logs import get_logger
from rusd.config import Config, ConfigError
from rusd.member.bootstrap import establish
from rusd.member.identity import identity_path
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.force_new_cluster import force
from rusd.raft.log.journal import Journal
from rusd.raft.transport.incarnations import end_recovering
from rusd.state.command import Kind, encode
from rusd.state.machine import StateMachine
from rusd.state.members import Members

log = get_logger(__name__)


def force_new_cluster(config: Config, machine: StateMachine) -> None:
    """Remove every other member from the state of this one; does nothing at a first start.

    Raises ConfigError if the data directory is not a member's, JournalError.
    """
    if not identity_path(config).exists():
        return
    own = establish(config, machine).member_id
    journal = Journal(config.wal_path)
    try:
        force(journal, machine, lambda: removals(machine.members, own))
    finally:
        journal.close()
    end_recovering(config.member_path)
    log.warning(
        "forced a new cluster of this member alone",
        extra={"fields": {"local-member-id": f"{own:x}"}},
    )


def removals(members: Members, own: int) -> Iterator[bytes]:
    """Yield the commands that leave `own` as the only voter and the only member."""
    member = members.get(own)
    if member is None:
        raise ConfigError("--force-new-cluster: the log says that this member was removed")
    if member.is_learner:
        yield encode(Kind.MEMBER_PROMOTE, rpc.Member(ID=own).SerializeToString())
    for other in members:
        if other.id != own:
            yield encode(Kind.MEMBER_REMOVE, rpc.Member(ID=other.id).SerializeToString())
