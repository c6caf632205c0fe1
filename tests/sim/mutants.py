"""The remedies of `rusd/raft` broken on purpose: each must be noticed within some schedules.

    python -m tests.sim.mutants [--seeds 400] [name …]

Two of them need messages in an order that TCP does not give, four show once in thousands of
schedules; unit tests notice those.

A mutant is a context manager that breaks one thing while schedules run. Each names the hazard of
PySyncObj, or the rule of Raft, whose remedy it takes away.
"""

import argparse
import io
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, redirect_stdout
from typing import Any
from unittest.mock import patch

import pytest

import rusd.mvcc.store
import rusd.raft.driver
import rusd.raft.read.waiting
import rusd.raft.transport.requests
import tests.sim.world
from rusd.member.member_list import MemberList
from rusd.raft.commands import encode_conf_change
from rusd.raft.core.campaign import Campaign
from rusd.raft.core.clock import Clock
from rusd.raft.core.commit_notice import CommitNotice
from rusd.raft.core.conf_change import ConfChanges
from rusd.raft.core.core import Core
from rusd.raft.core.filters import Filters
from rusd.raft.core.proposals import ForwardedBatches, Proposals
from rusd.raft.core.quarantine import Quarantine
from rusd.raft.core.ready import Ready
from rusd.raft.core.syncobj import PySyncObjRaft
from rusd.raft.driver import Driver
from rusd.raft.read.linearizable import LinearizableReads
from rusd.raft.read.rounds import ReadIndexRounds
from rusd.raft.read.waiting import WaitingReads
from rusd.raft.transport.frames import AppendReply
from rusd.raft.transport.handshake import Handshake
from tests.sim import directories
from tests.sim.__main__ import schedule
from tests.sim.disk import SimJournal
from tests.sim.engine import Store
from tests.sim.invariants import Violation

MUTANTS: dict[str, Callable[[], AbstractContextManager[Any]]] = {}


def mutant(make: Callable[[], Iterator[None]]) -> Callable[[], AbstractContextManager[None]]:
    """Register one."""
    MUTANTS[make.__name__] = found = contextmanager(make)
    return found


@mutant
def acknowledgements_of_an_earlier_term() -> Iterator[None]:
    """Hazard 1: taken as if they spoke of this leadership."""

    def believe(self: Filters, member: int, message: dict[str, Any]) -> dict[str, Any] | None:
        return message if self._raft.is_leader else None

    with patch.object(Filters, "_acknowledgement", believe):
        yield


@mutant
def heartbeats_commit_the_tail() -> Iterator[None]:
    """Hazard 2: a commit index is followed by a log that was not compared with the leader's."""
    original = Filters._append_entries

    def follow(self: Filters, member: int, message: dict[str, Any]) -> dict[str, Any] | None:
        if message.get("entries") == [] and message["term"] >= self._raft.term:
            kept = ("type", "term", "commit_index")
            return {name: message[name] for name in kept}
        return original(self, member, message)

    with patch.object(Filters, "_append_entries", follow):
        yield


@mutant
def matching_entries_are_truncated() -> Iterator[None]:
    """Hazard 3: a resend that overlaps the log removes what was acknowledged behind it."""

    def let_through(self: Filters, member: int, message: dict[str, Any]) -> dict[str, Any] | None:
        return None if message["term"] < self._raft.term else message

    with patch.object(Filters, "_append_entries", let_through):
        yield


@mutant
def a_rejection_moves_a_follower_forward() -> Iterator[None]:
    """A follower of an earlier release with a conflict never catches up by several appends at a
    time; those of this one say which of their rejections are of earlier attempts.
    """
    with patch.object(PySyncObjRaft, "next_index", lambda self, member: 1 << 62):
        yield


@mutant
def messages_leave_before_the_flush() -> Iterator[None]:
    """Hazards 7-9: acknowledgements and votes assert what is not on the disk yet."""
    original = Driver._send_now

    def send(self: Driver, ready: Ready) -> None:
        original(self, ready)
        self._send(ready.after_flush)

    with patch.object(Driver, "_send_now", send):
        yield


@mutant
def an_apply_cut_short_is_not_forgotten() -> Iterator[None]:
    """Writes ahead of an apply's commit are kept after a restart."""
    with patch.object(rusd.mvcc.store.uncommitted, "forget", lambda engine: None):
        yield


