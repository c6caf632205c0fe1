"""Kinds of faults, each with its injection and healing.

`begin(subject, step)` injects a fault and returns the members affected and how to heal it. Kinds
that affect the leader affect a member drawn by the schedule while there is none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from .network import CUT, Link, Rule
from .schedule import Step
from .subject import Subject

#: Longest time in seconds for which a slow disk is frozen.
FREEZE = 0.4


class ActiveFault(NamedTuple):
    """An active fault."""

    #: Members by index.
    targets: Sequence[int]
    heal: Callable[[], None]
    detail: str = ""


def begin(subject: Subject, step: Step) -> ActiveFault:
    """Inject the fault of this step."""
    return _KINDS[step.kind](subject, step)


def possible(subject: Subject) -> list[str]:
    """Returns the kinds of faults that can be injected into this subject."""
    able = subject.network.able
    needs = {"delay": "delay" in able, "loss": "loss" in able}
    for kind in _KINDS:
        if _KINDS[kind] in _OF_LINKS:
            needs[kind] = "cut" in able
    needs |= dict.fromkeys(("slow-disk", "full-disk"), bool(subject.disks))
    return [kind for kind in _KINDS if needs.get(kind, True)]


# --- targets --------------------------------------------------------------------------------------


def _drawn(subject: Subject, step: Step) -> int:
    return int(step.drawn[0] * subject.size)


def _leader(subject: Subject, step: Step) -> int:
    leader = subject.current_leader()
    return _drawn(subject, step) if leader is None else leader


def _random_members(subject: Subject, step: Step, count: int) -> list[int]:
    """Return `count` different members."""
    first = _drawn(subject, step)
    return [(first + n) % subject.size for n in range(count)]


# --- processes ------------------------------------------------------------------------------------


def _kill(subject: Subject, members: Sequence[int]) -> ActiveFault:
    for member in members:
        subject.kill(member)

    def heal() -> None:
        for member in members:
            subject.start_again(member)

    return ActiveFault(members, heal)


def _kill_one(subject: Subject, step: Step) -> ActiveFault:
    return _kill(subject, [_drawn(subject, step)])


def _kill_leader(subject: Subject, step: Step) -> ActiveFault:
    return _kill(subject, [_leader(subject, step)])


def _kill_majority(subject: Subject, step: Step) -> ActiveFault:
    return _kill(subject, _random_members(subject, step, subject.size // 2 + 1))


def _kill_all(subject: Subject, step: Step) -> ActiveFault:
    return _kill(subject, range(subject.size))


def _pause(subject: Subject, member: int) -> ActiveFault:
    subject.pause(member)
    return ActiveFault([member], lambda: subject.resume(member))


def _pause_one(subject: Subject, step: Step) -> ActiveFault:
    return _pause(subject, _drawn(subject, step))


def _pause_leader(subject: Subject, step: Step) -> ActiveFault:
    return _pause(subject, _leader(subject, step))


def _stop_leader(subject: Subject, step: Step) -> ActiveFault:
    member = _leader(subject, step)
    subject.stop_in_order(member)
    return ActiveFault([member], lambda: subject.start_again(member))


def _rolling_restart(subject: Subject, step: Step) -> ActiveFault:
    members = _random_members(subject, step, subject.size)
    for member in members:
        subject.stop_in_order(member)
        time.sleep(step.lasts)
        subject.start_again(member)
        time.sleep(step.lasts)
    return ActiveFault(members, lambda: None)


def _wipe_member(subject: Subject, step: Step) -> ActiveFault:
    """Removes the data of a member. Its next start must be refused; then it is replaced."""
    member = _drawn(subject, step)
    # The other members must form a reachable quorum.
    subject.wait_settled()
    subject.kill(member)
    subject.wipe(member)

    def heal() -> None:
        subject.refuses(member)
        subject.replace(member)

    return ActiveFault([member], heal, "refused, removed and added anew")


# --- links ----------------------------------------------------------------------------------------


def _links(subject: Subject, links: list[Link], rule: Rule, targets: Sequence[int]) -> ActiveFault:
    subject.network.set(links, rule)
    names = ", ".join("→".join(subject.names(link)) for link in links)

    def heal() -> None:
        subject.network.set(links, Rule())

    return ActiveFault(targets, heal, names)


def _others(subject: Subject, member: int) -> list[int]:
    return [other for other in range(subject.size) if other != member]


def _isolate(subject: Subject, member: int) -> ActiveFault:
    others = _others(subject, member)
    links = [(member, other) for other in others] + [(other, member) for other in others]
    return _links(subject, links, CUT, [member])


def _partition_leader(subject: Subject, step: Step) -> ActiveFault:
    return _isolate(subject, _leader(subject, step))


def _partition_one(subject: Subject, step: Step) -> ActiveFault:
    return _isolate(subject, _drawn(subject, step))


def _partition_all(subject: Subject, step: Step) -> ActiveFault:
    members = range(subject.size)
    return _links(subject, [(a, b) for a in members for b in members if a != b], CUT, members)


def _leader_cannot_send(subject: Subject, step: Step) -> ActiveFault:
    leader = _leader(subject, step)
    links = [(leader, other) for other in _others(subject, leader)]
    return _links(subject, links, CUT, [leader])


def _leader_cannot_hear(subject: Subject, step: Step) -> ActiveFault:
    leader = _leader(subject, step)
    links = [(other, leader) for other in _others(subject, leader)]
    return _links(subject, links, CUT, [leader])


def _one_link(subject: Subject, step: Step) -> ActiveFault:
    """Affects both directions between two members; a third one is still connected to both."""
    one, other = _random_members(subject, step, 2)
    return _links(subject, [(one, other), (other, one)], CUT, [one, other])


def _one_way(subject: Subject, step: Step) -> ActiveFault:
    """Affects one direction of one link."""
    one, other = _random_members(subject, step, 2)
    return _links(subject, [(one, other)], CUT, [one, other])


def _everywhere(subject: Subject, rule: Rule) -> ActiveFault:
    members = range(subject.size)
    links = [(a, b) for a in members for b in members if a != b]
    broken = _links(subject, links, rule, members)
    return broken._replace(detail=str(rule))


def _delay(subject: Subject, step: Step) -> ActiveFault:
    delay = round(0.01 + 0.14 * step.drawn[1], 3)
    return _everywhere(subject, Rule(delay=delay, jitter=delay))


def _loss(subject: Subject, step: Step) -> ActiveFault:
    return _everywhere(subject, Rule(loss=round(0.02 + 0.2 * step.drawn[1], 3)))


# --- disks ----------------------------------------------------------------------------------------


def _slow_disk(subject: Subject, step: Step) -> ActiveFault:
    member = _leader(subject, step) if step.drawn[1] < 0.5 else _drawn(subject, step)
    stop = round(0.05 + (FREEZE - 0.05) * step.drawn[2], 3)
    subject.disks[member].slow(stop)
    return ActiveFault([member], subject.disks[member].fast, f"stands still for {stop} s at a time")


def _full_disk(subject: Subject, step: Step) -> ActiveFault:
    member = _leader(subject, step) if step.drawn[1] < 0.5 else _drawn(subject, step)
    subject.disks[member].fill()

    def heal() -> None:
        subject.disks[member].free()
        subject.start_again(member)

    return ActiveFault([member], heal)


_OF_LINKS = (
    _partition_leader,
    _partition_one,
    _partition_all,
    _leader_cannot_send,
    _leader_cannot_hear,
    _one_link,
    _one_way,
)

_KINDS: dict[str, Callable[[Subject, Step], ActiveFault]] = {
    "kill-leader": _kill_leader,
    "kill-one": _kill_one,
    "kill-majority": _kill_majority,
    "kill-all": _kill_all,
    "pause-leader": _pause_leader,
    "pause-one": _pause_one,
    "stop-leader": _stop_leader,
    "rolling-restart": _rolling_restart,
    "wipe-member": _wipe_member,
    "partition-leader": _partition_leader,
    "partition-one": _partition_one,
    "partition-all": _partition_all,
    "leader-cannot-send": _leader_cannot_send,
    "leader-cannot-hear": _leader_cannot_hear,
    "one-link": _one_link,
    "one-way": _one_way,
    "delay": _delay,
    "loss": _loss,
    "slow-disk": _slow_disk,
    "full-disk": _full_disk,
}
