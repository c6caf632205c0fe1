"""One run: a cluster, its clients, faults, and the history."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from . import final_state
from .checks import Verdict
from .checks.verdict import Problem
from .client import Client
from .connection import Connections, Failure
from .history import History, Outcome
from .nemesis import Nemesis
from .observer import Observer
from .schedule import Step
from .subject import Subject
from .workloads.leases import PREFIX as LEASES
from .workloads.leases import Leases
from .workloads.locks import PREFIX as LOCKS
from .workloads.locks import Locks
from .workloads.registers import Groups, Lists, Registers
from .workloads.watchers import Watcher
from .workloads.worker import Keys, Worker

#: Seconds of load before the first fault and after the last one.
WARM_UP = 2.0
COOL_DOWN = 2.0
#: Seconds between two lines of progress.
SHOW = 0.5
#: Fault during which a member may end by itself.
_MAY_END = "full-disk"


class Display(Protocol):
    """Output of a run in progress."""

    def fault(self, kind: str, targets: tuple[str, ...], active: bool) -> None:
        """Show that a fault began or was healed."""

    def status(
        self, ops_ok: int, ops_failed: int, ops_unknown: int, rate: float, leader: str
    ) -> None:
        """Show calls so far by outcome, acknowledged calls per second, and the leader."""

    def log(self, text: str) -> None:
        """Show a line."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The parameters of a run."""

    #: Seconds of faults.
    seconds: float
    seed: int
    steps: Sequence[Step]
    #: Calls per second of all clients together, about.
    rate: float = 250.0
    #: Whether watchers ask for progress.
    progress: bool = True
    #: Whether a lease that a member does not find has ended.
    lease_ends: bool = True


def run(subject: Subject, plan: Plan, about: dict[str, object], display: Display) -> History:
    """Run `plan` against a subject that has started; everything is healed when this returns."""
    began = time.monotonic()

    def clock() -> float:
        return time.monotonic() - began

    history = History()
    history.about = {
        **about,
        "seed": plan.seed,
        "seconds": plan.seconds,
        "size": subject.size,
        "progress requests": plan.progress,
        "lease ends": plan.lease_ends,
        "faults": sorted({step.kind for step in plan.steps}),
        "unavailable": subject.unavailable(),
        "unrecorded": [LEASES, LOCKS],
        "host": platform.platform(),
    }
    names = subject.names(range(subject.size))
    endpoints = subject.endpoints
    with Connections(endpoints) as looking:
        observer = Observer(names, looking, history, clock)
        observer.start()
        clients = _Clients(names, endpoints, history, clock, plan)
        clients.start()
        shown = _Shown(history, display, observer)
        shown.start()
        try:
            time.sleep(WARM_UP)
            nemesis = Nemesis(subject, history, clock, display.fault)
            nemesis.run(plan.steps, WARM_UP + plan.seconds)
            display.log("all faults are healed")
            subject.wait_settled()
            time.sleep(COOL_DOWN)
        finally:
            clients.stop()
            shown.stop()
            observer.stop()
    subject.wait_settled()
    subject.note_ends()
    history.about["duration"] = clock()
    history.about["ended"] = [
        {"member": name, "exit_code": code, "log": log} for name, code, log in subject.ended
    ]
    _end(history, names, endpoints, display)
    return history


def stayed_alive(history: History) -> Verdict:
    """Check that no member ended by itself, unless its disk was full."""
    ended = history.about.get("ended", [])
    filled = {
        target for fault in history.faults if fault.kind == _MAY_END for target in fault.targets
    }
    wrong = [one for one in ended if one["member"] not in filled]
    problems = tuple(
        Problem(
            f"{one['member']} ended by itself with exit code {one['exit_code']}",
            tuple(one["log"].splitlines()[-10:]),
        )
        for one in wrong
    )
    summary = f"{len(ended)} ends by themselves, {len(wrong)} without a full disk"
    return Verdict("members stay alive", not problems, len(history.faults), summary, problems)


def _end(
    history: History, names: Sequence[str], endpoints: Sequence[str], display: Display
) -> None:
    """Reads the final state of each member."""
    with Connections(endpoints) as connections:
        revision = final_state.revision_of(connections, len(names))
        display.log(f"comparing the members at revision {revision}")
        for member, name in enumerate(names):
            for tries_left in (2, 1, 0):
                try:
                    history.add(final_state.final(member, name, revision, connections))
                    break
                except Failure:
                    if not tries_left:
                        raise
                    time.sleep(1.0)


class _Clients:
    """All clients and watchers of a run."""

    def __init__(
        self,
        names: Sequence[str],
        endpoints: Sequence[str],
        history: History,
        clock: Callable[[], float],
        plan: Plan,
    ) -> None:
        self._connections: list[Connections] = []
        number = 0

        def client() -> Client:
            nonlocal number
            number += 1
            connections = Connections(endpoints)
            self._connections.append(connections)
            seed = plan.seed * 1000 + number
            return Client(number, names, connections, history, clock, seed)

        registers, lists, groups = Keys("register", 12), Keys("list", 3), Keys("group", 5)
        # Steps of lists are two calls.
        share = plan.rate / 12
        self._workers: list[Worker] = [
            *(Registers(client(), share, registers) for _ in range(6)),
            *(Lists(client(), share / 2, lists) for _ in range(2)),
            *(Groups(client(), share, groups) for _ in range(2)),
            *(Leases(client(), 4.0) for _ in range(2)),
            *(Locks(client(), 10.0) for _ in range(3)),
        ]
        self._watchers = [
            Watcher(name, client(), home, asks_progress=plan.progress)
            for name, home in (
                *((f"on {name}", member) for member, name in enumerate(names)),
                ("anywhere", None),
            )
        ]

    def start(self) -> None:
        for watcher in self._watchers:
            watcher.start()
        for worker in self._workers:
            worker.start()

    def stop(self) -> None:
        """Wait for calls in progress; raises the error that ended a client."""
        try:
            for worker in self._workers:
                worker.stop()
            for worker in self._workers:
                worker.join()
            for watcher in self._watchers:
                watcher.stop()
            for watcher in self._watchers:
                watcher.join()
        finally:
            for connections in self._connections:
                connections.close()


class _Shown:
    """Counts recorded calls, for the display."""

    def __init__(self, history: History, display: Display, observer: Observer) -> None:
        self._history = history
        self._display = display
        self._observer = observer
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        counts = dict.fromkeys(Outcome, 0)
        seen = 0
        while not self._stopping.wait(SHOW):
            new = self._history.operations[seen:]
            seen += len(new)
            for operation in new:
                counts[operation.outcome] += 1
            rate = sum(one.outcome is Outcome.OK for one in new) / SHOW
            self._display.status(
                counts[Outcome.OK],
                counts[Outcome.FAILED],
                counts[Outcome.UNKNOWN],
                rate,
                self._observer.leader,
            )