@mutant
def the_disk_does_not_keep_what_it_says() -> Iterator[None]:
    """No fdatasync: a flush is lost in a crash like anything else."""
    original = SimJournal.crash

    def forget(self: SimJournal) -> None:
        segments, taken = self._segments, getattr(self, "_offset_before", None)
        if taken is not None and segments._file is not None and taken < segments._offset:
            import os

            os.pwrite(segments._file, bytes(segments._offset - taken), taken)
        original(self)

    flush = SimJournal.flush

    def note(self: SimJournal) -> bool:
        before = self._segments._offset
        done = flush(self)
        if done and self._segments._offset > before:
            self._offset_before = before  # type: ignore[attr-defined]
        return done

    with patch.object(SimJournal, "crash", forget), patch.object(SimJournal, "flush", note):
        yield


@mutant
def a_vote_is_forgotten() -> Iterator[None]:
    """Hazard 8: term and vote are kept in memory only."""

    def forget(self: SimJournal, term: int, vote: str | None) -> None:
        self._term, self._vote = term, vote or ""
        self.durable = (term, vote)

    with patch.object(SimJournal, "setCurrentTerm", forget):
        yield


@mutant
def no_prevote() -> Iterator[None]:
    """A member that was cut off raises its term and deposes a healthy leader on its return."""
    original = Campaign.step

    def step(self: Campaign, now: float, reachable: bool) -> None:
        raft = self._raft
        if not raft.is_leader and self.timer.others and self.timer.due(now):
            raft.campaign()
        else:
            original(self, now, reachable)

    def never(self: Campaign) -> bool:
        return False

    with patch.object(Campaign, "step", step), patch.object(Campaign, "sticks_to_leader", never):
        yield


@mutant
def stalls_count_as_silence() -> Iterator[None]:
    """A member that stood still judges the others by what it read before.

    Schedules did not notice: what arrived meanwhile was handed over before any timer ran.
    """
    with patch.object(Clock, "now", lambda self: self._source()):
        yield


@mutant
def no_check_quorum() -> Iterator[None]:
    """A leader that nobody hears leads on."""
    original = PySyncObjRaft.__init__

    def init(self: PySyncObjRaft, *arguments: Any, **named: Any) -> None:
        original(self, *arguments, **{**named, "quorum_timeout": 1e6})

    with patch.object(PySyncObjRaft, "__init__", init):
        yield


@mutant
def reads_ask_nobody() -> Iterator[None]:
    """A leader answers reads by its commit index, as if it knew that it still leads."""

    def open_round(self: ReadIndexRounds, commit_index: int) -> None:
        readers, self._waiting = self._waiting, []
        for reader in readers:
            reader(commit_index)

    with patch.object(ReadIndexRounds, "open", open_round):
        yield


@mutant
def reads_do_not_wait_for_an_entry_of_the_term() -> Iterator[None]:
    """A new leader does not know yet what earlier ones committed."""
    original = LinearizableReads.step

    def step(self: LinearizableReads, now: float, *, current: bool, leader_connected: bool) -> None:
        original(self, now, current=True, leader_connected=leader_connected)

    with patch.object(LinearizableReads, "step", step):
        yield


@mutant
def every_rejection_is_followed() -> Iterator[None]:
    """No promise breaks; a leader sends the same entries once for each of a burst of rejections."""

    def complete(self: Filters, message: dict[str, Any]) -> None:
        original(self, message)
        if message["type"] == "next_node_idx":
            message.pop("attempt", None)

    original = Filters.complete
    with patch.object(Filters, "complete", complete):
        yield


@mutant
def every_leader_is_confirmed() -> Iterator[None]:
    """A member confirms one that led an earlier term, between two steps or within one."""
    with patch.object(LinearizableReads, "follows", lambda self, member, message: True):
        yield


@mutant
def answers_to_an_earlier_round_confirm_a_later_one() -> Iterator[None]:
    """They were given before the read came, perhaps before another leader was elected.

    Schedules hardly notice: the answer must be under way during an election.
    """

    def confirm(self: ReadIndexRounds, member: int, number: int) -> None:
        original(self, member, self._number)

    original = ReadIndexRounds.confirm
    everything = patch.object(ReadIndexRounds, "awaits", lambda self, number: True)
    with patch.object(ReadIndexRounds, "confirm", confirm), everything:
        yield


