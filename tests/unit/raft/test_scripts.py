"""The Raft core's test scripts: `tests/testscripts/raft/*.txt`.

    TESTSCRIPTS=record python -m pytest tests/unit/raft/test_scripts.py     records them anew

Commands:

    cluster 1 2 3 [learners=4]   start members that found a cluster; leader=1: without a word, and
                                 member 1 is elected
    join 4                       start a member without state, whose ConfChange was made
    timeout 1                    the election timer of member 1 runs out; then everything settles
    wait 0.5                     half a second passes, step by step of a heartbeat; heartbeats and
                                 the replies to them are left out
    write 1 x                    a client of member 1 proposes x; then everything settles
    read 1                       a client of member 1 reads
    transfer 1 2                 member 1 hands leadership to member 2
    change 1 voters=1,2,4 [learners=3] [removed=3]     a ConfChange is proposed to member 1
    cut 1 2 | cut 1              messages between 1 and 2, or of 1 with all, are lost
    disconnect 1                 so are those of 1; the others notice it, and 1 does not
    heal                         no messages are lost any more
    crash 1, restart 1           the process ends, and starts on what it had flushed
    slow-disk 2, flush 2         member 2's flushes wait until `flush`
    compact 1                    member 1 forgets the entries that its state holds
    settle                       messages are delivered until nothing happens any more
    log 1, status                what a member's log holds; roles and indexes of all
"""

import re
from pathlib import Path

import pytest

from tests.support.testscript import Command, Run, replay
from tests.unit.raft.simulated import (
    HEARTBEAT,
    Cluster,
    Member,
    conf_change,
    entry_text,
    membership_of,
)

SCRIPTS = Path(__file__).parents[2] / "testscripts" / "raft"


#: Lines that `wait` leaves out.
HEARTBEATS = re.compile(r"append term=\d+ (heartbeat|prev=\S+ commit=\d+)( \(|$)|accepted|alive")


class Script:
    """The commands of one script."""

    def __init__(self, directory: Path) -> None:
        self._cluster = Cluster(directory)
        self.commands: dict[str, Run] = {
            "cluster": self.cluster,
            "join": self.join,
            "timeout": self.timeout,
            "wait": self.wait,
            "write": self.write,
            "read": self.read,
            "transfer": self.transfer,
            "change": self.change,
            "cut": self.cut,
            "disconnect": self.disconnect,
            "heal": self.heal,
            "crash": self.crash,
            "restart": self.restart,
            "slow-disk": self.slow_disk,
            "flush": self.flush,
            "compact": self.compact,
            "settle": self.settle,
            "log": self.log,
            "status": self.status,
        }

    def _member(self, command: Command) -> Member:
        return self._cluster.members[int(command.argument())]

    def _settled(self) -> list[str]:
        self._cluster.settle()
        return self._cluster.said()

    def cluster(self, command: Command) -> list[str]:
        voters = [int(member) for member in command.rest()]
        learners = [int(member) for member in command.option("learners", "").split(",") if member]
        membership = membership_of({"voters": voters, "learners": learners})
        for member in (*voters, *learners):
            self._cluster.add(member, membership)
        leader = command.option("leader", "")
        if not leader:
            return self._settled()
        self._run_out(self._cluster.members[int(leader)])
        return []

    def join(self, command: Command) -> list[str]:
        member = int(command.argument())
        known = self._cluster.running()[0].core.membership
        self._cluster.add(member, known, joining=True)
        return self._settled()

    def timeout(self, command: Command) -> list[str]:
        return self._run_out(self._member(command))

    def _run_out(self, one: Member) -> list[str]:
        self._cluster.settle()
        one.core._campaign.timer._deadline = self._cluster.now
        one.woken = True
        return self._settled()

    def wait(self, command: Command) -> list[str]:
        for _ in range(round(float(command.argument()) / HEARTBEAT)):
            # (A little more, for a heartbeat is due when its time is over.)
            self._cluster.now += HEARTBEAT * 1.01
            for one in self._cluster.running():
                one.woken = True
            self._cluster.settle()
        return [line for line in self._cluster.said() if not HEARTBEATS.search(line)]

    def write(self, command: Command) -> list[str]:
        one, payloads = self._member(command), command.rest()
        for payload in payloads:
            done = self._cluster.answering(f'write "{payload}"', one.id)
            one.core.propose(payload.encode(), done, self._cluster.now + 7)
        one.woken = True
        return self._settled()

    def read(self, command: Command) -> list[str]:
        one = self._member(command)

        def done(error: object) -> None:
            found = error if isinstance(error, Exception) else " ".join(one.machine.payloads)
            self._cluster.answering("read", one.id)(found)

        one.core.read(done, self._cluster.now + 7)
        one.woken = True
        return self._settled()

    def transfer(self, command: Command) -> list[str]:
        one, target = self._member(command), int(command.argument())
        done = self._cluster.answering(f"transfer to {target}", one.id)
        one.core.transfer(target, done, self._cluster.now)
        one.woken = True
        return self._settled()

    def change(self, command: Command) -> list[str]:
        one = self._member(command)
        fields = {
            name: [int(member) for member in command.option(name, "").split(",") if member]
            for name in ("voters", "learners", "removed")
        }
        done = self._cluster.answering("change", one.id)
        one.core.propose(conf_change(membership_of(fields)), done, self._cluster.now + 7)
        one.woken = True
        return self._settled()

    def cut(self, command: Command) -> None:
        one = int(command.argument())
        others = [int(member) for member in command.rest()] or list(self._cluster.members)
        self._cluster.cut |= {(one, other) for other in others if other != one}
        self._cluster.cut |= {(other, one) for other in others if other != one}

    def heal(self, command: Command) -> None:
        self._cluster.heal()

    def disconnect(self, command: Command) -> list[str]:
        self._cluster.disconnect(int(command.argument()))
        return self._settled()

    def crash(self, command: Command) -> list[str]:
        self._cluster.stop(int(command.argument()))
        return self._settled()

    def restart(self, command: Command) -> list[str]:
        self._cluster.start(int(command.argument()))
        return self._settled()

    def slow_disk(self, command: Command) -> None:
        self._member(command).slow_disk = True

    def flush(self, command: Command) -> list[str]:
        one = self._member(command)
        one.slow_disk = False
        self._cluster.flush(one)
        return self._settled()

    def compact(self, command: Command) -> None:
        one = self._member(command)
        one.journal.compact(one.core.applied_index)

    def settle(self, command: Command) -> list[str]:
        return self._settled()

    def log(self, command: Command) -> list[str]:
        one = self._member(command)
        return [entry_text(entry) for entry in one.journal.entries(0, 1 << 60)]

    def status(self, command: Command) -> list[str]:
        return [
            f"{one.id} {'leader' if one.core.is_leader else 'follower'} term={one.core.term} "
            f"leader={one.core.leader} commit={one.core.commit_index} "
            f"applied={one.core.applied_index} last={'/'.join(map(str, one.last))}"
            for one in self._cluster.running()
        ]


@pytest.mark.parametrize("name", sorted(path.stem for path in SCRIPTS.glob("*.txt")))
def test_the_core_behaves_as_its_script_records(name: str, tmp_path: Path) -> None:
    replay(SCRIPTS / f"{name}.txt", Script(tmp_path).commands)
