"""Going on without a quorum: what the log holds is applied, then what is added to it."""

from collections.abc import Callable
from pathlib import Path

from rusd.proto import rpc_pb2 as rpc
from rusd.raft.commands import NO_OP, encode_conf_change, encode_entry
from rusd.raft.force_new_cluster import force
from rusd.raft.log.journal import Journal
from rusd.state.command import Kind, encode
from rusd.state.machine import StateMachine
from rusd.state.members import Member


def put(key: bytes) -> bytes:
    return encode(Kind.PUT, rpc.PutRequest(key=key, value=b"v").SerializeToString())


def remove(member: int) -> bytes:
    return encode(Kind.MEMBER_REMOVE, rpc.Member(ID=member).SerializeToString())


def with_log(directory: Path, test: Callable[[Journal, StateMachine], None]) -> None:
    """Entries 2 to 101 of term 3, of which none is applied."""
    machine = StateMachine(directory / "state")
    machine.bootstrap([Member(1, "a", ("http://a:1",)), Member(2, "b", ("http://b:1",))], 9)
    journal = Journal(directory / "wal")
    journal.setCurrentTerm(3, None)
    journal.add(NO_OP, 1, 0)
    for n in range(2, 102):
        journal.add(encode_entry([(2, n, put(b"k%d" % n))]), n, 3)
    journal.flush()
    try:
        test(journal, machine)
    finally:
        journal.close()
        machine.close()


def test_the_whole_log_is_applied_before_the_changes_are_chosen(tmp_path: Path) -> None:
    def test(journal: Journal, machine: StateMachine) -> None:
        seen: list[int] = []

        def changes() -> list[bytes]:
            seen.append(machine.positions()[0].index)
            return [remove(2)]

        force(journal, machine, changes)
        assert seen == [101]
        assert machine.store.revision == 101
        assert [member.id for member in machine.members] == [1]
        assert machine.positions()[0] == (102, 3)
        assert journal.durable_index == journal.last_index == 102

    with_log(tmp_path, test)


def test_a_second_time_changes_nothing(tmp_path: Path) -> None:
    def test(journal: Journal, machine: StateMachine) -> None:
        force(journal, machine, lambda: [remove(2)])
        force(journal, machine, lambda: [])
        assert machine.positions()[0].index == journal.last_index == 102

    with_log(tmp_path, test)


def test_what_was_cut_off_after_the_log_was_written_is_applied_next_time(tmp_path: Path) -> None:
    def test(journal: Journal, machine: StateMachine) -> None:
        force(journal, machine, lambda: [])
        journal.add(encode_conf_change((0, 0, remove(2))), 102, 3)
        journal.flush()
        force(
            journal, machine, lambda: [remove(each.id) for each in machine.members if each.id > 1]
        )
        assert [member.id for member in machine.members] == [1]
        assert journal.last_index == 102

    with_log(tmp_path, test)