@mutant
def replies_that_are_needed_can_wait() -> Iterator[None]:
    """A commit waits for the next turn with another cause: no promise breaks, every write is late.

    Schedules cannot notice: a turn comes soon.
    """
    with patch.object(
        Core, "can_wait", lambda self, member, message: isinstance(message, AppendReply)
    ):
        yield


@mutant
def ticks_are_skipped_after_a_change() -> Iterator[None]:
    """A commit waits until a quiet leader looks for its quorum; schedules cannot notice either."""
    changed = property(lambda self: False, lambda self, changed: None)
    with patch.object(PySyncObjRaft, "_changed", changed, create=True):
        yield


@mutant
def a_quiet_leader_never_looks_for_its_quorum() -> Iterator[None]:
    """A leader that hears nothing sends heartbeats and looks for nothing.

    Schedules did not notice: their clients write, and each entry brings a tick.
    """
    original = PySyncObjRaft.tick

    def tick(self: PySyncObjRaft) -> None:
        if self._changed or not self.is_leader:
            original(self)
        elif self.now > self._SyncObj__newAppendEntriesTime:
            self.send_appends()

    with patch.object(PySyncObjRaft, "tick", tick):
        yield


@mutant
def a_commit_is_told_with_the_next_entries_only() -> Iterator[None]:
    """Followers on which a call waits learn of it with a heartbeat; calls are late, not lost."""
    with patch.object(CommitNotice, "recipients", lambda *_, **__: []):
        yield


@mutant
def questions_are_numbered_alike_in_each_life() -> Iterator[None]:
    """An answer to a question of a member's last life answers one of the next.

    Schedules did not notice as long as what a process had sent was lost with it, and as long as a
    member was hardly ever restarted twice while its clients read over slow links: the numbers of
    two lives have to meet within one round trip.
    """
    with patch.object(rusd.raft.driver, "first_number", lambda: 0):
        yield


@mutant
def questions_to_members_are_numbered_alike_in_each_life() -> Iterator[None]:
    """The same of the small questions between members, which schedules did not ask."""
    with patch.object(rusd.raft.transport.requests, "first_number", lambda: 0):
        yield


@mutant
def questions_are_replaced_when_they_are_repeated() -> Iterator[None]:
    """A follower behind a slow link never reads: each answer is to a question given up.

    Schedules did not notice: links were slow for a second at most, and no read had to succeed.
    """

    def ask_again(self: WaitingReads, now: float, *, everything: bool = False) -> None:
        for number, request in list(self._requests.items()):
            if everything or now - request.asked_at > rusd.raft.read.waiting.RETRY:
                del self._requests[number]
                self._new += request.reads

    with patch.object(WaitingReads, "ask_again", ask_again):
        yield


@mutant
def forwarded_twice_is_taken_twice() -> Iterator[None]:
    """Proposals sent again over a new connection are appended again."""

    def accept(self: ForwardedBatches, term: int, batch: Any) -> Any:
        return list(batch)

    with patch.object(ForwardedBatches, "accept", accept):
        yield


@mutant
def proposed_again_at_every_new_term() -> Iterator[None]:
    """A proposal is repeated when the leader changes, without proof that it was lost."""
    original = Core._role_change

    def changed(self: Core, now: float) -> Any:
        role, lost = original(self, now)
        if role is not None:
            self._proposals.lost_before(role.term)
        return role, lost

    with patch.object(Core, "_role_change", changed):
        yield


@mutant
def lost_proposals_are_forgotten() -> Iterator[None]:
    """Proposals that a deposed leader took are neither proposed again nor failed."""

    def forget(self: Proposals, term: int) -> None:
        """Nothing."""

    with (
        patch.object(Proposals, "lost_before", forget),
        patch.object(Proposals, "fail", lambda *_, **__: []),
    ):
        yield


@mutant
def changes_do_not_wait_for_each_other() -> Iterator[None]:
    """Two memberships may then have majorities without a common member."""

    def step(self: ConfChanges, *, current: bool) -> bool:
        raft = self._raft
        while self._waiting and self._term == raft.term:
            command = encode_conf_change(self._waiting.popleft())
            self._last_index = raft.propose(command)
        return bool(self._last_index)

    with (
        patch.object(ConfChanges, "step", step),
        patch.object(Campaign, "may", lambda self: self._raft.votes),
    ):
        yield


