"""Kinds of faults, each with its injection and healing.

`begin(subject, step)` injects a fault and returns the members affected and how to heal it. Kinds
that affect the leader affect a member drawn by the schedule while there is none.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from .network import CUT, Link, Rule
from .schedule import Step
from .subject import Subject

#: Longest time in seconds for which a slow disk is frozen.
FREEZE = 0.4

#: Seconds by which a wall clock jumps.
JUMPS = (-86400.0, -3600.0, -30.0, -2.0, 2.0, 30.0, 3600.0, 86400.0)


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
    able = subject.able
    impossible = {kind for need, kinds in _NEEDS.items() if need not in able for kind in kinds}
    return [kind for kind in _KINDS if kind not in impossible]


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


# --- containers -----------------------------------------------------------------------------------


def _disconnect(subject: Subject, member: int) -> ActiveFault:
    subject.disconnect(member)
    return ActiveFault([member], lambda: subject.reconnect(member))


def _disconnect_one(subject: Subject, step: Step) -> ActiveFault:
    return _disconnect(subject, _drawn(subject, step))


def _disconnect_leader(subject: Subject, step: Step) -> ActiveFault:
    return _disconnect(subject, _leader(subject, step))


def _out_of_memory(subject: Subject, step: Step) -> ActiveFault:
    member = _leader(subject, step) if step.drawn[1] < 0.5 else _drawn(subject, step)
    subject.exhaust_memory(member)
    return ActiveFault([member], lambda: subject.start_again(member))


def _clock_jump(subject: Subject, step: Step) -> ActiveFault:
    member = _leader(subject, step) if step.drawn[1] < 0.5 else _drawn(subject, step)
    seconds = JUMPS[int(step.drawn[2] * len(JUMPS))]
    subject.move_clock(member, seconds)
    return ActiveFault([member], lambda: subject.move_clock(member, 0), f"{seconds:+g} s")


def _other_image(subject: Subject, step: Step) -> ActiveFault:
    """Leaves a cluster of two versions behind, or ends it."""
    member = _drawn(subject, step)
    subject.wait_settled()
    return ActiveFault([member], lambda: None, f"to {subject.change_image(member)}")


def _rolling_upgrade(subject: Subject, step: Step) -> ActiveFault:
    """Moves each member to the other image when the one before is healthy."""
    members = _random_members(subject, step, subject.size)
    images = []
    for member in members:
        subject.wait_settled()
        images.append(subject.change_image(member))
    return ActiveFault(members, lambda: None, f"to {', '.join(images)}")


def _restart_engine(subject: Subject, step: Step) -> ActiveFault:
    members = range(subject.size)
    number = signal.SIGTERM if step.drawn[1] < 0.5 else signal.SIGKILL
    subject.restart_engine(number)

    def heal() -> None:
        for member in members:
            subject.start_again(member)

    return ActiveFault(members, heal, number.name)


_NEEDS: dict[str, tuple[str, ...]] = {
    "cut": (
        "partition-leader",
        "partition-one",
        "partition-all",
        "leader-cannot-send",
        "leader-cannot-hear",
        "one-link",
        "one-way",
    ),
    "delay": ("delay",),
    "loss": ("loss",),
    "disks": ("slow-disk", "full-disk"),
    "disconnect": ("disconnect-one", "disconnect-leader"),
    "memory": ("out-of-memory",),
    "clock": ("clock-jump",),
    "images": ("other-image", "rolling-upgrade"),
    "engine": ("restart-engine",),
}

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
    "disconnect-one": _disconnect_one,
    "disconnect-leader": _disconnect_leader,
    "out-of-memory": _out_of_memory,
    "clock-jump": _clock_jump,
    "other-image": _other_image,
    "rolling-upgrade": _rolling_upgrade,
    "restart-engine": _restart_engine,
}
