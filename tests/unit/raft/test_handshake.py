"""Acceptance of a process as the member it names, by the durable record of that member."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from msgspec import structs

from rusd.raft.transport import incarnations as incarnations_module
from rusd.raft.transport.frames import (
    MAX_TERM,
    PROTOCOL,
    SMALL,
    Hello,
    HelloRefused,
    Refused,
    decode,
    pack,
)
from rusd.raft.transport.handshake import BOOTSTRAPPED, OLDER, Handshake
from rusd.raft.transport.incarnations import (
    MAX_NUMBER,
    MAX_PAST,
    PAST_BYTES,
    Incarnation,
    Incarnations,
    IncarnationsDamaged,
    Mark,
    begin_recovering,
)
from tests.support.frames import fields_of, raw

B, C = 2, 3
#: Names in a hello of these tests: their starts are fewer than a member's.
PAST = 8


class Side:
    """A process of a member on its directory."""

    def __init__(
        self, member: int, directory: Path, index: int = 0, term: int = 0, features: int = 0
    ) -> None:
        self.incarnations = Incarnations(directory)
        self.mark = Mark(term, index)
        self.joining = False
        self.shake = Handshake(
            member,
            77,
            self.incarnations,
            mark=lambda: self.mark,
            joining=lambda: self.joining,
            features=features,
        )
        self.told: list[str] = []
        self.shake.on_bootstrapped = lambda: self.told.append(BOOTSTRAPPED)
        self.shake.on_older = self.older
        self.member = member

    def older(self, number: int) -> None:
        self.told.append(OLDER)
        self.incarnations.recover(number)

    def meets(self, other: Side) -> str | None:
        """Why the hello of another is refused, who hears of it; None: it is connected."""
        hello = other.shake.hello(self.member)
        refusal = self.shake.receive(hello)
        if refusal is None:
            return None
        other.shake.refused(self.member, refusal)
        return str(refusal.why)


@pytest.fixture(autouse=True)
def few_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incarnations_module, "MAX_PAST", PAST)


@pytest.fixture
def c(tmp_path: Path) -> Side:
    return Side(C, tmp_path / "c", index=10)


def connected_once(c: Side, directory: Path, **place: int) -> None:
    assert c.meets(Side(B, directory, **place)) is None
    c.shake.lost(B)


def heard_elsewhere(directory: Path, starts: int) -> None:
    """So many starts of member B, of which another member hears."""
    with patch.object(incarnations_module.durable, "write", Path.write_bytes):  # fsyncs take long
        for _ in range(starts):
            Side(B, directory).shake.hello(C)


def test_every_start_on_a_directory_is_accepted(c: Side, tmp_path: Path) -> None:
    for index in (0, 5, 9):
        connected_once(c, tmp_path / "b", index=index)


def test_starts_that_no_peer_notices_are_no_lives(c: Side, tmp_path: Path) -> None:
    connected_once(c, tmp_path / "b", index=5)
    known = c.incarnations.peers[B].incarnation
    for _ in range(3 * PAST):
        Side(B, tmp_path / "b", index=5)
    b = Side(B, tmp_path / "b", index=5)
    assert c.meets(b) is None
    assert c.incarnations.peers[B].incarnation.number == known.number + 1
    assert Incarnations(tmp_path / "b").own.follows(b.incarnations.own), "what was said is durable"


def test_the_features_that_a_members_release_said_last_are_remembered(tmp_path: Path) -> None:
    c = Side(C, tmp_path / "c", index=10)
    assert c.shake.features(B) is None
    for said in (3, 0, 4):
        connected_once(c, tmp_path / "b", index=5, features=said)
        assert c.shake.features(B) == said
        assert Side(C, tmp_path / "c").shake.features(B) == said, "durable"


def test_nothing_is_said_in_a_life_that_is_not_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = Side(B, tmp_path / "b")
    full(monkeypatch)
    with pytest.raises(OSError, match="No space left"):
        b.shake.hello(C)


def test_another_directory_where_nothing_is_was_bootstrapped_before(
    c: Side, tmp_path: Path
) -> None:
    connected_once(c, tmp_path / "b")
    for _ in range(3):
        wiped = Side(B, tmp_path / "b2")
        assert c.meets(wiped) == BOOTSTRAPPED
        assert wiped.told == [BOOTSTRAPPED]


def test_what_was_met_is_known_after_a_restart(c: Side, tmp_path: Path) -> None:
    connected_once(c, tmp_path / "b")
    assert Side(C, tmp_path / "c").meets(Side(B, tmp_path / "b2")) == BOOTSTRAPPED


def test_a_member_that_has_served_and_holds_nothing_was_bootstrapped_before(
    c: Side, tmp_path: Path
) -> None:
    c.shake.started = {B}
    assert c.meets(Side(B, tmp_path / "b")) == BOOTSTRAPPED
    assert c.meets(Side(B, tmp_path / "b2", index=2)) is None


def test_a_copy_is_noticed_however_often_it_was_started_meanwhile(c: Side, tmp_path: Path) -> None:
    connected_once(c, tmp_path / "b")
    shutil.copytree(tmp_path / "b", tmp_path / "copy")
    connected_once(c, tmp_path / "b")
    heard_elsewhere(tmp_path / "copy", 5)
    copy = Side(B, tmp_path / "copy", index=9)
    assert copy.incarnations.own.number > c.shake.incarnations()[B]
    assert c.meets(copy) == OLDER


def test_starts_that_a_peer_did_not_see_are_no_copy(c: Side, tmp_path: Path) -> None:
    connected_once(c, tmp_path / "b")
    heard_elsewhere(tmp_path / "b", PAST - 1)
    connected_once(c, tmp_path / "b", index=9)


def test_after_many_unseen_starts_a_member_names_those_that_its_peer_knows(
    c: Side, tmp_path: Path
) -> None:
    connected_once(c, tmp_path / "b")
    heard_elsewhere(tmp_path / "b", 3 * PAST)
    b = Side(B, tmp_path / "b", index=9)
    assert c.meets(b) == OLDER
    assert b.told == [], "no quarantine: it has not been asked for these names before"
    assert c.meets(b) is None
    assert c.incarnations.peers[B].incarnation.number == b.incarnations.own.number
    c.shake.lost(B)
    connected_once(c, tmp_path / "b", index=9)


def test_peers_that_were_away_for_different_times_are_each_given_the_names_they_know(
    c: Side, tmp_path: Path
) -> None:
    d = Side(4, tmp_path / "d", index=10)
    connected_once(c, tmp_path / "b")
    heard_elsewhere(tmp_path / "b", 2 * PAST)
    connected_once(d, tmp_path / "b")
    heard_elsewhere(tmp_path / "b", 2 * PAST)
    b = Side(B, tmp_path / "b", index=9)
    for peer in (c, d):
        assert peer.meets(b) == OLDER
    for peer in (c, d):
        assert peer.meets(b) is None
    assert b.told == []


@pytest.mark.parametrize("starts", [0, 5, 2 * PAST, 4 * PAST])
def test_a_copy_is_noticed_however_often_it_and_the_original_were_started(
    c: Side, tmp_path: Path, starts: int
) -> None:
    connected_once(c, tmp_path / "b")
    heard_elsewhere(tmp_path / "b", 2 * PAST)
    shutil.copytree(tmp_path / "b", tmp_path / "copy")
    heard_elsewhere(tmp_path / "b", 2 * PAST)
    b = Side(B, tmp_path / "b", index=9)
    assert [c.meets(b), c.meets(b)] == [OLDER, None]
    c.shake.lost(B)
    heard_elsewhere(tmp_path / "copy", starts)
    copy = Side(B, tmp_path / "copy", index=9)
    refusals = [c.meets(copy), c.meets(copy)]
    assert OLDER in refusals
    assert copy.told == [OLDER], "in quarantine, after two refusals at most"
    assert copy.incarnations.own.recovering


def test_a_copy_is_noticed_by_a_peer_that_saw_neither_it_nor_the_original_for_long(
    c: Side, tmp_path: Path
) -> None:
    connected_once(c, tmp_path / "b")
    (tmp_path / "b" / "life").rename(tmp_path / "older")
    shutil.rmtree(tmp_path / "b")
    (tmp_path / "copy").mkdir()
    (tmp_path / "older").rename(tmp_path / "copy" / "life")
    shutil.copytree(tmp_path / "copy", tmp_path / "b")
    connected_once(c, tmp_path / "b")
    heard_elsewhere(tmp_path / "copy", 2 * PAST)
    copy = Side(B, tmp_path / "copy", index=9)
    assert [c.meets(copy), c.meets(copy)] == [OLDER, OLDER]
    assert copy.told == [OLDER]


def test_what_a_member_acknowledged_counts_also_after_many_unseen_starts(
    c: Side, tmp_path: Path
) -> None:
    connected_once(c, tmp_path / "b", term=3, index=8)
    c.shake.acknowledged = lambda member: Mark(3, 8)
    c.shake.lost(B)
    c.shake.acknowledged = lambda member: Mark()
    heard_elsewhere(tmp_path / "b", 2 * PAST)
    b = Side(B, tmp_path / "b", term=3, index=7)
    assert [c.meets(b), c.meets(b)] == [OLDER, OLDER]
    assert b.told == [OLDER]


def test_a_refusal_that_no_names_answer_begins_the_quarantine_at_once(
    c: Side, tmp_path: Path
) -> None:
    heard_elsewhere(tmp_path / "b", 2 * PAST)
    own = Side(B, tmp_path / "b").incarnations.own
    for number in (0, own.number - PAST, own.number - 1, own.number, own.number + 1, 1 << 40):
        b = Side(B, tmp_path / "b")
        b.shake.refused(C, HelloRefused("", OLDER, number))
        assert b.told == [OLDER], number
        shutil.rmtree(tmp_path / "b")
        heard_elsewhere(tmp_path / "b", 2 * PAST)


def test_names_that_an_earlier_release_did_not_keep_are_not_made_up(
    c: Side, tmp_path: Path
) -> None:
    """It keeps `life` alone; too many of its starts leave a gap, and the member must catch up."""
    connected_once(c, tmp_path / "b")
    heard_elsewhere(tmp_path / "b", 2 * PAST)
    past = (tmp_path / "b" / "past-lives").read_bytes()
    heard_elsewhere(tmp_path / "b", PAST)
    (tmp_path / "b" / "past-lives").write_bytes(past)
    b = Side(B, tmp_path / "b", index=9)
    assert [c.meets(b), c.meets(b)] == [OLDER, None], "without a gap"
    c.shake.lost(B)
    heard_elsewhere(tmp_path / "b", 2 * PAST)
    (tmp_path / "b" / "past-lives").write_bytes(past)
    b = Side(B, tmp_path / "b", index=9)
    assert c.meets(b) == OLDER
    assert b.told == [OLDER]


def test_the_names_that_a_member_keeps_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incarnations_module, "MAX_KEPT", PAST + 10)
    heard_elsewhere(tmp_path / "b", PAST + 50)
    b = Incarnations(tmp_path / "b")
    oldest = b.own.number - PAST - 10
    assert b.can_name(oldest)
    assert not b.can_name(oldest - 1)
    assert len(b.said(oldest).past) == PAST_BYTES
    assert (tmp_path / "b" / "past-lives").stat().st_size < 100 + 2 * PAST_BYTES * (PAST + 10)


def test_a_hello_with_all_the_lives_it_may_name_is_taken_by_the_landed_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incarnations_module, "MAX_PAST", MAX_PAST)
    heard_elsewhere(tmp_path / "b", MAX_PAST + 2)
    side = Side(B, tmp_path / "b", index=2**60, term=2**60)
    hello = pack(structs.replace(side.shake.hello(C), nonce=bytes(16), member=2**64 - 1))
    assert len(side.incarnations.own.past) == PAST_BYTES * MAX_PAST
    assert len(hello) <= SMALL


def test_a_directory_that_is_replaced_later_than_it_was_met_must_catch_up(
    c: Side, tmp_path: Path
) -> None:
    connected_once(c, tmp_path / "b")
    other = Side(B, tmp_path / "b2", index=9)
    assert c.meets(other) == OLDER
    assert other.incarnations.own.recovering
    assert c.meets(other) is None, "in quarantine"
    other.incarnations.recovered()
    c.shake.lost(B)
    assert c.meets(other) is None


def test_what_replaced_a_directory_is_accepted_by_those_that_did_not_hear_of_it(
    c: Side, tmp_path: Path
) -> None:
    connected_once(c, tmp_path / "b")
    (tmp_path / "b2").mkdir()
    begin_recovering(tmp_path / "b2", c.shake.incarnations()[B])
    other = Side(B, tmp_path / "b2", index=9)
    other.incarnations.recovered()
    assert c.meets(other) is None
    c.shake.lost(B)
    assert c.meets(Side(B, tmp_path / "b", index=9)) == OLDER, "the directory that was replaced"


def test_an_older_copy_is_known_by_its_number(c: Side, tmp_path: Path) -> None:
    connected_once(c, tmp_path / "b")
    copy = (tmp_path / "b" / "life").read_bytes()
    connected_once(c, tmp_path / "b")
    (tmp_path / "b" / "life").write_bytes(copy)
    assert c.meets(Side(B, tmp_path / "b", index=9)) == OLDER


def test_a_copy_of_the_same_life_is_known_by_what_it_acknowledged(c: Side, tmp_path: Path) -> None:
    acknowledged = Mark(3, 8)
    c.shake.acknowledged = lambda member: acknowledged
    connected_once(c, tmp_path / "b", term=3, index=8)
    c.shake.acknowledged = lambda member: Mark()
    connected_once(c, tmp_path / "b", term=4, index=5)
    assert c.meets(Side(B, tmp_path / "b", term=3, index=7)) == OLDER


def test_a_hello_that_comes_late_puts_no_member_in_quarantine(c: Side, tmp_path: Path) -> None:
    """Both members dial, and the second hello is sent again after its packet was lost: meanwhile
    the process has acknowledged more over the first connection.
    """
    b = Side(B, tmp_path / "b", term=3, index=5)
    assert c.meets(b) is None
    late = b.shake.hello(C)
    b.mark = Mark(3, 8)
    c.shake.acknowledged = lambda member: Mark(3, 8)
    refusal = c.shake.receive(late)
    assert refusal is not None, "what it says is not true any more"
    b.shake.refused(C, refusal)
    assert b.told == []
    assert c.meets(b) is None, "when it dials again"


def test_a_process_that_has_forgotten_what_it_acknowledged_goes_into_quarantine(
    c: Side, tmp_path: Path
) -> None:
    """A machine was put back by a snapshot of its memory and disk."""
    b = Side(B, tmp_path / "b", term=3, index=8)
    assert c.meets(b) is None
    c.shake.acknowledged = lambda member: Mark(3, 8)
    b.mark = Mark(3, 5)
    assert [c.meets(b), b.told, c.meets(b)] == [OLDER, [OLDER], None]


def test_a_restarted_process_is_not_told_how_far_it_has_to_be(c: Side, tmp_path: Path) -> None:
    """Its journal may hold as many entries, of others."""
    c.shake.acknowledged = lambda member: Mark(3, 8)
    connected_once(c, tmp_path / "b", term=3, index=8)
    late = Side(B, tmp_path / "b", term=3, index=5)
    refusal = c.shake.receive(late.shake.hello(C))
    assert refusal is not None
    late.mark = Mark(3, 9)
    late.shake.refused(C, refusal)
    assert late.told == [OLDER]


def test_a_member_that_joins_may_begin_again_until_it_has_served(c: Side, tmp_path: Path) -> None:
    for directory in ("b", "b2"):
        side = Side(B, tmp_path / directory)
        side.joining = True
        assert c.meets(side) is None
        c.shake.lost(B)
    c.shake.started = {B}
    side = Side(B, tmp_path / "b3")
    side.joining = True
    assert c.meets(side) == OLDER


def test_a_hello_of_an_earlier_release_is_accepted(c: Side, tmp_path: Path) -> None:
    connected_once(c, tmp_path / "b")
    assert c.shake.receive(Hello(PROTOCOL, cluster=77, member=B)) is None


@pytest.mark.parametrize(
    "change",
    [
        {"life": None},
        {"life": {}},
        {"life": {"directory": 1, "number": MAX_NUMBER}},
        {"life": {"directory": 1, "number": -1}},
        {"term": "x"},
        {"index": None},
    ],
)
def test_a_hello_that_is_none_is_refused(c: Side, change: dict[str, Any]) -> None:
    hello = c.shake.hello(C)
    assert decode(pack(hello)[4:], member=False) == hello
    with pytest.raises(Refused):
        decode(raw({**fields_of(hello), **change})[4:], member=False)


def test_a_refusal_arrives_as_it_was_sent(c: Side, tmp_path: Path) -> None:
    connected_once(c, tmp_path / "b")
    refusal = c.shake.receive(Side(B, tmp_path / "b2").shake.hello(C))
    assert refusal is not None
    assert decode(pack(refusal)[4:], member=False) == refusal


def test_a_member_that_holds_something_does_not_end_because_another_says_it_is_new(
    c: Side,
) -> None:
    c.shake.refused(B, HelloRefused("", BOOTSTRAPPED, 1))
    assert c.told == []


def test_a_hello_is_small_enough(c: Side) -> None:
    c.incarnations.own = msgspec.structs.replace(
        c.incarnations.own,
        number=MAX_NUMBER,
        directory=2**63 - 1,
        nonce=2**63 - 1,
        replaces=MAX_NUMBER,
    )
    c.mark = Mark(MAX_TERM, MAX_TERM)
    hello = structs.replace(c.shake.hello(C), cluster=2**64 - 1, member=2**64 - 1, nonce=bytes(16))
    assert len(pack(hello)) < SMALL


def test_damaged_lives_are_refused(tmp_path: Path) -> None:
    damage: list[Callable[[bytes], bytes]] = [lambda _: b"", lambda old: old[:-1], lambda _: b"[]"]
    for each in damage:
        lives = Incarnations(tmp_path)
        lives.said()
        lives.record(B, Incarnation(1, 1))
        heard_elsewhere(tmp_path, PAST + 2)
        for name in ("life", "past-lives", "lives"):
            path = tmp_path / name
            kept = path.read_bytes()
            path.write_bytes(each(kept))
            with pytest.raises(IncarnationsDamaged, match=name):
                Incarnations(tmp_path)
            path.write_bytes(kept)


@pytest.mark.parametrize("said", [MAX_NUMBER - 1, (1 << 64) - 1])
def test_a_number_that_others_make_up_does_not_end_a_members_lives(
    c: Side, tmp_path: Path, said: int
) -> None:
    lost, copy = tmp_path / "lost", tmp_path / "copy"
    lost.mkdir()
    begin_recovering(lost, said)
    own = Incarnations(copy)
    own.recover(said)
    for directory in (lost, copy):
        for _ in range(3):
            life = Incarnations(directory).said()
        hello = decode(pack(Hello(PROTOCOL, 7, 3, incarnation=life))[4:], member=False)
        assert isinstance(hello, Hello) and hello.incarnation
        assert hello.incarnation.recovering


def full(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(incarnations_module.durable, "write", no_space)


def test_a_life_that_a_full_disk_cannot_remember_is_refused_until_it_can(
    c: Side, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = Side(B, tmp_path / "b")
    hello = b.shake.hello(C)
    with monkeypatch.context() as patched:
        full(patched)
        for _ in range(2):
            refusal = c.shake.receive(hello)
            assert refusal is not None
            frame = decode(pack(refusal)[4:], member=False)
            assert isinstance(frame, HelloRefused)
            assert "No space left" in frame.reason
            b.shake.refused(C, frame)
    assert b.told == []
    assert c.meets(b) is None
    assert Incarnations(tmp_path / "c").peers[B].incarnation == b.incarnations.own


def test_what_a_member_acknowledged_is_known_though_the_disk_is_full(
    c: Side, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected_once(c, tmp_path / "b", term=3, index=8)
    c.shake.acknowledged = lambda member: Mark(3, 8)
    with monkeypatch.context() as patched:
        full(patched)
        c.shake.lost(B)
    c.shake.acknowledged = lambda member: Mark()
    assert c.meets(Side(B, tmp_path / "b", term=3, index=7)) == OLDER


def test_what_a_lost_directory_acknowledged_does_not_count_for_the_new_one(
    c: Side, tmp_path: Path
) -> None:
    """The connection of the old directory is replaced after the hello of the new one."""
    connected_once(c, tmp_path / "b", term=3, index=8)
    c.shake.acknowledged = lambda member: Mark(3, 8)
    new = Side(B, tmp_path / "b2")
    new.joining = True
    assert c.meets(new) is None
    assert c.meets(new) is None, "also when it says hello twice"
    c.shake.lost(B)
    c.shake.acknowledged = lambda member: Mark()
    c.shake.connected(B)
    new.mark = Mark(3, 2)
    assert c.meets(new) is None
    assert c.incarnations.peers[B].acknowledged == Mark()


def test_what_the_new_directory_acknowledged_counts_again(c: Side, tmp_path: Path) -> None:
    connected_once(c, tmp_path / "b", term=3, index=8)
    new = Side(B, tmp_path / "b2")
    new.joining = True
    assert c.meets(new) is None
    c.shake.lost(B)
    c.shake.connected(B)
    c.shake.acknowledged = lambda member: Mark(3, 5)
    c.shake.lost(B)
    new.mark = Mark(3, 4)
    assert c.meets(new) == OLDER