@mutant
def a_lone_member_commits_before_its_flush() -> Iterator[None]:
    """PySyncObj commits its first entry in the moment it is made."""

    def campaign(self: PySyncObjRaft) -> None:
        self._SyncObj__raftElectionDeadline = float("-inf")
        self.doTick(0.0)
        self._SyncObj__raftElectionDeadline = float("inf")

    with patch.object(PySyncObjRaft, "campaign", campaign):
        yield


@mutant
def a_silent_leader_is_never_forgotten() -> Iterator[None]:
    """A member that was removed while it was cut off would never ask."""
    with patch.object(PySyncObjRaft, "forget_leader", lambda self: None):
        yield


@mutant
def what_a_lost_leader_sent_is_not_read() -> Iterator[None]:
    """A member that was busy when its leader removed it does not learn it from its log.

    Schedules did not notice: they asked no member how it had learnt of its removal.
    """
    original = Driver._lost

    def lost(self: Driver, member: int) -> None:
        self._inbox = [one for one in self._inbox if one[0] != member]
        original(self, member)

    with patch.object(Driver, "_lost", lost):
        yield


@mutant
def peers_are_believed_before_the_log() -> Iterator[None]:
    """A member ends by what peers say of it while its log waits for a flush to say the same."""

    async def believe(self: MemberList) -> None:
        """Nothing."""

    with patch.object(MemberList, "_leave_it_to_the_log", believe):
        yield


@mutant
def strangers_are_never_met() -> Iterator[None]:
    """A member that fell behind refuses a leader that joined meanwhile."""
    with patch.object(Core, "meet", lambda self, others, index: None):
        yield


@mutant
def the_log_is_cut_before_the_state_is_durable() -> Iterator[None]:
    """Compaction without a synced state: a power loss between the two loses applied entries."""
    from rusd.state.machine import StateMachine

    with patch.object(StateMachine, "sync", lambda self: None):
        yield


@mutant
def the_state_is_torn_in_the_middle() -> Iterator[None]:
    """An engine whose batches are not atomic."""

    def crash(self: Store, chance: Any) -> None:
        for undo in reversed(self.unsynced):
            for family, key, value in reversed(undo):
                if chance.random() < 0.5:
                    if value is None:
                        self.families[family].pop(key, None)
                    else:
                        self.families[family][key] = value
        self.unsynced.clear()

    with patch.object(Store, "crash", crash):
        yield


@mutant
def a_joining_member_takes_entries_before_its_state() -> Iterator[None]:
    """It would count as holding a log that nothing was applied below."""
    with patch.object(Core, "_without_entries", lambda self, member, append: append):
        yield


@mutant
def a_copy_is_told_by_its_number() -> Iterator[None]:
    """A copy of a data directory that was started more often than the original is taken for it.

    One schedule in 3,000 shows it: the copy must be started twice before anybody meets it.
    """
    from rusd.raft.transport.incarnations import Incarnation

    with patch.object(Incarnation, "follows", lambda self, other: self.number >= other.number):
        yield


@mutant
def stand_ins_are_sent() -> Iterator[None]:
    """A member one entry short of a log that begins behind a snapshot gets no command.

    The simulation had let it pass for long: it excused every entry without a command from log
    matching, and so looked at the stand-ins nowhere. Even so it shows once in thousands of
    schedules.
    """
    with patch.object(PySyncObjRaft, "_stand_in", lambda self: 0):
        yield


@mutant
def copies_of_a_vote_count() -> Iterator[None]:
    """Hazard 12: PySyncObj counts messages, not voters."""

    def count(self: Filters, member: int, message: dict[str, Any]) -> dict[str, Any] | None:
        return message

    with patch.object(Filters, "_response_vote", count):
        yield


@mutant
def a_lost_disk_is_not_noticed() -> Iterator[None]:
    """A member that lost its disk, or is on an older copy of it, is taken for what it was."""
    with patch.object(Handshake, "_judge", lambda *_: None):
        yield


@mutant
def a_member_in_quarantine_takes_part() -> Iterator[None]:
    """It votes and acknowledges though others know more of it than its disk."""
    never = property(lambda self: False, lambda self, active: None)
    with patch.object(Quarantine, "active", never, create=True):
        yield


@mutant
def quarantine_ends_with_any_state() -> Iterator[None]:
    """The first leader that is met ends it, also one that leads no more."""
    original = Quarantine.step

    def step(self: Quarantine) -> bool:
        self._answered = self.active
        return original(self)

    with patch.object(Quarantine, "step", step):
        yield


@mutant
def those_left_behind_are_not_told() -> Iterator[None]:
    """Members that one went on without (`--force-new-cluster`) ask nobody when they start."""

    async def heed(own: Any, others: Any) -> None:
        """Nothing."""

    with patch.object(tests.sim.world, "check_not_removed", heed):
        yield


_HAZARDS = "tests/unit/raft/test_hazards.py::"
#: Mutant -> the unit test that notices it.
BY_UNIT_TEST = {
    "acknowledgements_of_an_earlier_term": _HAZARDS
    + "test_an_acknowledgement_of_an_earlier_leadership_is_ignored",
    "copies_of_a_vote_count": _HAZARDS + "test_two_copies_of_a_vote_are_one_vote",
    "a_lone_member_commits_before_its_flush": _HAZARDS
    + "test_a_member_that_needs_no_vote_commits_nothing_before_it_is_durable",
    "replies_that_are_needed_can_wait": "tests/unit/raft/test_between_turns.py::"
    + "test_an_acknowledgement_that_may_commit_cannot_wait",
    "ticks_are_skipped_after_a_change": "tests/unit/raft/test_between_turns.py::"
    + "test_an_acknowledgement_commits_in_the_step_that_brings_it",
    "a_quiet_leader_never_looks_for_its_quorum": "tests/unit/raft/test_between_turns.py::"
    + "test_a_quiet_leader_without_answers_stands_down_after_an_election_timeout",
    "answers_to_an_earlier_round_confirm_a_later_one": "tests/unit/raft/test_read_index.py::"
    + "test_an_answer_to_an_earlier_round_says_nothing_of_a_later_one",
    "a_rejection_moves_a_follower_forward": "tests/unit/raft/test_hazards.py::"
    + "test_a_conflict_before_several_appends_is_passed",
    "every_rejection_is_followed": "tests/unit/raft/test_hazards.py::"
    + "test_a_conflict_before_several_appends_has_each_entry_sent_once_more",
    "every_leader_is_confirmed": "tests/unit/raft/test_between_turns.py::"
    + "test_a_follower_confirms_its_leader_and_nobody_else",
    "a_commit_is_told_with_the_next_entries_only": "tests/unit/raft/test_commit_notice.py",
    "quarantine_ends_with_any_state": "tests/unit/raft/test_quarantine.py::"
    + "test_an_unconfirmed_leader_does_not_end_it",
    "a_silent_leader_is_never_forgotten": "tests/unit/raft/test_silent_leader.py",
    "a_copy_is_told_by_its_number": "tests/unit/raft/test_handshake.py::"
    + "test_a_copy_is_noticed_however_often_it_was_started_meanwhile",
    "stand_ins_are_sent": "tests/unit/raft/test_stand_ins.py",
    "strangers_are_never_met": "tests/unit/raft/test_reconfiguration.py",
}


def caught(name: str, seeds: int) -> tuple[int, str] | None:
    """Return the first seed that notices a mutant and its verdict, or None if none of `seeds` does.

    Raises RuntimeError if a schedule ends in any other exception than Violation.
    """
    logging.disable(logging.CRITICAL)
    if name in BY_UNIT_TEST:
        with MUTANTS[name](), redirect_stdout(io.StringIO()):
            failed = pytest.main(["-q", "-p", "no:cacheprovider", BY_UNIT_TEST[name]])
        return (0, BY_UNIT_TEST[name]) if failed == pytest.ExitCode.TESTS_FAILED else None
    for seed in range(1, seeds + 1):
        with ExitStack() as stack:
            stack.enter_context(MUTANTS[name]())
            try:
                schedule(seed).run()
            except Violation as found:
                return seed, str(found)
            except Exception as error:
                # No verdict: the mutant may not fit the code any more, or break it by accident.
                raise RuntimeError(f"the mutant {name} fails in seed {seed}") from error
    return None


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.mutants")
    parser.add_argument("names", nargs="*", default=list(MUTANTS), help="which (all)")
    parser.add_argument("--seeds", type=int, default=400, help="tried for each, at most (400)")
    options = parser.parse_args()
    directories.remove_at_sigterm()
    missed = 0
    for name in options.names:
        found = caught(name, options.seeds)
        missed += found is None
        print(f"{name}: {f'seed {found[0]}: {found[1][:150]}' if found else 'MISSED'}", flush=True)
    print(f"{len(options.names)} mutants, {missed} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
